"""Advice by rules, each with its source: `rules.py` after an evaluation, `before.py` before any training."""
