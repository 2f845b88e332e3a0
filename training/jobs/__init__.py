"""The worker of the fine-tuning queue: takes jobs from the registry, trains them, and leaves drafts.

Start with `worker.py`; `lifecycle/jobs` has the nouns, `service/openai/fine_tuning` asks for jobs.
"""
