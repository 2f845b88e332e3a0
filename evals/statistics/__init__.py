"""Figures over samples: intervals, clusters, paired tests. Start with `comparison.py`; the rest are pure functions."""
