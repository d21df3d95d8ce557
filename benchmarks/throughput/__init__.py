"""Predictions per second of this service and of others that serve the same classifier."""
