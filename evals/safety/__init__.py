"""Suites that look for harm. Each is named as a task: `task: safety/refusal`. `table.py` has them all.

Every suite has a set of its own here, in English and Arabic, so that it runs without a network; what is fetched from
other packages (`packages.py`) comes beside it. Each file is one idea: what is asked, and how an answer is scored.
"""
