"""Data and a configuration become a LoRA adapter, checked and published as a draft version.

Start with `config.py` (what a run is told), then `recipes/lora.py` (the run, top to bottom), then `run.py`
(checks → recipe → preflight → registry). torch, PEFT and TRL are imported only inside functions.
"""
