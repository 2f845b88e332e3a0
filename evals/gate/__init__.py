"""What a team agrees on before a version may ship: start with `policy.py`; `rules.py` has the rules."""
