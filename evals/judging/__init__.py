"""Scorers that ask another model. `judge.py` asks it, and knows what is no verdict."""
