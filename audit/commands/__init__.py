"""The commands of `python -m f2at.audit`."""
