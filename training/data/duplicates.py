"""Rows that say the same thing: exactly (after normalisation) or nearly, within a set or across two.

Near duplicates are found exactly, not by sampling: two sets of shingles can only reach Jaccard t when they share one
of their rarest |x| - ceil(t·|x|) + 1 shingles (the prefix filter of Bayardo, Ma & Srikant, WWW 2007, section 3, in
the form of Xiao et al., "PPJoin", WWW 2008, sections 3.1 and 3.2), so the texts that have one of those in common are
all candidates. Most are told apart by 128 bits of each text alone, which bound what two sets can share (the bitmap
filter of Sandes, Teodoro & Melo, Information Systems 88, 2020). A text that is shorter than a shingle can only equal
another. Texts, their shingles and what is known of them lie on disk; a byte of each text stays in memory.
"""

from __future__ import annotations

import os
import tempfile
from array import array
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.spool import Records, Spool, Table

_SHINGLE = 5
"""Characters. Long enough that common syllables do not count, short enough to see through one changed word."""

_BATCH = 4096
_BITS = 22
"""Shingles are counted in so many bits of their hash. A count that several share changes the order alone."""

_RECORD = [("key", "u8"), ("row", "u4"), ("size", "u4"), ("rank", "u4"), ("low", "u8"), ("high", "u8")]
"""A decisive shingle of a text, with its kind; how many the text has, which of them this is, and its 128 bits."""
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
        return across and (left < apart) == (right < apart)

    found = (Pair(pair.left, pair.right - apart, pair.similarity) for pair in index.pairs(skip))
    return sorted(found, key=lambda pair: (pair.left, pair.right))


class Near:
    """Texts as they come, and then the pairs of them that are nearly equal."""

    def __init__(self, threshold: float) -> None:
        if not 0.0 < threshold <= 1.0:
            raise ValueError(f"threshold must be above 0 and at most 1, not {threshold}")
        self.threshold = threshold
        self._rows = Table([("side", "u1"), ("kind", "u8"), ("key", "u8"), ("begin", "u8"), ("bytes", "u4")])
        self._texts = tempfile.TemporaryFile()  # noqa: SIM115 - it lives as long as this does
        self._written = 0
        self._waiting: list[tuple[str, int, int]] = []
        self._counts = np.zeros(1 << _BITS, np.uint32)

    def __len__(self) -> int:
        return len(self._rows) + len(self._waiting)

    def add(self, text: str, side: int = 0, kind: int = 0) -> None:
        """Texts of two kinds are no pair, however near they are. Equal texts of one side are the first of them."""
        self._waiting.append((text, side, kind))
        if len(self._waiting) >= _BATCH:
            self._flush()

    def equal(self) -> Iterator[tuple[int, int]]:
        """Each text that was added before on its side, behind the first that it equals."""
        self._flush()
        keys = Spool([("key", "u8"), ("row", "u4")])
        for begin in range(0, len(self), _BATCH):
            rows = self._rows.read(begin, begin + _BATCH)
            keys.add(rows["key"], np.arange(begin, begin + len(rows)))
        return keys.again()

    def pairs(self, skip: Callable[[int, int], bool] = lambda left, right: False) -> Iterator[Pair]:
        """Every pair of texts that are near and not equal, left before right, as they are found.

        `skip` is asked before a pair is compared, so that whoever needs few of many pairs pays for few.
        """
        shared, sets = Spool(_RECORD), Table([("hash", "u8")])
        where = Table([("begin", "u8"), ("size", "u4")])
        is_first = np.ones(len(self), bool)
        for _, again in self.equal():
            is_first[again] = False
        for begin in range(0, len(self), _BATCH):
            self._prefixes(begin, is_first, shared, sets, where)
        for part in shared.parts():
            for left, right, rank in self._candidates(part):
                if skip(left, right):
                    continue
                one, two = (_hashes(sets, where, at) for at in (left, right))
                common = set(one) & set(two)
                similarity = len(common) / (len(one) + len(two) - len(common))
                # A pair comes once for each decisive shingle that it shares, and counts at the first of them.
                counts = one[rank] in common and common.isdisjoint(one[:rank])
                if counts and similarity >= self.threshold and not self._equal(left, right):
                    yield Pair(left, right, similarity)

    def _flush(self) -> None:
        if self._waiting:
            texts, sides, kinds = zip(*self._waiting, strict=True)
            hashes, _ = _shingles(texts)
            self._counts += np.bincount(hashes >> np.uint64(64 - _BITS), minlength=1 << _BITS).astype(np.uint32)
            raw = [text.encode("utf-8", "surrogatepass") for text in texts]
            self._texts.write(b"".join(raw))
            sizes = np.array([len(each) for each in raw], np.int64)
            keys = list(map(_key, texts, sides))
            self._rows.add(sides, kinds, keys, self._written + np.cumsum(sizes) - sizes, sizes)
            self._written += int(sizes.sum())
            self._waiting = []

    def _read(self, begin: int, end: int) -> list[str]:
        self._texts.flush()
        rows = self._rows.read(begin, end)
        start, sizes = int(rows["begin"][0]), rows["bytes"].astype(np.int64)
        raw = os.pread(self._texts.fileno(), int(sizes.sum()), start)
        cuts = [0, *np.cumsum(sizes).tolist()]
        return [raw[one:two].decode("utf-8", "surrogatepass") for one, two in pairwise(cuts)]

    def _equal(self, left: int, right: int) -> bool:
        """Texts of two sides may be."""
        one, two = (self._rows.read(at, at + 1)[0] for at in (left, right))
        return bool(one["side"] != two["side"]) and self._read(left, left + 1) == self._read(right, right + 1)

    def _prefixes(self, begin: int, is_first: NDArray[Any], shared: Spool, sets: Table, where: Table) -> None:
        """The shingles of a batch of texts, rarest first: all of them into `sets`, the decisive ones into `shared`."""
        end = min(begin + _BATCH, len(self))
        wanted = is_first[begin:end]
        texts = [text if first else "" for text, first in zip(self._read(begin, end), wanted, strict=True)]
        hashes, rows = _shingles(texts)
        order = np.lexsort((hashes, self._counts[hashes >> np.uint64(64 - _BITS)], rows))
        hashes, rows = hashes[order], rows[order]
        fresh = np.ones(len(hashes), bool)
        fresh[1:] = (hashes[1:] != hashes[:-1]) | (rows[1:] != rows[:-1])
        hashes, rows = hashes[fresh], rows[fresh]
        sizes = np.bincount(rows, minlength=end - begin)
        where.add(len(sets) + np.cumsum(sizes) - sizes, sizes)
        sets.add(hashes)
        ranks = np.arange(len(rows)) - (np.cumsum(sizes) - sizes)[rows]
        least = np.ceil(self.threshold * sizes - 1e-9)
        decisive = ranks < (sizes - least + 1)[rows]
        chosen = rows[decisive]
        low, high = _bits(hashes, sizes)
        keys = hashes[decisive] ^ self._rows.read(begin, end)["kind"][chosen] * _FACTOR
        shared.add(keys, chosen + begin, sizes[chosen], ranks[decisive], low[chosen], high[chosen])

    def _candidates(self, part: Records) -> Iterator[tuple[int, int, int]]:
        """Pairs that share a decisive shingle and may reach the threshold, by their sizes, bits and ranks; and which of
        the left one's shingles it is.
        """
        part = part[np.lexsort((part["size"], part["key"]))]
        columns = {name: np.ascontiguousarray(part[name]) for name, _ in _RECORD}
        sizes = columns["size"] = columns["size"].astype(np.int64)
        # Where the texts end that have this shingle too and are not too long: they are sorted so.
        run = np.cumsum(np.append(False, columns["key"][1:] != columns["key"][:-1])) * (sizes.max(initial=0) + 1)
        longest = np.minimum(np.floor(sizes / self.threshold + 1e-9).astype(np.int64), sizes.max(initial=0))
        ends = np.searchsorted(run + sizes, run + longest, "right")
        starts = np.arange(len(part))
        for gap in range(1, len(part)):
            starts = starts[starts + gap < ends[starts]]
            if not len(starts):
                return
            one, two = starts, starts + gap
            needed = np.ceil(self.threshold / (1 + self.threshold) * (sizes[one] + sizes[two]) - 1e-9)
            for most in (_most_by_bits, _most_by_rank):
                enough = most(columns, one, two) >= needed
                one, two, needed = one[enough], two[enough], needed[enough]
            row, other = columns["row"][one], columns["row"][two]
            ranks = columns["rank"][np.where(row < other, one, two)]
            left, right = np.minimum(row, other), np.maximum(row, other)
            yield from zip(left.tolist(), right.tolist(), ranks.tolist(), strict=True)


