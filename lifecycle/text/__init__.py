"""When two texts are the same: letters, numbers, signs; and JSON that means one thing. Start with `normaliser.py`."""
