"""OpenAI's files, uploads and fine-tuning jobs. Start with `routes_jobs.py`; `lifecycle/jobs` has the nouns.

Routes translate between OpenAI's shapes (`shapes.py`, `asked.py`) and the registry, which the worker (`training/jobs`)
reads too: nothing here trains.
"""
