"""How rows are spread: languages, the values of small fields in JSON answers, and lengths."""

from __future__ import annotations

import json
import statistics
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Sequence
from functools import cache

from lifecycle.conversation import Conversation
from lifecycle.text import strict_json
from lifecycle.version import Frozen

_CLASSES = 20
"""More distinct values than this and a field is free text or an identifier, not a label."""


class Lengths(Frozen):
    """Characters or words or tokens over the rows."""

    unit: str
    shortest: int
    median: float
    p95: float
    longest: int
    total: int


class Balance(Frozen):
    """Shares are counts of rows."""

    languages: dict[str, int]
    fields: dict[str, dict[str, int]]
    """Key path in the JSON answer → value → rows, most frequent first."""
    json_answers: int
    """Rows whose answer is a JSON object."""
    lengths: tuple[Lengths, ...]


def balance(rows: Sequence[Conversation]) -> Balance:
    """Raises ValueError for no rows: there is no balance of nothing."""
    if not rows:
        raise ValueError("no rows to describe")
    answers = [_object(row.answer) for row in rows]
    return Balance(
        languages=_counted(Counter(language(row.question) for row in rows)),
        fields=_fields([a for a in answers if a is not None]),
        json_answers=sum(a is not None for a in answers),
        lengths=(
            lengths("characters in a question", [len(row.question) for row in rows]),
            lengths("characters in an answer", [len(row.answer) for row in rows]),
        ),
    )


def lengths(unit: str, values: Sequence[int]) -> Lengths:
    """p95 is the smallest value that at least 95 % of the rows do not exceed."""
    ordered = sorted(values)
    p95 = ordered[-(-95 * len(ordered) // 100) - 1]
    return Lengths(
        unit=unit,
        shortest=ordered[0],
        median=statistics.median(ordered),
        p95=p95,
        longest=ordered[-1],
        total=sum(ordered),
    )


def language(text: str) -> str:
    """The script that has at least 70 % of the letters, otherwise `mixed`; `none` without letters.

    A script is not a language, but it is what tells Arabic from English without a model.
    """
    scripts = Counter(_script(char) for char in text if char.isalpha())
    if not scripts:
        return "none"
    script, count = scripts.most_common(1)[0]
    return script if count >= 0.7 * scripts.total() else "mixed"


@cache
def _script(char: str) -> str:
    return unicodedata.name(char, "unknown").split()[0].split("-")[0].lower()


def _object(answer: str) -> dict[str, object] | None:
    try:
        value = strict_json.parse(answer)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def _fields(answers: Sequence[dict[str, object]]) -> dict[str, dict[str, int]]:
    seen: dict[str, Counter[str]] = defaultdict(Counter)
    for answer in answers:
        for key, value in answer.items():
            if value is None or isinstance(value, str | bool | int | float):
                seen[key][value if isinstance(value, str) else json.dumps(value)] += 1
    return {
        key: _counted(counts)
        for key, counts in seen.items()
        # A label's values come again and again; a name or a sentence mostly comes once.
        if len(counts) <= _CLASSES and counts.total() >= 2 * len(counts)
    }


def _counted(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())
