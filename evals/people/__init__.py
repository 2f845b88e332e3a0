"""People rate stored answers, blind and in pairs: start with `making.py`, which opens a campaign.

`lifecycle/rating.py` has the nouns and the registry the queue; here are what votes come to (`tally.py`, `agreement.py`,
`strengths.py`), rows for training (`export.py`), the figures of a report (`in_report.py`) and the terminal.
"""
