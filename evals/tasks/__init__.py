"""Where samples come from. `suite.py` has the noun, `loading.py` finds the one that an evaluation names."""
