"""Whole worked examples: the clinic, an embedded toy, and reviews, a real small model on real sentences.

`loop.py` is what both do; each has its own story in `demo.py`.
"""
