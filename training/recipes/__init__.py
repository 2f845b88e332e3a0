"""One file per training method, each read from top to bottom. `lora.py` is the first."""
