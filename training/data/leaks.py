"""Test rows that training has seen: the same question in any spelling, or one that stands inside a training row.

Both sides lie on disk as hashes. Of a test question that is long enough one stretch of words is looked for, its rarest;
where a training text has that stretch, the words around it are compared. What a training text has in common with no
test question is left out at once, by a bit of each hash.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from training.data.content import Normal
from training.data.findings import MOST_PLACES, Finding, Places, Severity, finding
from training.data.row_places import RowPlaces
from training.data.spool import Records, Spool, Table
from training.data.unseen import STRETCH, Hashes, Unseen, hashes, stretches

LEAK_CURE = "remove them from one side: a figure measured on rows that were trained on says nothing"

_NO_CHANCE = 8
"""Words from which it stands there by no chance: the n-grams that PaLM's contamination was counted by
(arXiv 2204.02311, section 8)."""

_BITS = 24
_BATCH = 4096
_MOST = 1 << 15
"""Words and rows of training that wait to be looked at together."""
_MOST_NEIGHBOURS = 5
"""Training rows that one test row is said to be near to."""


class Leaks:
    """`unseen` is complete, and `places` are those of the training rows. Eight bytes a test row stay in memory."""

    def __init__(self, unseen: Unseen, places: RowPlaces) -> None:
        self._unseen, self._places = unseen, places
        self._asked, self._held = _Bits(), _Bits()
        self._equal = Spool([("key", "u8"), ("row", "u4"), ("training", "u1")])
        self._inside = Spool(
            [("key", "u8"), ("row", "u4"), ("training", "u1"), ("begin", "u8"), ("size", "u4"), ("at", "u4")]
        )
        """A stretch of words: in which text of words, and at which of them; tests before training rows."""
        self._texts = Table([("word", "u8")])
        """Of training texts that share a stretch with a test question, or a bit."""
        self._rows: list[int] = []
        self._questions: list[str] = []
        self._of: list[int] = []
        self._sizes: list[int] = []
        self._words: list[str] = []
        """Of the texts of rows `_of`, as many of each as `_sizes` says, one after the other."""
        self._nothing = not len(unseen)
        self._seal()

    def see(self, row: int, question: str, texts: Sequence[Normal]) -> None:
        """`question` and `texts` are the row's, normalised."""
        if self._nothing:
            return
        self._rows.append(row)
        self._questions.append(question)
        for text in texts:
            if len(text.words) >= STRETCH or text.text.count(" ") >= STRETCH - 1:
                words = text.text.split()
                self._of.append(row)
                self._sizes.append(len(words))
                self._words += words
        if len(self._words) + len(self._rows) >= _MOST:
            self._flush()

    def leaked(self) -> NDArray[np.uint32]:
        """For each test row that is the first to ask its question: the first training row that asks it, plus one."""
        self._flush()
        equal = np.zeros(len(self._unseen), np.uint32)
        for part in self._equal.parts():
            tests, trained = _first_of_both(part)
            equal[part["row"][tests]] = part["row"][trained] + 1
        return equal

    def findings(self, leaked: NDArray[np.uint32]) -> Iterator[Finding]:
        inside = self._contained(leaked)
        for name, rows in self._unseen.sets.items():
            first = self._unseen.first[rows.start : rows.stop]
            equal, within = leaked[first], inside[first]
            message = f"rows of {name} asked in the training rows too"
            yield from finding("error", "leakage", message, self._told(rows, equal, "="), LEAK_CURE)
            message = f"rows of {name} whose question stands inside a training row"
            long = self._long(rows)
            for level, sure in (("error", True), ("warning", False)):
                told = self._told(rows, np.where(long == sure, within, 0), "⊂")
                yield from finding(cast("Severity", level), "contained leakage", message, told, LEAK_CURE)

    def _long(self, rows: range) -> NDArray[np.bool_]:
        """Whose questions stand nowhere by chance."""
        long = np.zeros(len(rows), bool)
        for begin in range(0, len(rows), _BATCH):
            part = rows[begin : begin + _BATCH]
            long[begin : begin + len(part)] = self._unseen.rows(part.start, part.stop)["size"] >= _NO_CHANCE
        return long

    def _told(self, rows: range, where: NDArray[Any], sign: str) -> Places:
        """`where` has for each of `rows` a training row plus one, or 0."""
        chosen = np.flatnonzero(where)
        tests = self._unseen.places
        told = Places(
            f"{tests[rows.start + at]} {sign} {self._places[int(where[at]) - 1]}"
            for at in chosen[:MOST_PLACES].tolist()
        )
        told.count = len(chosen)
        return told

    def _seal(self) -> None:
        """What is looked for: the questions, and the rarest stretch of each that is long enough."""
        counts = np.zeros(1 << 22 if len(self._unseen) else 0, np.uint32)
        for _, _, keys, *_ in self._stretches():
            np.add.at(counts, keys >> np.uint64(42), np.uint32(1))
        for begin, rows, keys, texts, at in self._stretches():
            numbers = np.arange(begin, begin + len(rows))
            first = self._unseen.first[begin : begin + len(rows)] == numbers
            self._asked.add(rows["question"][first])
            self._equal.add(rows["question"][first], numbers[first], np.zeros(first.sum(), np.uint8))
            order = np.lexsort((at, counts[keys >> np.uint64(42)], texts))
            fresh = np.append(True, np.diff(texts[order]) != 0)[: len(order)]
            chosen = order[fresh]
            chosen = chosen[first[texts[chosen]]]
            of, none = texts[chosen], np.zeros(len(chosen), np.uint8)
            self._held.add(keys[chosen])
            self._inside.add(keys[chosen], numbers[of], none, rows["begin"][of], rows["size"][of], at[chosen])

    def _stretches(self) -> Iterator[tuple[int, Records, Hashes, NDArray[Any], NDArray[Any]]]:
        for begin in range(0, len(self._unseen), _BATCH):
            rows = self._unseen.rows(begin, begin + _BATCH)
            sizes = rows["size"].astype(np.int64)
            start = int(rows["begin"][0])
            yield begin, rows, *stretches(self._unseen.words(start, start + int(sizes.sum())), sizes)

    def _flush(self) -> None:
        questions = hashes(self._questions)
        asked = self._asked.have(questions)
        self._equal.add(questions[asked], np.array(self._rows, np.uint32)[asked], np.ones(asked.sum(), np.uint8))
        words, sizes = hashes(self._words), np.array(self._sizes, np.int64)
        keys, texts, at = stretches(words, sizes)
        shared = self._held.have(keys)
        keys, texts, at = keys[shared], texts[shared], at[shared]
        kept = np.zeros(len(sizes), bool)
        kept[texts] = True
        begins = len(self._texts) + np.cumsum(np.where(kept, sizes, 0)) - np.where(kept, sizes, 0)
        self._texts.add(words[np.repeat(kept, sizes)])
        rows, training = np.array(self._of, np.uint32)[texts], np.ones(len(keys), np.uint8)
        self._inside.add(keys, rows, training, begins[texts], sizes[texts], at)
        self._rows, self._questions, self._of, self._sizes, self._words = [], [], [], [], []

    def _contained(self, leaked: NDArray[np.uint32]) -> NDArray[np.uint32]:
        """For each test row the first training row that its question stands in, plus one; none for those `leaked`."""
        inside = np.zeros(len(self._unseen), np.uint32)
        for records in self._inside.parts() if not self._nothing else ():
            tested = records["training"] == 0
            tested[tested] = leaked[records["row"][tested]] != 0
            part = records[~tested]
            if not len(part):
                continue
            keys = np.ascontiguousarray(part["key"])
            for tests, trained in zip(*_first_of_both(part), strict=True):
                end = int(np.searchsorted(keys, keys[tests], "right"))
                self._contained_in(part[tests:trained], part[trained:end], inside)
        return inside

    def _contained_in(self, tests: Records, trained: Records, inside: NDArray[np.uint32]) -> None:
        """Of one stretch of words: where the words around it are a test question's, too."""
        wanted: dict[tuple[int, int], dict[bytes, int]] = {}
        for _, row, _, begin, size, at in tests.tolist():
            wanted.setdefault((at, size), {})[self._unseen.words(begin, begin + size).tobytes()] = row
        for _, row, _, begin, size, at in trained.tolist():
            if not wanted:
                return
            text = self._texts.read(begin, begin + size).tobytes()
            for (before, length), questions in [*wanted.items()]:
                start = at - before
                found = questions.pop(text[8 * start : 8 * (start + length)], None) if start >= 0 else None
                if found is not None:
                    inside[found] = row + 1
                if not questions:
                    del wanted[before, length]


