"""What makes a report evidence: what computed it, the command that repeats it, what its owner says of it."""
