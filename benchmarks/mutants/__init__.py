"""How much wrong code the unit tests notice: `changes.py` makes it, `trials.py` tries it, `__main__.py` counts."""
