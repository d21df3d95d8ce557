"""Other ways to serve the same classifier, as their tutorials and an experienced hand would write them.

All have one process for HTTP, the session that this service has, and the same answer, so that the stacks differ alone.
"""
