"""One scenario a file: each starts what it needs, measures by turns, and gives its figures (`../serving.py`)."""
