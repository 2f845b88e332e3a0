"""Who may come in, and how much of the service each may use."""
