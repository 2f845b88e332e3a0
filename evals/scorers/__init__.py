"""How far an answer is right. `scorer.py` is the seam, `table.py` finds scorers by their names."""
