"""The commands of `python -m attacks`."""
