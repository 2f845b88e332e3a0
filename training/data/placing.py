"""Which file of a split each group of rows goes to, so that every file has its share of every label.

For rows of any number: nine bytes of a row stay in memory, and the groups lie on disk in the order in which they are
placed.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from training.data.spool import Spool

Counts = Counter[str]
_BATCH = 4096


class Labels:
    """The labels of rows: each of them once, and its number for every row."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._rows = array("I")

    def __len__(self) -> int:
        return len(self._rows)

    @property
    def names(self) -> list[str]:
        return list(self._numbers)

    @property
    def of_rows(self) -> NDArray[Any]:
        return np.frombuffer(self._rows, np.uint32)

    def add(self, label: str) -> None:
        self._rows.append(self._numbers.setdefault(label, len(self._numbers)))


@dataclass(frozen=True)
class Placed:
    """For each row the number of its file, for each file its labels; how many groups there are, and the largest."""

    sides: bytearray
    labels: list[Counts]
    groups: int
    largest: int


def place(groups: NDArray[Any], labels: Labels, wanted: Sequence[int], seed: int) -> Placed:
    """`groups` has for each row the first row of its group, `wanted` for each file how many rows it should get.

    Large groups first, in an order drawn by `seed`; each goes where most is still wanted of its labels, which is the
    greedy step of Sechidis et al., "On the stratification of multi-label data" (2011).
    """
    rows, names = len(groups), labels.names
    total = np.bincount(labels.of_rows, minlength=len(names)).tolist()
    left = [[count * size / rows for count in total] for size in wanted]
    room = [float(size) for size in wanted]
    told: list[Counts] = [Counter() for _ in wanted]
    sizes = _sizes(groups)
    side_of = bytearray(rows)  # of a group, where its first row stands
    for first, inside in _in_order(groups, sizes, labels.of_rows, seed):
        size = sum(inside.values())

        def fit(side: int, inside: Counter[int] = inside, size: int = size) -> tuple[float, float, float]:
            over = max(0.0, size - room[side])
            lacking = sum(min(count, left[side][label]) for label, count in inside.items())
            return over, -lacking, -room[side] / max(wanted[side], 1)

        best = min(range(len(wanted)), key=fit)
        room[best] -= size
        for label, count in inside.items():
            left[best][label] -= count
            told[best][names[label]] += count
        for group in first:
            side_of[group] = best
    sides = np.frombuffer(side_of, np.uint8)
    for begin in range(0, rows, _BATCH):  # a group's first row stands before its others
        sides[begin : begin + _BATCH] = sides[groups[begin : begin + _BATCH]]
    return Placed(side_of, told, int(np.count_nonzero(sizes)), int(sizes.max()))


def _sizes(groups: NDArray[Any]) -> NDArray[np.uint32]:
    """The rows of each group, where its first row stands."""
    sizes = np.zeros(len(groups), np.uint32)
    for begin in range(0, len(groups), _BATCH):
        np.add.at(sizes, groups[begin : begin + _BATCH], np.uint32(1))
    return sizes


def _in_order(
    groups: NDArray[Any], sizes: NDArray[np.uint32], labels: NDArray[Any], seed: int
) -> Iterator[tuple[set[int], Counter[int]]]:
    """Groups, the largest first and equally large ones by chance, with their labels.

    Two that share 64 bits by chance, as 1 in 100 million files of a million rows has them, go one way together.
    """
    ordered = Spool([("key", "u8"), ("group", "u4"), ("label", "u4")])
    below = _below(sizes)
    for begin in range(0, len(groups), _BATCH):
        part = groups[begin : begin + _BATCH]
        keys = [_key(group, below[size], seed) for group, size in zip(part.tolist(), sizes[part].tolist(), strict=True)]
        ordered.add(keys, part, labels[begin : begin + _BATCH])
    for records in ordered.parts():
        changes = np.flatnonzero(records["key"][1:] != records["key"][:-1]) + 1
        firsts, inside = records["group"].tolist(), records["label"].tolist()
        for begin, end in pairwise([0, *changes.tolist(), len(records)]):
            yield set(firsts[begin:end]), Counter(inside[begin:end])


def _below(sizes: NDArray[np.uint32]) -> dict[int, tuple[int, int]]:
    """For groups of each size the stretch of 64 bits, as (begin, width), that their keys are drawn from.

    It is as wide as their rows are of all rows, so that the parts of a `Spool` are alike.
    """
    rows, before, stretches = int(sizes.sum()), 0, {}
    kinds, counts = np.unique(sizes, return_counts=True)
    for size, count in sorted(zip(kinds.tolist(), counts.tolist(), strict=True), reverse=True):
        begin, before = (before << 64) // rows, before + size * count
        stretches[size] = begin, (before << 64) // rows - begin
    return stretches


def _key(group: int, stretch: tuple[int, int], seed: int) -> int:
    begin, width = stretch
    drawn = int.from_bytes(hashlib.sha256(f"{seed}\n{group}".encode()).digest()[:8], "big")
    return begin + (drawn * width >> 64)
