"""What is wrong with training rows, and which of them are held out. Nothing here imports torch.

Rows are read by `lifecycle/rows`; start with `checks.py` (judgement).
"""
