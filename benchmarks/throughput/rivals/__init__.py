"""Other ways to serve the same classifier, as their tutorials and an experienced hand would write them.

All have one process for HTTP, the same session as this service and the same answer, so that only the stacks differ.
"""
