"""The task `digest`: an Arabic article → a one-sentence Arabic summary and its English translation.

Splits are disjoint by construction: the places that units and events are named after belong to one
split each, and so do the first names of the people. `tasks.py` writes the files.
"""

from __future__ import annotations

import json
import random

from examples.clinic.articles import article
from examples.clinic.rows import Row, Split, part

SYSTEM = "Digest the article. Reply with JSON: summary, english."


def draw(rng: random.Random, split: Split) -> Row:
    """An article of three or four sentences and its digest."""
    drawn = article(rng, belongs=lambda index, total: part(index * 7 % total, total, split))
    answer = {"summary": drawn.summary["ar"], "english": drawn.summary["en"]}
    return Row(drawn.text["ar"], json.dumps(answer, ensure_ascii=False), {"language": "ar", "kind": drawn.kind})
