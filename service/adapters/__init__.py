"""Which adapters are in the engine's memory, who waits for one, and whether it computes what it was trained to."""
