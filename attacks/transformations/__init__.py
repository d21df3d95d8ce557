"""Changes of an image that no norm bounds: rotations and shifts, what a pipeline does, natural corruptions."""
