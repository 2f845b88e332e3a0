"""Fine-tuning jobs as a service: the nouns that the API (`service/openai/fine_tuning`) and the worker (`training/jobs`)
meet
in. Both reach them by the registry: `registry.jobs` and `registry.files`. Start with `states.py`.
"""
