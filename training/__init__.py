"""Data and a configuration become an adapter or a model, checked and published as a draft version.

Start with `config.py` (what a run is told), then `method.py` (the seam) and `recipes/lora.py` (one method), then
`run.py` (checks → method → golden prompts → registry). torch, PEFT and TRL are imported only inside functions.
"""
