"""The routes over HTTP: what each reads from a request and answers."""
