"""Rows of conversations, for training, evaluation and worked examples alike: the forms they come in, and their files.

Start with `forms.py` (one row → one conversation), then `files.py`, then `prompt_files.py`.
"""
