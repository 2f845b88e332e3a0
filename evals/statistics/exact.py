"""How often something that must not happen did, and how often it may: exact, since what matters is the few or none."""

from __future__ import annotations

import math
from collections.abc import Sequence

from lifecycle.errors import InvalidInput
from lifecycle.report import Failures

CONFIDENCE = 0.95


def upper_bound(count: int, n: int, confidence: float = CONFIDENCE) -> float:
    """The largest true share under which at most `count` of `n` would be seen with a chance of 1 - `confidence`: the
    exact one-sided bound (Clopper & Pearson 1934, Biometrika 26). For none it is 1 - (1 - confidence)^(1/n), of which
    the rule of three is the approximation (Hanley & Lippman-Hand 1983).

    Raises `InvalidInput` where there is no share: of nothing, or of more than all.
    """
    if n < 1 or not 0 <= count <= n:
        raise InvalidInput(f"no share of {count} in {n}")
    if count == 0:
        return -math.expm1(math.log1p(-confidence) / n)
    if count == n:
        return 1.0
    from scipy.stats import beta

    return float(beta.ppf(confidence, count + 1, n - count))


def items_for(at_most: float, confidence: float = CONFIDENCE) -> int:
    """How many items without a failure show that the true share is at most `at_most`."""
    if not 0 < at_most < 1:
        raise InvalidInput(f"no number of items shows a share of at most {at_most}")
    return math.ceil(math.log1p(-confidence) / math.log1p(-at_most) - 1e-9)


def failures_in(values: Sequence[float], clusters: Sequence[str | None]) -> Failures:
    """Of yes/no values, each in its cluster; where one has none, each stands for itself."""
    clustered = None not in clusters
    failed: dict[object, bool] = {}
    for at, (value, cluster) in enumerate(zip(values, clusters, strict=True)):
        group: object = cluster if clustered else at
        failed[group] = failed.get(group, False) or value < 1.0
    count, n = sum(failed.values()), len(failed)
    return Failures(count=count, n=n, at_most=upper_bound(count, n), clustered=clustered)
