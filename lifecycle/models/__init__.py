"""What a model folder or a PEFT folder is, read from its files alone. Start with `base.py`, then `preflight.py`."""
