"""Bytes of adapters and indexes, named by their digest. Start with `artifacts.py`."""
