"""Equal rows, contradictions, and questions that are nearly equal, within the training rows and across to test rows.

What finds them lies on disk: 24 bytes a row for the equal ones, and what `duplicates.py` says for those nearly so.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from unicodedata import category

import numpy as np
from numpy.typing import NDArray

from training.data.content import Content, normal
from training.data.duplicates import Clusters, Near, Pair
from training.data.findings import MOST_PLACES, Finding, Places, finding
from training.data.spool import Records, Spool, Table

_LINE = 40
"""Bits of a place that are its line; those above name its file."""
_BATCH = 4096
_MOST_TOLD = 20
"""Rows of a group that are named."""
_MOST_NEIGHBOURS = 5
"""Training rows that one test row is said to be near to."""

_NEGATIONS = frozenset(
    ["not", "no", "never", "without", "t", "cannot", "لا", "ليس", "ليست", "لم", "لن", "غير", "بدون", "دون"]
)
"""As they are normalised: "don't" is "don t"."""


class PlaceBook:
    """Places as numbers of eight bytes, in the order of their files and lines."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}

    def code(self, place: str) -> int:
        file, _, line = place.rpartition(":")
        if not line.isdecimal():
            file, line = place, ""
        return self._files.setdefault(file, len(self._files)) << _LINE | int(line or 0)

    def place(self, code: int) -> str:
        file, line = list(self._files)[code >> _LINE], code & (1 << _LINE) - 1
        return f"{file}:{line}" if line else file


def decisive(normal: str) -> tuple[str, ...]:
    """The numbers, signs and negations of a normalised text: where they differ, it asks something else.

    `A+` and `A-`, `>7` and `<7`, `C++` and `C#`, 5 mg and 50 mg, with and without: a letter apart, and not the same.
    """
    return tuple(word for word in normal.split() if word in _NEGATIONS or _decides(word))


def _decides(word: str) -> bool:
    return not word.isalpha() and (category(word[0])[0] in "NSP" or category(word[-1])[0] in "SP")


class Repeats:
    """What was said before. `similarity` is the Jaccard of character 5-shingles; None looks for equal rows alone."""

    def __init__(self, similarity: float | None, others: Mapping[str, Sequence[Asked]] = {}) -> None:
        self._book = PlaceBook()
        self._places = Table([("place", "u8")])
        """Of the rows."""
        self._rows = 0
        self._equal = Spool([("context", "u8"), ("place", "u8"), ("answer", "u8")])
        self._batch: list[tuple[int, int, int]] = []
        self._near = None if similarity is None else Near(similarity)
        self._others = others
        self.good = 0
        """Rows that are no copies, and of one answer; known after `findings`."""

    def see(self, row: Content, question: str) -> None:
        """`question` is the row's, normalised."""
        context = question if row.context is row.question else normal(row.context).text
        place = self._book.code(row.place)
        self._batch.append((_hash(context), place, _hash(normal(row.answer).text)))
        self._rows += 1
        if len(self._batch) >= _BATCH:
            self._flush()
        if self._near is not None:
            self._near.add(question, 0, _hash(*decisive(question)) >> 1)

    def findings(self) -> Iterator[Finding]:
        yield from self._equal_rows()
        if self._near is not None:
            yield from self._nearly_equal(self._near)

    def _flush(self) -> None:
        if self._batch:
            contexts, places, answers = zip(*self._batch, strict=True)
            self._equal.add(contexts, places, answers)
            self._places.add(places)
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
                        repeated.add(rows["place"])
                copies += len(group) - (1 if len(answers) == 1 else 0)
                if len(answers) > 1:
                    contradicting.add(np.sort([rows["place"][0] for rows in answers]))
        self.good = self._rows - copies
        cure = "keep one of each: the rest weighs double"
        yield from finding("warning", "duplicates", "groups of equal rows", repeated.told(self._book, " = "), cure)
        message, cure = "questions with several answers", "decide which is right"
        yield from finding("warning", "contradictions", message, contradicting.told(self._book, " ≠ "), cure)

    def _place(self, row: int) -> str:
        return self._book.place(int(self._places.read(row, row + 1)["place"][0]))

    def _nearly_equal(self, index: Near) -> Iterator[Finding]:
        """Of rows that are near to each other each is named once, beside the first that it was found near to."""
        rows, tests = self._rows, [asked for others in self._others.values() for asked in others]
        for asked in tests:
            index.add(asked.normal, 1, _hash(*decisive(asked.normal)) >> 1)
        first: dict[str, int] = {}
        for place, asked in enumerate(tests, rows):
            first.setdefault(asked.normal, place)
        joined, neighbours = Clusters(rows), Counter[int]()
        trained = index.among(first)

        def skip(left: int, right: int) -> bool:
            if right < rows:
                return joined.of(left) == joined.of(right)
            leaked = tests[right - rows].normal in trained
            return left >= rows or leaked or neighbours[right] >= _MOST_NEIGHBOURS

        close, count = list[Pair](), 0
        across: dict[int, list[Pair]] = defaultdict(list)
        for pair in index.pairs(skip):
            if pair.right < rows:
                joined.join(pair.left, pair.right)
                close.append(pair)
                count += 1
                if len(close) > 2 * MOST_PLACES:
                    close = _first(close)
            else:
                neighbours[pair.right] += 1
                across[pair.right].append(pair)
        places = Places(f"{self._place(p.left)} ≈ {self._place(p.right)} ({p.similarity:.2f})" for p in _first(close))
        places.count = count
        message, cure = "pairs of nearly equal questions", "make sure that they are meant"
        yield from finding("warning", "near duplicates", message, places, cure)
        for name, others in self._others.items():
            # A question that comes twice stands for both.
            pairs = [
                (asked, pair)
                for asked in others
                for pair in sorted(across[first[asked.normal]], key=lambda pair: pair.left)
            ]
            places = Places(f"{asked.place} ≈ {self._place(p.left)} ({p.similarity:.2f})" for asked, p in pairs)
            message = f"rows of {name} nearly asked in the training rows"
            yield from finding("warning", "near leakage", message, places, LEAK_CURE)


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
    """Groups of places, of which the first are kept: of a million no more is told than of a thousand."""

    def __init__(self) -> None:
        self._count = 0
        self._first: list[list[int]] = []

    def add(self, places: NDArray[Any]) -> None:
        """In the order of the file."""
        self._count += 1
        more = [-1] * (len(places) > _MOST_TOLD)
        self._first.append([*places[:_MOST_TOLD].tolist(), *more])
        if len(self._first) > 2 * MOST_PLACES:
            self._first = sorted(self._first)[:MOST_PLACES]

    def told(self, book: PlaceBook, sign: str) -> Places:
        groups = sorted(self._first)[:MOST_PLACES]
        told = Places(sign.join("…" if code < 0 else book.place(code) for code in codes) for codes in groups)
        told.count = self._count
        return told


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that must be unseen in training: where it stands, and its normalised question."""

    place: str
    normal: str


LEAK_CURE = "remove them from one side: a figure measured on rows that were trained on says nothing"


def _hash(*texts: str) -> int:
    """64 bits, of this process: a million texts share one by a chance of 3 in 100 million."""
    return hash(texts) & (1 << 64) - 1
