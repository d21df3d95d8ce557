"""A model behind HTTP as a target of attacks: asked within limits, and understood whatever protocol it speaks."""
