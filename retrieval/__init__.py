"""Documents in, passages with ids to cite out: chunks, a lexical and a dense ranking, fused by reciprocal rank.

Start with `index.py`, which tells the whole way; `prompting.py` puts the passages before a model.
"""
