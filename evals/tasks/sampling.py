"""A seeded part of a suite's items, for a look."""

from __future__ import annotations

import random


def sampled(size: int, limit: int | None, seed: int) -> list[int]:
    """The places of at most `limit` of `size` items, in order; all of them without a limit."""
    if limit is None or limit >= size:
        return list(range(size))
    # The first N would be one language or one topic where a file is in order.
    return sorted(random.Random(seed).sample(range(size), limit))
