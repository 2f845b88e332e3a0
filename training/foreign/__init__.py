"""Configurations of other trainers, made into one of ours: `dabt convert-config`.

Start with `translation.py` (what becomes of each key), then `llama_factory.py`, `axolotl.py` or `trl.py` (what a key
means here; the tables of keys lie beside them) and `rows.py` (whether both read the same turns out of a data file).
"""
