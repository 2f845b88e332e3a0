"""The series by version as numbers, for whoever keeps a history of them in the process: no text is made or parsed.

A quantile is read off the counts of a histogram's buckets, as Prometheus' `histogram_quantile` does it: within a bucket
values are taken to be spread evenly (https://prometheus.io/docs/practices/histograms/).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from prometheus_client.metrics import MetricWrapperBase

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)
"""Upper bounds of the buckets of latencies."""
PER_TOKEN = (0.001, 0.0025, 0.005, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2)

Buckets = tuple[int, ...]
"""How many values fell into each bucket, the one above all bounds last; none at all for an empty histogram."""
BOUNDS = {"first_token": SECONDS, "per_token": PER_TOKEN, "queue": SECONDS}


@dataclass(frozen=True, slots=True)
class Counted:
    """Of one version, since the service began or between two moments."""

    requests: int = 0
    errors: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_token: Buckets = ()
    per_token: Buckets = ()
    queue: Buckets = ()

    def __add__(self, other: Counted) -> Counted:
        return self._with(other, 1)

    def __sub__(self, before: Counted) -> Counted:
        """What came after `before`; where a series has begun again meanwhile, what it has counted since."""
        if self.requests < before.requests:
            return self
        return self._with(before, -1)

    def _with(self, other: Counted, sign: int) -> Counted:
        values: list[Any] = [_sum(getattr(self, it.name), getattr(other, it.name), sign) for it in fields(self)]
        return Counted(*values)

    def quantile(self, name: str, share: float) -> float | None:
        """Of `first_token`, `per_token` or `queue`, in seconds; None where nothing was measured."""
        return quantile(getattr(self, name), BOUNDS[name], share)


NOTHING = Counted()


def quantile(buckets: Buckets, bounds: Sequence[float], share: float) -> float | None:
    """The value below which `share` of them lie. Above the last bound it is that bound."""
    total = sum(buckets)
    if not total:
        return None
    rank, passed = share * total, 0
    for place, bound in enumerate(bounds):
        inside = buckets[place]
        if passed + inside >= rank and inside:
            below = bounds[place - 1] if place else 0.0
            return below + (bound - below) * max(rank - passed, 0.0) / inside
        passed += inside
    return bounds[-1]


def counted(series: Mapping[str, MetricWrapperBase]) -> dict[str, Counted]:
    """By version; `series` are the counters and histograms, by their place in `Counted`. Other labels are summed up."""
    numbers: dict[str, dict[str, int]] = {}
    cumulative: dict[str, dict[str, list[tuple[float, int]]]] = {}
    for place, metrics in series.items():
        for metric in metrics.collect():
            for sample in metric.samples:
                version = sample.labels.get("version", "")
                if sample.name.endswith("_total"):
                    of_version = numbers.setdefault(version, {})
                    of_version[place] = of_version.get(place, 0) + int(sample.value)
                elif sample.name.endswith("_bucket"):
                    bound = float(sample.labels["le"])
                    cumulative.setdefault(version, {}).setdefault(place, []).append((bound, int(sample.value)))
    told: dict[str, Counted] = {}
    for version in numbers.keys() | cumulative.keys():
        places: dict[str, Any] = {**numbers.get(version, {}), **_apart(cumulative.get(version, {}))}
        told[version] = Counted(**places)
    return told


def value_of(metric: MetricWrapperBase) -> float:
    """Of a gauge without labels."""
    return float(next(iter(metric.collect())).samples[0].value)


def _apart(cumulative: Mapping[str, list[tuple[float, int]]]) -> dict[str, Buckets]:
    apart: dict[str, Buckets] = {}
    for place, counts in cumulative.items():
        upto = [count for _, count in sorted(counts)]
        if upto[-1]:
            apart[place] = tuple(count - before for count, before in zip(upto, [0, *upto], strict=False))
    return apart


def _sum(left: int | Buckets, right: int | Buckets, sign: int) -> int | Buckets:
    if isinstance(left, int) and isinstance(right, int):
        return left + sign * right
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    if not right:
        return left
    whole = left or (0,) * len(right)
    added = tuple(a + sign * b for a, b in zip(whole, right, strict=True))
    return added if any(added) else ()
