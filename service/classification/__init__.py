"""Classifiers: texts in, labels out, on the processor beside the engine. Start with `residents.py`."""
