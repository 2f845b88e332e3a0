"""`dabt data distill`: a teacher behind an OpenAI-compatible endpoint labels inputs into an answer schema.

Start with `distillation.py` (a run from inputs to rows). `teacher.py` asks, `spending.py` keeps the caps, `journal.py`
keeps every answer from the moment it is paid for, and `labels.py` judges answers: pure functions.
"""
