"""Sparse threat models, few pixels (l0) or one patch, and the attacks within them."""
