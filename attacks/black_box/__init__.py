"""Attacks that need no gradients: they ask for logits, or for the predicted class alone."""