class NearLeaks:
    """Test rows that are nearly asked: for each its first neighbours in training, on disk."""

    def __init__(self, unseen: Unseen, places: RowPlaces, leaked: NDArray[np.uint32]) -> None:
        self._unseen, self._places, self._leaked = unseen, places, leaked
        self._count = np.zeros(len(unseen), np.uint8)
        self._pairs = Table([("test", "u4"), ("row", "u4"), ("similarity", "f8")])
        self._waiting: list[tuple[int, int, float]] = []

    def enough(self, test: int) -> bool:
        """Whether no more is to be said of it: what is asked in training itself is told as that."""
        return bool(self._leaked[test]) or bool(self._count[test] >= _MOST_NEIGHBOURS)

    def add(self, test: int, row: int, similarity: float) -> None:
        self._count[test] += 1
        self._waiting.append((test, row, similarity))
        if len(self._waiting) >= _BATCH:
            self._flush()

    def findings(self) -> Iterator[Finding]:
        self._flush()
        for name, rows in self._unseen.sets.items():
            first = self._unseen.first[rows.start : rows.stop]  # a question that comes twice stands for both
            counts = self._count[first]
            near = np.flatnonzero(counts)
            told = near[: 1 + int(np.searchsorted(np.cumsum(counts[near], dtype=np.int64), MOST_PLACES))]
            pairs = self._of(np.unique(first[told]))
            places = Places(
                f"{self._unseen.places[rows.start + at]} ≈ {self._places[row]} ({similarity:.2f})"
                for at in told.tolist()
                for row, similarity in sorted(pairs[int(first[at])])
            )
            places.count = int(counts.sum(dtype=np.int64))
            message = f"rows of {name} nearly asked in the training rows"
            yield from finding("warning", "near leakage", message, places, LEAK_CURE)

    def _of(self, tests: NDArray[Any]) -> dict[int, list[tuple[int, float]]]:
        found: dict[int, list[tuple[int, float]]] = {int(test): [] for test in tests}
        for begin in range(0, len(self._pairs), _BATCH):
            part = self._pairs.read(begin, begin + _BATCH)
            for test, row, similarity in part[np.isin(part["test"], tests)].tolist():
                found[test].append((row, similarity))
        return found

    def _flush(self) -> None:
        if self._waiting:
            self._pairs.add(*zip(*self._waiting, strict=True))
            self._waiting = []


class _Bits:
    """Which hashes there are, by one bit in `2 ** _BITS` of each: no hash that there is is missed."""

    def __init__(self) -> None:
        self._there = np.zeros(1 << _BITS, bool)

    def add(self, keys: Hashes) -> None:
        self._there[keys >> np.uint64(64 - _BITS)] = True

    def have(self, keys: Hashes) -> NDArray[np.bool_]:
        have: NDArray[np.bool_] = self._there[keys >> np.uint64(64 - _BITS)]
        return have


def _first_of_both(part: Records) -> tuple[list[int], list[int]]:
    """Of every key that test rows and training rows have: where its records begin, and its first of training."""
    begins = np.append(True, part["key"][1:] != part["key"][:-1])
    starts = np.flatnonzero(begins)
    turns = np.flatnonzero(
        (part["training"] == 1) & (begins | np.append(True, part["training"][:-1] == 0)[: len(part)])
    )
    tested = starts[part["training"][starts] == 0]
    # A key's records of tests come first: the next turn to training is its own, or another key's.
    after = np.searchsorted(turns, tested)
    there = after < len(turns)
    tested, trained = tested[there], turns[after[there]]
    same = part["key"][tested] == part["key"][trained]
    return tested[same].tolist(), trained[same].tolist()
