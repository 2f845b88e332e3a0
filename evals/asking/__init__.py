"""Versions asked over HTTP: `measure.py` is the whole of it, `asker.py` asks one version, `endpoint.py` knows HTTP."""
