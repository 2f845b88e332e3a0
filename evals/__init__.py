"""Is the adapter worth it? Arms → items through the endpoint → paired statistics → gate → report with advice.

Start with `run.py`: it is the whole evaluation as one story. `config.py` is what a user writes, `gate.py` what a
team agrees on, `metrics.py` and `statistics.py` are pure functions.

This package imports neither `service` nor `training`: it reaches every model over the OpenAI HTTP API, so that what
is measured is what a caller gets.
"""
