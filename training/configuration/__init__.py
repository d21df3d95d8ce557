"""The configuration of a run: its options, and how files and flags set them."""
