"""The commands that write shapes."""
