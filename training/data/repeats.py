"""Equal rows, contradictions, and questions that are nearly equal, within the training rows and across to test rows.

What finds them lies on disk: 20 bytes a row for the equal ones, and what `duplicates.py` says for those nearly so.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from training.data.content import Content, normal
from training.data.duplicates import Clusters, Near, Pair
from training.data.findings import MOST_PLACES, Finding, Places, finding
from training.data.leaks import NearLeaks
from training.data.row_places import RowPlaces
from training.data.spool import Records, Spool

_BATCH = 4096
_MOST_TOLD = 20
"""Rows of a group that are named."""

_NEGATIONS = frozenset(
    ["not", "no", "never", "without", "t", "cannot", "لا", "ليس", "ليست", "لم", "لن", "غير", "بدون", "دون"]
)
"""As they are normalised: "don't" is "don t"."""


def decisive(normal: str) -> tuple[str, ...]:
    """The numbers, signs and negations of a normalised text: where they differ, it asks something else.

    `A+` and `A-`, `>7` and `<7`, `C++` and `C#`, 5 mg and 50 mg, with and without: a letter apart, and not the same.
    """
    return tuple(word for word in normal.split() if word in _NEGATIONS or _decides(word))


def _decides(word: str) -> bool:
    return not word.isalpha() and (category(word[0])[0] in "NSP" or category(word[-1])[0] in "SP")


class Repeats:
    """What was said before, of rows whose `places` are filled meanwhile.

    `similarity` is the Jaccard of character 5-shingles; None looks for equal rows alone. Questions of test rows, which
    come first, stand before those of training.
    """

    def __init__(self, similarity: float | None, places: RowPlaces) -> None:
        self._places = places
        self._rows = 0
        self._equal = Spool([("context", "u8"), ("row", "u4"), ("answer", "u8")])
        self._batch: list[tuple[int, int, int]] = []
        self._near = None if similarity is None else Near(similarity)
        self._tests = 0
        self.good = 0
        """Rows that are no copies, and of one answer; known after `findings`."""

    def must_be_unseen(self, question: str) -> None:
        """`question` is a test row's, normalised."""
        self._tests += 1
        self._add(question, side=1)

    def see(self, row: int, seen: Content, question: str) -> None:
        """`question` is the row's, normalised."""
        context = question if seen.context is seen.question else normal(seen.context).text
        self._batch.append((_hash(context), row, _hash(normal(seen.answer).text)))
        self._rows += 1
        if len(self._batch) >= _BATCH:
            self._flush()
        self._add(question, side=0)

    def findings(self, across: NearLeaks) -> Iterator[Finding]:
        yield from self._equal_rows()
        if self._near is not None:
            yield from self._nearly_equal(self._near, across)
            yield from across.findings()

    def _add(self, question: str, side: int) -> None:
        if self._near is not None:
            self._near.add(question, side, _hash(*decisive(question)) >> 1)

    def _flush(self) -> None:
        if self._batch:
            self._equal.add(*zip(*self._batch, strict=True))
            self._batch = []

    def _equal_rows(self) -> Iterator[Finding]:
        self._flush()
        repeated, contradicting = _Groups(), _Groups()
        copies = 0
        for part in self._equal.parts():
            for group in _runs(part, "context"):
                answers = list(_runs(group[np.argsort(group["answer"], kind="stable")], "answer", least=1))
                for rows in answers:
                    if len(rows) > 1:
                        repeated.add(rows["row"])
                copies += len(group) - (1 if len(answers) == 1 else 0)
                if len(answers) > 1:
                    contradicting.add(np.sort([rows["row"][0] for rows in answers]))
        self.good = self._rows - copies
        cure = "keep one of each: the rest weighs double"
        yield from finding("warning", "duplicates", "groups of equal rows", repeated.told(self._places, " = "), cure)
        message, cure = "questions with several answers", "decide which is right"
        yield from finding("warning", "contradictions", message, contradicting.told(self._places, " ≠ "), cure)

    def _nearly_equal(self, index: Near, across: NearLeaks) -> Iterator[Finding]:
        """Of rows that are near to each other each is named once, beside the first that it was found near to."""
        tests, joined = self._tests, Clusters(self._rows)
        close, count = list[Pair](), 0

        def skip(left: int, right: int) -> bool:
            if left >= tests:
                return joined.of(left - tests) == joined.of(right - tests)
            return right < tests or across.enough(left)

        for pair in index.pairs(skip):
            if pair.left < tests:
                across.add(pair.left, pair.right - tests, pair.similarity)
                continue
            joined.join(pair.left - tests, pair.right - tests)
            close.append(pair)
            count += 1
            if len(close) > 2 * MOST_PLACES:
                close = _first(close)
        places = Places(
            f"{self._places[pair.left - tests]} ≈ {self._places[pair.right - tests]} ({pair.similarity:.2f})"
            for pair in _first(close)
        )
        places.count = count
        message, cure = "pairs of nearly equal questions", "make sure that they are meant"
        yield from finding("warning", "near duplicates", message, places, cure)


def _first(pairs: Sequence[Pair]) -> list[Pair]:
    """Those that are told, in the order of the file."""
    return sorted(pairs, key=lambda pair: (pair.left, pair.right))[:MOST_PLACES]


def _runs(records: Records, key: str, least: int = 2) -> Iterator[Records]:
    """Records of one key, of those that stand together, where there are at least so many."""
    changes = np.flatnonzero(records[key][1:] != records[key][:-1]) + 1
    edges = np.concatenate(([0], changes, [len(records)]))
    for begin in np.flatnonzero(np.diff(edges) >= least):
        yield records[edges[begin] : edges[begin + 1]]


class _Groups:
    """Groups of rows, of which the first are kept: of a million no more is told than of a thousand."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[list[int]] = []

    def add(self, rows: NDArray[Any]) -> None:
        """In the order of the file."""
        self._count += 1
        more = [-1] * (len(rows) > _MOST_TOLD)
        self._first.append([*rows[:_MOST_TOLD].tolist(), *more])
        if len(self._first) > 2 * MOST_PLACES:
            self._first = sorted(self._first)[:MOST_PLACES]

    def told(self, places: RowPlaces, sign: str) -> Places:
        groups = sorted(self._first)[:MOST_PLACES]
        told = Places(sign.join("…" if row < 0 else places[row] for row in rows) for rows in groups)
        told.count = self._count
        return told


def _hash(*texts: str) -> int:
    """64 bits, of this process: a million texts share one by a chance of 3 in 100 million."""
    return hash(texts) & (1 << 64) - 1
