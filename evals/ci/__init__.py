"""`dabt eval --ci`: an evaluation as a step of a pipeline. `outcome.py` says how it ends, `files.py` what it leaves."""
