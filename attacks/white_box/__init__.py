"""Attacks that follow the gradients of the model under attack."""
