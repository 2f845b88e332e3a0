"""Side by side with what a user would otherwise pick: `serving.py` is the command (docs/guides/benchmarks.md)."""
