"""Groups go to files by the greedy step of Sechidis et al. (2011), and a row of any number costs a few bytes."""

from __future__ import annotations

import hashlib
import random
import tracemalloc
from collections import Counter, defaultdict
from functools import partial
from typing import Any

import numpy as np
import pytest

from training.data import placing
from training.data.placing import Labels, place
from training.data.spool import Spool


def drawn(rows: int, seed: int, largest: int = 6) -> tuple[list[int], list[str]]:
    """Groups named by their first rows, and labels, of which one is rare."""
    by_chance = random.Random(seed)
    members = by_chance.choices(range(max(1, rows * 2 // largest)), k=rows)
    first: dict[int, int] = {}
    groups = [first.setdefault(member, row) for row, member in enumerate(members)]
    return groups, by_chance.choices(["a", "b", "rare"], [6, 3, 1], k=rows)


def labelled(labels: list[str]) -> Labels:
    made = Labels()
    for label in labels:
        made.add(label)
    return made


def by_hand(groups: list[int], labels: list[str], wanted: list[int], seed: int) -> list[int]:
    """The same by lists and dicts: large groups first, in an order by hash, each where most is lacking."""
    members: dict[int, list[int]] = defaultdict(list)
    for row, group in enumerate(groups):
        members[group].append(row)
    left = [{label: n * size / len(groups) for label, n in Counter(labels).items()} for size in wanted]
    room, sides = list(map(float, wanted)), [0] * len(groups)

    def order(group: int) -> tuple[int, bytes]:
        return -len(members[group]), hashlib.sha256(f"{seed}\n{group}".encode()).digest()

    for group in sorted(members, key=order):
        inside = Counter(labels[row] for row in members[group])

        def fit(side: int, inside: Counter[str] = inside) -> tuple[float, ...]:
            lacking = sum(min(count, left[side][label]) for label, count in inside.items())
            return max(0.0, inside.total() - room[side]), -lacking, -room[side] / wanted[side]

        best = min(range(len(wanted)), key=fit)
        room[best] -= inside.total()
        left[best] = {label: count - inside[label] for label, count in left[best].items()}
        for row in members[group]:
            sides[row] = best
    return sides


@pytest.mark.parametrize("largest", [2, 6, 400])
def test_groups_go_where_the_definition_says_from_memory_and_from_disk(
    largest: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups, labels = drawn(400, largest, largest)
    wanted = [240, 60, 100]
    by_definition = by_hand(groups, labels, wanted, 3)
    for batch, most in ((4096, 5000), (7, 20)):
        monkeypatch.setattr(placing, "_BATCH", batch)
        monkeypatch.setattr(placing, "Spool", partial(Spool, most=most))
        placed = place(np.array(groups, np.uint32), labelled(labels), wanted, 3)
        assert list(placed.sides) == by_definition
        for side, counts in enumerate(placed.labels):
            assert counts == Counter(label for label, at in zip(labels, by_definition, strict=True) if at == side)
        assert placed.groups == len(set(groups))
        assert placed.largest == max(Counter(groups).values())


@pytest.mark.parametrize("sizes", [[1] * 900 + [2] * 50, [1000], [500, 1, 499], [1, 2, 3, 700]])
def test_keys_of_larger_groups_come_first_and_fill_64_bits(sizes: list[int]) -> None:
    stretches = placing._below(np.array([*sizes, *[0] * (sum(sizes) - len(sizes))], np.uint32))
    ends = 0
    for size in sorted(set(sizes), reverse=True):
        begin, width = stretches[size]
        assert begin == ends
        ends = begin + width
        assert width == pytest.approx(size * sizes.count(size) / sum(sizes) * 2**64)
        for group in range(5):
            assert begin <= placing._key(group, (begin, width), 1) < ends
    assert ends == 2**64


def test_a_row_keeps_a_few_bytes_in_memory_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(placing, "_BATCH", 64)
    monkeypatch.setattr(placing, "Spool", partial(Spool, most=256))

    def most(rows: int) -> int:
        groups, labels = drawn(rows, 1)
        named: Any = np.array(groups, np.uint32)
        counted = labelled(labels)
        tracemalloc.start()
        place(named, counted, [rows - rows // 4, rows // 4], 3)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return peak

    few, many = 4_000, 16_000
    assert (most(many) - most(few)) / (many - few) < 12  # lists of rows by group took some 300
