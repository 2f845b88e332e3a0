"""The rows that training must not have seen, on disk: where each stands, and its question as hashes of its words.

`leaks.py` looks for them among the training rows. Four bytes of a row stay in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.row_places import RowPlaces
from training.data.spool import Records, Spool, Table

Hashes = NDArray[np.uint64]
STRETCH = 5
"""Words that are looked for together: a question of fewer says too little where it stands inside a longer text."""

_BATCH = 4096
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


class Unseen:
    """Rows of several sets, each set after the other."""

    def __init__(self) -> None:
        self.sets: dict[str, range] = {}
        """The numbers of each set's rows."""
        self.places = RowPlaces()
        self._rows = Table([("question", "u8"), ("begin", "u8"), ("size", "u4")])
        self._words = Table([("word", "u8")])
        self._waiting: list[str] = []

    def __len__(self) -> int:
        return len(self.places)

    def begin(self, name: str) -> None:
        """What is added from here on belongs to the set of this name."""
        self.sets[name] = range(len(self), len(self))

    def add(self, place: str, question: str) -> None:
        """`question` is normalised."""
        name, rows = self.sets.popitem()
        self.sets[name] = range(rows.start, self.places.add(place) + 1)
        self._waiting.append(question)
        if len(self._waiting) >= _BATCH:
            self._flush()

    def rows(self, begin: int, end: int) -> Records:
        """Of each row the hash of its `question`, where its words `begin`, and the `size` in words."""
        self._flush()
        return self._rows.read(begin, end)

    def words(self, begin: int, end: int) -> Hashes:
        """Hashes of words, by where they stand among all words."""
        words: Hashes = self._words.read(begin, end)["word"]
        return words

    @cached_property
    def first(self) -> NDArray[np.uint32]:
        """For each row the first that asks the same."""
        first = np.arange(len(self), dtype=np.uint32)
        keys = Spool([("key", "u8"), ("row", "u4")])
        for begin in range(0, len(self), _BATCH):
            rows = self.rows(begin, begin + _BATCH)
            keys.add(rows["question"], np.arange(begin, begin + len(rows)))
        for earlier, row in keys.again():
            first[row] = earlier
        return first

    def _flush(self) -> None:
        if self._waiting:
            words = [question.split() for question in self._waiting]
            sizes = np.array([*map(len, words)], np.int64)
            starts = len(self._words) + np.cumsum(sizes) - sizes
            self._rows.add(hashes(self._waiting), starts, sizes)
            self._words.add(hashes([*chain.from_iterable(words)]))
            self._waiting = []


def hashes(texts: Sequence[str]) -> Hashes:
    """64 bits of each, of this process: a million texts share one by a chance of 3 in 100 million."""
    return np.array([*map(hash, texts)], np.int64).view(np.uint64)


def stretches(words: Hashes, sizes: NDArray[np.int64]) -> tuple[Hashes, NDArray[Any], NDArray[Any]]:
    """Of every `STRETCH` words within a text: their hash, the number of the text, and at which word they begin.

    `words` are those of all texts, one text after the other, and `sizes` how many each has.
    """
    counts = np.maximum(sizes - STRETCH + 1, 0)
    texts = np.repeat(np.arange(len(sizes)), counts)
    at = np.arange(len(texts)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = (np.cumsum(sizes) - sizes)[texts] + at
    mixed = np.zeros(len(texts), np.uint64)
    for step in range(STRETCH):
        mixed = (mixed ^ words[starts + step]) * _FACTOR
        mixed ^= mixed >> _SHIFT
    return mixed * _FACTOR, texts, at
