"""Rows that say the same thing: exactly (after normalisation) or nearly, within a set or across two.

Near duplicates are found exactly, not by sampling: two sets of shingles can only reach Jaccard t when they share one
of their rarest |x| - ceil(t·|x|) + 1 shingles (the prefix filter of Bayardo, Ma & Srikant, WWW 2007, section 3, in
the form of Xiao et al., "PPJoin", WWW 2008, sections 3.1 and 3.2), so the texts that have one of those in common are
all candidates. A text that is shorter than a shingle can only equal another. Texts and shingles are kept on disk:
about forty bytes a text stay in memory.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.spool import Records, Spool

_SHINGLE = 5
"""Characters. Long enough that common syllables do not count, short enough to see through one changed word."""

_BATCH = 4096
_BITS = 22
"""Shingles are counted in so many bits of their hash. A count that several share changes the order alone."""

Hashes = NDArray[np.uint64]
_FACTOR = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


@dataclass(frozen=True, slots=True)
class Pair:
    """Positions `left` and `right` in the sequences compared, and their Jaccard similarity (0 to 1)."""

    left: int
    right: int
    similarity: float


def same(texts: Sequence[str]) -> list[tuple[int, ...]]:
    """Groups of positions whose (already normalised) texts are equal; only groups of two or more, in order."""
    places: dict[str, list[int]] = defaultdict(list)
    for position, text in enumerate(texts):
        places[text].append(position)
    return [tuple(group) for group in places.values() if len(group) > 1]


def near(texts: Sequence[str], threshold: float, against: Sequence[str] | None = None) -> list[Pair]:
    """All pairs at `threshold` or above that are not equal: within `texts`, or of `texts` (left) with `against`.

    Texts are normalised already. Equal texts are compared once and reported by `same`, never here. Raises
    ValueError for a threshold outside (0, 1].
    """
    index = Near(threshold)
    for text in texts:
        index.add(text)
    for text in against or ():
        index.add(text, side=1)
    across = against is not None
    apart = len(texts) if across else 0

    def skip(left: int, right: int) -> bool:
        return (index.sides[left] != index.sides[right]) is not across

    found = (Pair(pair.left, pair.right - apart, pair.similarity) for pair in index.pairs(skip))
    return sorted(found, key=lambda pair: (pair.left, pair.right))


class Near:
    """Texts as they come, and then the pairs of them that are nearly equal."""

    def __init__(self, threshold: float) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"threshold must be above 0 and at most 1, not {threshold}")
        self.threshold = threshold
        self.sides = array("B")
        self._kinds = array("q")
        self._keys = array("q")
        self._ends = array("Q")
        self._texts = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this does
        self._waiting: list[str] = []
        self._counts = np.zeros(1 << _BITS, np.uint32)

    def __len__(self) -> int:
        return len(self._keys)

    def add(self, text: str, side: int = 0, kind: int = 0) -> None:
        """Texts of two kinds are no pair, however near they are. Equal texts of one side are the first of them."""
        self.sides.append(side)
        self._kinds.append(kind)
        self._keys.append(self.key(side, text))
        self._waiting.append(text)
        if len(self._waiting) >= _BATCH:
            self._flush()

    @staticmethod
    def key(side: int, text: str) -> int:
        return hash((side, text))

    def keys(self, count: int) -> set[int]:
        """Of the first texts."""
        return set(self._keys[:count])

    def firsts(self) -> NDArray[np.int64]:
        """For each text the position of the first that equals it, on its side."""
        _, first, which = np.unique(np.array(self._keys), return_index=True, return_inverse=True)
        return np.asarray(first[which], np.int64)

    def pairs(self, skip: Callable[[int, int], bool] = lambda left, right: False) -> Iterator[Pair]:
        """Every pair of texts that are near and not equal, left before right, as they are found.

        `skip` is asked before a pair is compared, so that whoever needs few of many pairs pays for few.
        """
        self._flush()
        shared = Spool([("key", "u8"), ("row", "u4"), ("size", "u4"), ("rank", "u4")])
        is_first = self.firsts() == np.arange(len(self))
        with tempfile.TemporaryFile() as file:
            bounds = array("Q", [0])
            for begin in range(0, len(self), _BATCH):
                self._prefixes(begin, is_first, shared, bounds, file)
            file.flush()
            kinds = np.array(self._kinds)
            told: set[int] = set()
            for part in shared.parts():
                for left, right in self._candidates(part, kinds):
                    code = left << 32 | right
                    if code in told or skip(left, right):
                        continue
                    # Not mapped: what is mapped stays in memory where there is room, and looks like it grew.
                    one, two = (set(_hashes(file, bounds[at], bounds[at + 1])) for at in (left, right))
                    common = len(one & two)
                    similarity = common / (len(one) + len(two) - common)
                    if similarity >= self.threshold and not self._equal(left, right):
                        told.add(code)
                        yield Pair(left, right, similarity)

    def _flush(self) -> None:
        if self._waiting:
            hashes, _ = _shingles(self._waiting)
            self._counts += np.bincount(hashes >> np.uint64(64 - _BITS), minlength=1 << _BITS).astype(np.uint32)
            end = self._ends[-1] if self._ends else 0
            self._texts.seek(end)
            for text in self._waiting:
                end += self._texts.write(text.encode("utf-8", "surrogatepass"))
                self._ends.append(end)
            self._waiting = []

    def _read(self, begin: int, end: int) -> list[str]:
        start = self._ends[begin - 1] if begin else 0
        self._texts.seek(start)
        raw = self._texts.read(self._ends[end - 1] - start)
        cuts = [0, *(self._ends[at] - start for at in range(begin, end))]
        return [raw[one:two].decode("utf-8", "surrogatepass") for one, two in pairwise(cuts)]

    def _equal(self, left: int, right: int) -> bool:
        """Texts of two sides may be."""
        if self.sides[left] == self.sides[right]:
            return False
        return self._read(left, left + 1) == self._read(right, right + 1)

    def _prefixes(self, begin: int, is_first: NDArray[Any], shared: Spool, bounds: array[int], file: Any) -> None:
        """The shingles of a batch of texts, rarest first: all of them into `file`, the decisive ones into `shared`."""
        end = min(begin + _BATCH, len(self))
        wanted = is_first[begin:end]
        texts = [text if first else "" for text, first in zip(self._read(begin, end), wanted, strict=True)]
        hashes, rows = _shingles(texts)
        order = np.lexsort((hashes, self._counts[hashes >> np.uint64(64 - _BITS)], rows))
        hashes, rows = hashes[order], rows[order]
        fresh = np.ones(len(hashes), bool)
        fresh[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
        hashes, rows = hashes[fresh], rows[fresh]
        file.write(hashes.tobytes())
        sizes = np.bincount(rows, minlength=end - begin)
        ends = bounds[-1] + np.cumsum(sizes)
        bounds.extend(ends.tolist())
        ranks = np.arange(len(rows)) - (np.cumsum(sizes) - sizes)[rows]
        least = np.ceil(self.threshold * sizes - 1e-9)
        decisive = ranks < (sizes - least + 1)[rows]
        chosen = rows[decisive]
        shared.add(hashes[decisive], chosen + begin, sizes[chosen], ranks[decisive])

    def _candidates(self, part: Records, kinds: NDArray[Any]) -> Iterator[tuple[int, int]]:
        """Pairs that share a decisive shingle and are long enough, behind it too, to reach the threshold."""
        starts = np.arange(len(part))
        for gap in range(1, len(part)):
            starts = starts[starts + gap < len(part)]
            one, two = part[starts], part[starts + gap]
            alike = one["key"] == two["key"]
            starts = starts[alike]
            if not len(starts):
                return
            one, two = one[alike], two[alike]
            sizes, others = one["size"].astype(np.int64), two["size"].astype(np.int64)
            most = np.minimum(sizes - one["rank"], others - two["rank"])
            # Shingles before this one that both have are counted by their own record; this bound is PPJoin's for the
            # first that is shared, and the pair is a candidate there.
            needed = np.ceil(self.threshold / (1 + self.threshold) * (sizes + others) - 1e-9)
            near_enough = (np.minimum(sizes, others) >= np.ceil(self.threshold * np.maximum(sizes, others) - 1e-9)) & (
                most >= needed
            )
            near_enough &= kinds[one["row"]] == kinds[two["row"]]
            yield from zip(one["row"][near_enough].tolist(), two["row"][near_enough].tolist(), strict=True)


def _hashes(file: Any, begin: int, end: int) -> list[int]:
    size = np.dtype(np.uint64).itemsize
    hashes: list[int] = np.frombuffer(os.pread(file.fileno(), size * (end - begin), size * begin), np.uint64).tolist()
    return hashes


def _shingles(texts: Sequence[str]) -> tuple[Hashes, NDArray[np.int64]]:
    """The hash of every stretch of `_SHINGLE` characters, and the number of its text."""
    codes = np.frombuffer("".join(texts).encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    lengths = np.array([len(text) for text in texts], np.int64)
    counts = np.maximum(lengths - _SHINGLE + 1, 0)
    rows = np.repeat(np.arange(len(texts)), counts)
    starts = np.cumsum(lengths) - lengths
    at = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts) + np.repeat(starts, counts)
    hashes = np.zeros(len(rows), np.uint64)
    for step in range(_SHINGLE):
        hashes = (hashes ^ codes[at + step]) * _FACTOR
        hashes ^= hashes >> _SHIFT
    return hashes * _FACTOR, rows


class Clusters:
    """Positions that belong together, joined pair by pair (union-find with halved paths)."""

    def __init__(self, count: int) -> None:
        self._above = array("q", range(count))

    def of(self, at: int) -> int:
        """The cluster's name: a position in it."""
        above = self._above
        while above[at] != at:
            above[at] = above[above[at]]
            at = above[at]
        return at

    def join(self, one: int, two: int) -> None:
        one, two = sorted((self.of(one), self.of(two)))
        self._above[two] = one
