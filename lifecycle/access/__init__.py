"""Who may call, and how much they did: API keys and their use, as nouns. `registry/` keeps them."""
