"""Training rows: the forms they come in, and what is wrong with them. Nothing here imports torch.

Start with `formats.py` (one row → one conversation), then `rows.py` (files), then `checks.py` (judgement).
"""
