"""Wilson's interval of a share, in plain arithmetic: a running service needs it as well as an evaluation.

The rest of the statistics is `evals/statistics/intervals.py`.
"""

from __future__ import annotations

import math

from lifecycle.errors import InvalidInput
from lifecycle.report import Interval

Z_TWO_SIDED = 1.959963984540054
"""97.5 % point of the normal distribution: alpha = 0.05."""


def wilson(successes: int, n: int) -> Interval:
    """A share with Wilson's score interval (Wilson 1927): it stays inside [0, 1] and works at 0 and n of n.

    Raises `InvalidInput` where there is no share: of nothing, or of more than all.
    """
    if n < 1 or not 0 <= successes <= n:
        raise InvalidInput(f"no share of {successes} in {n}")
    low, high = score_bounds(successes / n, n, Z_TWO_SIDED)
    return Interval(value=successes / n, low=low, high=high, n=n)


def score_bounds(share: float, n: float, z: float) -> tuple[float, float]:
    """Wilson's bounds of a share over `n` items, which may be an effective number and no whole one, at `z`."""
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    # At the ends the formula is exact on paper and off by one bit in floating point.
    return (0.0 if share == 0 else centre - half), (1.0 if share == 1 else centre + half)
