"""Rows for training, evaluation and worked examples alike: the files and forms that they come in, and go into.

Start with `forms.py` (one row → what it is), then `files.py` (a file, one row at a time) and `prompt_files.py`;
`conversions.py` and `writing.py` go the other way. Beneath: `sources.py` (bytes), `json_records.py` and
`table_records.py` (rows as they are written), `conversations.py`, `turns.py` and `answers.py` (what they mean).
"""
