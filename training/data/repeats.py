"""Equal rows, contradictions, and questions that are nearly equal, within the training rows and across to test rows.

Eight bytes a row stay in memory for the equal ones; `duplicates.py` says how many for those that are nearly so.
"""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from unicodedata import category

import numpy as np

from lifecycle.text.normaliser import LIGHT_1
from training.data.content import Content
from training.data.duplicates import Clusters, Near, Pair
from training.data.findings import Finding, Places, finding
from training.data.spool import Spool

_LINE = 40
"""Bits of a place that are its line; those above name its file."""
_BATCH = 4096
_MOST_NEIGHBOURS = 5
"""Training rows that one test row is said to be near to."""

_NEGATIONS = frozenset(
    ["not", "no", "never", "without", "t", "cannot", "لا", "ليس", "ليست", "لم", "لن", "غير", "بدون", "دون"]
)
"""As they are normalised: "don't" is "don t"."""


class PlaceBook:
    """The places of rows, in eight bytes each."""

    def __init__(self) -> None:
        self._files: dict[str, int] = {}
        self._places = array("Q")

    def add(self, place: str) -> int:
        file, _, line = place.rpartition(":")
        if not line.isdecimal():
            file, line = place, ""
        self._places.append(self._files.setdefault(file, len(self._files)) << _LINE | int(line or 0))
        return len(self._places) - 1

    def __getitem__(self, at: int) -> str:
        code = self._places[at]
        file, line = list(self._files)[code >> _LINE], code & (1 << _LINE) - 1
        return f"{file}:{line}" if line else file

    def __len__(self) -> int:
        return len(self._places)


def decisive(normal: str) -> tuple[str, ...]:
    """The numbers, signs and negations of a normalised text: where they differ, it asks something else.

    `A+` and `A-`, `>7` and `<7`, `C++` and `C#`, 5 mg and 50 mg, with and without: a letter apart, and not the same.
    """
    return tuple(word for word in normal.split() if word in _NEGATIONS or _decides(word))


def _decides(word: str) -> bool:
    return not word.isalpha() and (category(word[0])[0] in "NSP" or category(word[-1])[0] in "SP")


@lru_cache(maxsize=4096)
def normal_form(text: str) -> str:
    """Of answers, which come again and again, and system texts."""
    return LIGHT_1.normal(text)


class Repeats:
    """What was said before. `similarity` is the Jaccard of character 5-shingles; None looks for equal rows alone."""

    def __init__(self, similarity: float | None, others: Mapping[str, Sequence[Asked]] = {}) -> None:
        self._places = PlaceBook()
        self._equal = Spool([("context", "u8"), ("row", "u4"), ("answer", "u8")])
        self._batch: list[tuple[int, int, int]] = []
        self._near = None if similarity is None else Near(similarity)
        self._others = others
        self.good = 0
        """Rows that are no copies, and of one answer; known after `findings`."""

    def see(self, row: Content, question: str) -> None:
        """`question` is the row's, normalised."""
        context = question if row.context is row.question else normal_form(row.context)
        self._batch.append((_hash(context), self._places.add(row.place), _hash(normal_form(row.answer))))
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
            self._equal.add(*zip(*self._batch, strict=True))
            self._batch = []

    def _equal_rows(self) -> Iterator[Finding]:
        self._flush()
        repeated, contradicting = [], []
        copies = 0
        for part in self._equal.parts():
            bounds = np.flatnonzero(part["context"][1:] != part["context"][:-1]) + 1
            edges = np.concatenate(([0], bounds, [len(part)]))
            for begin in np.flatnonzero(np.diff(edges) > 1):
                group = part[edges[begin] : edges[begin + 1]]
                answers: dict[int, list[int]] = defaultdict(list)
                for record in group:
                    answers[int(record["answer"])].append(int(record["row"]))
                repeated += [rows for rows in answers.values() if len(rows) > 1]
                copies += len(group) - (1 if len(answers) == 1 else 0)
                if len(answers) > 1:
                    contradicting.append([rows[0] for rows in answers.values()])
        self.good = len(self._places) - copies
        cure = "keep one of each: the rest weighs double"
        yield from finding("warning", "duplicates", "groups of equal rows", self._told(repeated, " = "), cure)
        message, cure = "questions with several answers", "decide which is right"
        yield from finding("warning", "contradictions", message, self._told(contradicting, " ≠ "), cure)

    def _told(self, groups: list[list[int]], sign: str) -> Places:
        return Places(sign.join(self._places[at] for at in rows) for rows in sorted(groups))

    def _nearly_equal(self, index: Near) -> Iterator[Finding]:
        """Of rows that are near to each other each is named once, beside the first that it was found near to."""
        rows, tests = len(self._places), [asked for others in self._others.values() for asked in others]
        for asked in tests:
            index.add(asked.normal, 1, _hash(*decisive(asked.normal)) >> 1)
        first = index.firsts()
        joined, neighbours = Clusters(rows), Counter[int]()
        trained = {index.key(0, asked.normal) for asked in tests} & index.keys(rows)

        def skip(left: int, right: int) -> bool:
            if right < rows:
                return joined.of(left) == joined.of(right)
            leaked = index.key(0, tests[right - rows].normal) in trained
            return left >= rows or leaked or neighbours[right] >= _MOST_NEIGHBOURS

        close: list[Pair] = []
        across: dict[int, list[Pair]] = defaultdict(list)
        for pair in index.pairs(skip):
            if pair.right < rows:
                joined.join(pair.left, pair.right)
                close.append(pair)
            else:
                neighbours[pair.right] += 1
                across[pair.right].append(pair)
        close.sort(key=lambda pair: (pair.left, pair.right))
        places = Places(f"{self._places[p.left]} ≈ {self._places[p.right]} ({p.similarity:.2f})" for p in close)
        message, cure = "pairs of nearly equal questions", "make sure that they are meant"
        yield from finding("warning", "near duplicates", message, places, cure)
        at = rows
        for name, others in self._others.items():
            # A question that comes twice stands for both.
            pairs = [
                (asked, pair)
                for place, asked in enumerate(others, at)
                for pair in sorted(across[int(first[place])], key=lambda pair: pair.left)
            ]
            at += len(others)
            places = Places(f"{asked.place} ≈ {self._places[p.left]} ({p.similarity:.2f})" for asked, p in pairs)
            message = f"rows of {name} nearly asked in the training rows"
            yield from finding("warning", "near leakage", message, places, LEAK_CURE)


@dataclass(frozen=True, slots=True)
class Asked:
    """A row that must be unseen in training: where it stands, and its normalised question."""

    place: str
    normal: str


LEAK_CURE = "remove them from one side: a figure measured on rows that were trained on says nothing"


def _hash(*texts: str) -> int:
    """64 bits, of this process: a million texts share one by a chance of 3 in 100 million."""
    return hash(texts) & (1 << 64) - 1
