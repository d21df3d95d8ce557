"""The HTTP routes: what each reads from a request and what it answers."""
