"""A retriever measured apart from answers. `figures.py` has the figures, `measured.py` the way from rows to a table."""
