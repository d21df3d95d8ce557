"""Attacks that follow the gradients of another model, a surrogate."""
