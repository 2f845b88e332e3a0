"""Rows that say the same thing: exactly (after normalisation) or nearly, within a set or across two.

Near duplicates are found exactly, not by hashing: two sets of shingles can only reach Jaccard t when they share one
of their rarest |x| - ceil(t·|x|) + 1 shingles (the prefix filter of Bayardo, Ma & Srikant, WWW 2007, section 3, in
the form of Xiao et al., "PPJoin", WWW 2008, section 3.1), so an inverted index over those gives all candidates.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

_SHINGLE = 5
"""Characters. Long enough that common syllables do not count, short enough to see through one changed word."""


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
    if not 0.0 < threshold <= 1.0:
        raise ValueError(f"threshold must be above 0 and at most 1, not {threshold}")
    lefts = _distinct(texts)
    rights = lefts if against is None else _distinct(against)
    sets = {text: _shingles(text) for text in {**lefts, **rights}}
    frequency = Counter(shingle for shingles in sets.values() for shingle in shingles)
    rarest_first = {
        text: sorted(shingles, key=lambda shingle: (frequency[shingle], shingle)) for text, shingles in sets.items()
    }
    index: dict[str, list[str]] = defaultdict(list)
    for text in rights:
        for shingle in _prefix(rarest_first[text], threshold):
            index[shingle].append(text)

    pairs = []
    for text, position in lefts.items():
        candidates = {other for shingle in _prefix(rarest_first[text], threshold) for other in index[shingle]}
        for other in candidates:
            if other == text or (against is None and rights[other] < position):
                continue
            similarity = _jaccard(sets[text], sets[other])
            if similarity >= threshold:
                pairs.append(Pair(position, rights[other], similarity))
    return sorted(pairs, key=lambda pair: (pair.left, pair.right))


def _distinct(texts: Sequence[str]) -> dict[str, int]:
    """Each text's first position."""
    first: dict[str, int] = {}
    for position, text in enumerate(texts):
        first.setdefault(text, position)
    return first


def _shingles(text: str) -> frozenset[str]:
    """None for a text that is shorter than one: it can only equal another."""
    return frozenset(text[i : i + _SHINGLE] for i in range(len(text) - _SHINGLE + 1))


def _prefix(rarest_first: Sequence[str], threshold: float) -> Sequence[str]:
    size = len(rarest_first)
    return rarest_first[: size - math.ceil(threshold * size - 1e-9) + 1]


def _jaccard(left: frozenset[str], right: frozenset[str]) -> float:
    common = len(left & right)
    return common / (len(left) + len(right) - common)
