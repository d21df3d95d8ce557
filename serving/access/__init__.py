"""Who may call what: API keys, the scopes that routes declare, and rate limits."""
