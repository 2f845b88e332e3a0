"""How rows are spread: languages, labels, the values of small fields in JSON answers and `meta`, and lengths."""

from __future__ import annotations

import bisect
import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from lifecycle.rows.kinds import Row
from lifecycle.text import strict_json
from lifecycle.text.script import language
from lifecycle.version import Frozen
from training.data.content import MANY_TIMES, Content, content

_CLASSES = 20
"""More distinct values than this and a field is free text or an identifier, not a label."""

_FIELDS = 200
"""Fields that are counted: rows that each name their own keys would fill the memory."""


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
    """Key path in the JSON answer, `label`, `answer` or `meta.…` → value → rows, most frequent first."""
    slices: dict[str, int]
    """`arabic, urgency high` → rows: a language and a value, each with rows enough, that seldom come together."""
    json_answers: int
    """Rows whose answer is a JSON object."""
    lengths: tuple[Lengths, ...]


class Spread:
    """Rows as they come, and then their balance. The memory is that of the values counted, not of the rows."""

    def __init__(self) -> None:
        self._languages: Counter[str] = Counter()
        self._fields: dict[str, dict[str, Counter[str]]] = {}
        """Field → value → rows by language. A field with more values than a label has is dropped."""
        self._objects = 0
        self._sizes = (Counter[int](), Counter[int]())

    def see(self, row: Content) -> None:
        told = language(row.question)
        self._languages[told] += 1
        self._sizes[0][len(row.question)] += 1
        self._sizes[1][len(row.answer)] += 1
        values: Mapping[str, Any] = row.labels
        if not values and row.answer:
            few = len(row.answer) <= MANY_TIMES
            answer = (_kept if few else _object)(row.answer) if row.answer.lstrip().startswith("{") else None
            self._objects += answer is not None
            values = {"answer": row.answer} if answer is None else answer
        for key, value in values.items():
            self._count(key, value, told)
        for key, value in row.meta.items():
            self._count(f"meta.{key}", value, told)

    def _count(self, key: str, value: Any, told: str) -> None:
        if isinstance(value, str):
            text = value
        elif value is None or isinstance(value, bool | int | float):
            text = json.dumps(value)
        else:
            return
        counts = self._fields.get(key)
        if counts is None:
            if len(self._fields) >= _FIELDS:
                return
            counts = self._fields[key] = {}
        if len(counts) > _CLASSES:
            return
        by_language = counts.get(text)
        if by_language is None:
            by_language = counts[text] = Counter()
        by_language[told] += 1

    def balance(self) -> Balance:
        """Raises ValueError for no rows: there is no balance of nothing."""
        if not self._languages:
            raise ValueError("no rows to describe")
        fields = {
            key: _counted(Counter({value: by.total() for value, by in values.items()}))
            for key, values in self._fields.items()
            # A label's values come again and again; a name or a sentence mostly comes once.
            if len(values) <= _CLASSES and sum(by.total() for by in values.values()) >= 2 * len(values)
        }
        questions, answers = self._sizes
        return Balance(
            languages=_counted(self._languages),
            fields=fields,
            slices=self._slices(fields),
            json_answers=self._objects,
            lengths=(
                spread_lengths("characters in a question", questions),
                spread_lengths("characters in an answer", answers),
            ),
        )

    def _slices(self, fields: dict[str, dict[str, int]]) -> dict[str, int]:
        least = thin(self._languages.total())
        common = [told for told, count in self._languages.items() if count >= least]
        slices = {
            f"{told}, {key} {value}": self._fields[key][value][told]
            for key, values in fields.items()
            for value, count in values.items()
            if count >= 2 * least
            for told in common
            if 0 < self._fields[key][value][told] < least  # what never comes together may have to
        }
        return slices if len(common) > 1 else {}


def thin(rows: int) -> float:
    """Below so many of `rows` a class is hardly learnt: ten, or a twentieth of few rows."""
    return min(10, rows / 20)


def balance(rows: Iterable[Row]) -> Balance:
    """Raises ValueError for no rows."""
    spread = Spread()
    for row in rows:
        spread.see(content(row))
    return spread.balance()


def spread_lengths(unit: str, sizes: Counter[int]) -> Lengths:
    """Of sizes that are counted. p95 is the smallest that at least 95 % of the rows do not exceed."""
    rows = sizes.total()
    ordered = sorted(sizes.items())
    ends = list(itertools.accumulate(count for _, count in ordered))

    def at(place: int) -> int:
        return ordered[bisect.bisect_right(ends, place)][0]

    return Lengths(
        unit=unit,
        shortest=ordered[0][0],
        median=(at((rows - 1) // 2) + at(rows // 2)) / 2,
        p95=at(-(-95 * rows // 100) - 1),
        longest=ordered[-1][0],
        total=sum(size * count for size, count in ordered),
    )


def lengths(unit: str, values: Iterable[int]) -> Lengths:
    return spread_lengths(unit, Counter(values))


def _object(answer: str) -> dict[str, object] | None:
    """Of an answer that begins like one."""
    try:
        value: dict[str, object] = strict_json.parse(answer)
    except ValueError:
        return None
    return value


_kept = lru_cache(maxsize=4096)(_object)


def _counted(counts: Counter[str]) -> dict[str, int]:
    return dict(counts.most_common())
