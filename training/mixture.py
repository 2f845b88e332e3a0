"""Several sets of rows in shares: how many rows of each an epoch sees, and which.

An epoch ends with the set that is the first to be seen through: no row comes twice because of the shares. The other
sets go on in the next epoch where they stopped, in a seeded order, and start again when all their rows were seen.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cached_property
from random import Random
from typing import Any, overload

from lifecycle.errors import InvalidConfig, Problem


def counts(sizes: Sequence[int], weights: Sequence[float]) -> list[int]:
    """Rows of each set in one epoch: in all ⌊min(size / share)⌋, by the method of largest remainders.

    Raises `InvalidConfig` for a weight so small that no row of its set would be seen.
    """
    shares = [weight / sum(weights) for weight in weights]
    total = math.floor(min(size / share for size, share in zip(sizes, shares, strict=True)) + 1e-9)
    exact = [total * share for share in shares]
    seen = [math.floor(count + 1e-9) for count in exact]
    for place in sorted(range(len(seen)), key=lambda place: seen[place] - exact[place])[: total - sum(seen)]:
        seen[place] += 1
    if unseen := [place for place, count in enumerate(seen) if not count]:
        cure = "raise its weight, give the others more rows, or leave it out"
        fault = f"so small a share of {total} rows is none"
        raise InvalidConfig(
            "the weights leave out a set of rows", [Problem(f"data.train[{at}].weight", fault, cure) for at in unseen]
        )
    return seen


class Mixture(Sequence[Any]):
    """Examples of several sets as one sequence: those of the first epoch. `epoch` gives the places of any."""

    def __init__(self, parts: Sequence[Sequence[Any]], weights: Sequence[float], seed: int) -> None:
        self.every = [example for part in parts for example in part]
        """All examples of all sets; what `epoch` gives places in."""
        self.counts = counts([len(part) for part in parts], weights)
        self._sizes, self._seed = [len(part) for part in parts], seed

    @property
    def often(self) -> list[float]:
        """How many times an epoch sees each of `every`, in the mean over many epochs."""
        seen = zip(self._sizes, self.counts, strict=True)
        return [count / size for size, count in seen for _ in range(size)]

    def epoch(self, number: int) -> list[int]:
        """Places in `every`, set by set, of the epoch with this number, from 0. A trainer shuffles them."""
        places, start = [], 0
        for at, (size, count) in enumerate(zip(self._sizes, self.counts, strict=True)):
            passes = {n: self._pass(at, n) for n in range(number * count // size, (number + 1) * count // size + 1)}
            places += [start + passes[n // size][n % size] for n in range(number * count, (number + 1) * count)]
            start += size
        return places

    def _pass(self, at: int, number: int) -> list[int]:
        order = list(range(self._sizes[at]))
        Random(f"{self._seed}/{at}/{number}").shuffle(order)
        return order

    @cached_property
    def _first(self) -> list[int]:
        return self.epoch(0)

    def __len__(self) -> int:
        return sum(self.counts)

    @overload
    def __getitem__(self, at: int) -> Any: ...
    @overload
    def __getitem__(self, at: slice) -> list[Any]: ...
    def __getitem__(self, at: int | slice) -> Any:
        places = self._first[at]
        return [self.every[place] for place in places] if isinstance(places, list) else self.every[places]