def _bits(hashes: Hashes, sizes: NDArray[np.int64]) -> tuple[Hashes, Hashes]:
    """For each text, of whose shingles `sizes` says the number: 128 bits, of which every shingle sets one."""
    bit = (hashes >> np.uint64(20)) & np.uint64(127)
    value = np.uint64(1) << (bit & np.uint64(63))
    filled = sizes > 0
    starts = (np.cumsum(sizes) - sizes)[filled]
    halves = []
    for half in (bit < 64, bit >= 64):
        bits = np.zeros(len(sizes), np.uint64)
        if len(starts):
            bits[filled] = np.bitwise_or.reduceat(np.where(half, value, np.uint64(0)), starts)
        halves.append(bits)
    return halves[0], halves[1]


def _most_by_bits(columns: Mapping[str, Any], one: Any, two: Any) -> NDArray[np.int64]:
    """Shingles that texts may share: a bit that only one of them has stands for one, at least, that the other lacks."""
    lacking: list[Any] = [0, 0]
    for half in ("low", "high"):
        bits, others = columns[half][one], columns[half][two]
        only = bits ^ others
        lacking = [lack + np.bitwise_count(only & each) for lack, each in zip(lacking, (bits, others), strict=True)]
    sizes = columns["size"]
    return np.asarray(np.minimum(sizes[one] - lacking[0], sizes[two] - lacking[1]), np.int64)


def _most_by_rank(columns: Mapping[str, Any], one: Any, two: Any) -> NDArray[np.int64]:
    """Shingles that texts may share from this one on.

    Those before it that both have are counted by their own record; this bound is PPJoin's for the first that is
    shared, and the pair is a candidate there.
    """
    left = columns["size"] - columns["rank"]
    return np.asarray(np.minimum(left[one], left[two]), np.int64)


def _hashes(sets: Table, where: Table, at: int) -> list[int]:
    """Rarest first."""
    begin, size = where.read(at, at + 1)[0].tolist()
    hashes: list[int] = sets.read(begin, begin + size)["hash"].tolist()
    return hashes


def _key(text: str, side: int) -> int:
    return hash((side, text)) & (1 << 64) - 1


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
        self._above = array("L" if count >> 32 else "I", range(count))

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

    def names(self) -> NDArray[Any]:
        """The cluster of every position, in the memory that this has."""
        above = np.frombuffer(self._above, f"u{self._above.itemsize}")
        for begin in range(0, len(above), _BATCH):  # what lies above a position is before it, and has its name by now
            part = above[begin : begin + _BATCH]
            while (part != (higher := above[part])).any():
                part[:] = higher
        return above
