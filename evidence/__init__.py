"""A report in the shapes that other tools read."""
