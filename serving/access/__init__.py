"""Who may call what: keys, the scopes that routes declare, and how often a client may ask."""
