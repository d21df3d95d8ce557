"""The commands of `f2at audit`."""
