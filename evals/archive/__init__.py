"""Evaluations that are kept: found again, read item by item, compared over time, and taken in from other tools.

Start with `items.py`, the items of one report; `diff.py` compares two reports, `history.py` all those of a task.
"""
