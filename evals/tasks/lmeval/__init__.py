"""lm-eval's tasks as suites: its files, filters and metrics as they are. Start with `task.py`."""
