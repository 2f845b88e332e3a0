"""How rows lie in the batches of a run, as its trainer lays them: the tokens that it computes, padding included.

Rows come in an order of chance (`training/exact.py`), so a batch is as wide as the longest of some rows of all lengths,
unless they are grouped by it. Read `estimate.py` for what becomes of it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

from training.packing import bins, even

SAMPLE = 512
"""Batches that are laid; of more, the others are taken to be like them."""


@dataclass(frozen=True)
class Laid:
    """One pass over rows."""

    rows: int
    batches: int
    tokens: float
    """Of the rows in the mean, without padding."""
    computed: float
    """Tokens, with it."""
    pairs: float
    """Of tokens that attention compares: the sum of the squares of all lines' widths."""
    widest: int
    """Tokens of a batch at most: all its lines, as wide as the longest row."""
    learnt: float = 0.0
    """Tokens that the output layer scores."""
    masked: float = 0.0
    """Pairs of tokens of packed lines, of which a mask says whether one sees the other."""


def lay(
    sizes: Sequence[Counter[int]],
    seen: Sequence[int],
    batch: int,
    *,
    texts: int = 1,
    packs: bool = False,
    group: int | None = None,
    room: int = 0,
) -> Laid:
    """So many rows of each file of `sizes` (length → rows of it) as `seen` says, in batches of `batch` rows.

    A row has so many `texts`, each in a line of its own; its length is that of the longer one. `packs` says that texts
    share lines where they fit (`training/packing.py`), of about `room` tokens where that is told: then attention sees
    to each row by itself. `group` is that of `OptimisationSettings`.
    """
    rows = sum(seen)
    if not rows:
        return Laid(0, 0, 0.0, 0.0, 0.0, 0)
    share = min(1.0, SAMPLE * batch / rows)
    chance, drawn = Random(0), list[int]()
    for lengths, count in zip(sizes, seen, strict=True):
        known = sorted(lengths)
        drawn += chance.sample(known, math.ceil(count * share), counts=[lengths[length] for length in known])
    chance.shuffle(drawn)
    if group is not None:
        drawn = _grouped(drawn, group, rows)
    computed = pairs = masked = 0
    for start in range(0, len(drawn), batch):
        part = drawn[start : start + batch]
        width = max(part)
        if packs and room:
            lines = -(-sum(part) // room)
            width = max(sum(part[at] for at in line) for line in even(part, lines))
            pairs += sum(length**2 for length in part)
        else:
            lines = len(bins(part, width)) if packs else texts * len(part)
            pairs += lines * width**2
        computed += lines * width
        masked += lines * width**2 if packs else 0
    whole = rows / len(drawn)
    longest = max(max(lengths, default=0) for lengths in sizes)
    return Laid(
        rows=rows,
        batches=math.ceil(rows / batch),
        tokens=texts * sum(mean(lengths) * count for lengths, count in zip(sizes, seen, strict=True)),
        computed=computed * whole,
        pairs=pairs * whole,
        masked=masked * whole,
        widest=texts * min(batch, rows) * longest,
    )


def _grouped(drawn: Sequence[int], group: int, rows: int) -> list[int]:
    """As transformers' `get_length_grouped_indices` orders so many rows: sorted within pieces of many groups."""
    piece = group * max(1, min(rows // (4 * group), 50))
    return [
        length for start in range(0, len(drawn), piece) for length in sorted(drawn[start : start + piece], reverse=True)
    ]


def mean(lengths: Counter[int]) -> float:
    return sum(length * rows for length, rows in lengths.items()) / max(1, lengths.total())


def blocks(lengths: Counter[int], rows: int, longest: int) -> Counter[int]:
    """Blocks of `longest` tokens that hold `rows` such texts, one behind the other (`recipes/text.py`)."""
    tokens = round(mean(lengths) * rows)
    return +(Counter({longest: tokens // longest}) + Counter([tokens % longest][: tokens % longest]))
