"""Evidence that may be looked at after every request, however long one looks. In log space: nothing is out of range.

Looking again and again until a test of a fixed size says yes raises false alarms without limit, so none is used. Each
request multiplies a likelihood ratio: how much likelier is what it did if the trouble is there? Without the trouble the
product grows by a factor of at most 1 on average, whatever came before. Then it ever reaches 1/α with a chance of at
most α (Ville's inequality; Ramdas, Grünwald, Vovk & Shafer, "Game-theoretic statistics and safe anytime-valid
inference", Statistical Science 38, 2023).

Trouble may begin late. So the evidence is a sum over every request at which it may have begun, weighed by what was
believed of that request beforehand. And it may be large or small: the ratios are a fixed mixture (Robbins, "Statistical
methods related to the law of the iterated logarithm", 1970).

Read `canary.py` for what is a ratio here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

ODDS = (1.5, 2.0, 4.0, 8.0, 20.0, 60.0, 200.0)
"""The mixture: how many times the odds that the bound allows."""
_LOG_ODDS = tuple(math.log(odds) for odds in ODDS)
_EARLY = 100
"""Half of the belief is that trouble begins within so many of the canary's requests, half of the rest by twice as many,
and so on: the odds are `_EARLY` to n that it has begun by the n-th."""
_MOST = 700.0
"""The largest logarithm whose number is a float."""


class Evidence:
    """That something is wrong with a canary. Starts at nothing; 1/α suffices."""

    def __init__(self) -> None:
        self._logs = [-math.inf] * len(ODDS)
        self._requests = 0

    def multiply(self, log_ratios: Sequence[float], begins: int = 1) -> None:
        """One step, with the logarithm of a ratio for each of `ODDS`. Trouble may have begun at `begins` requests of
        the canary that are part of the step; 0 for a step of the incumbent's.
        """
        begun = self._begun(begins)
        self._logs = [_plus(log, begun) + ratio for log, ratio in zip(self._logs, log_ratios, strict=True)]

    @property
    def log(self) -> float:
        """Its natural logarithm; minus infinity for none."""
        return log_mean(self._logs)

    def reaches(self, log: float) -> bool:
        """Whether its logarithm is at least so large; asked after every request, so the short way first."""
        return max(self._logs) >= log and self.log >= log

    def _begun(self, begins: int) -> float:
        """The logarithm of the belief that it began just now."""
        if not begins:
            return -math.inf
        before = self._requests + _EARLY
        self._requests += begins
        return math.log(_EARLY) + math.log(begins) - math.log(before) - math.log(before + begins)


def finite(log: float) -> float:
    """What it is the logarithm of, as a finite number."""
    return math.exp(min(log, _MOST))


def log_mean(logs: Sequence[float]) -> float:
    return _log_sum(logs) - math.log(len(logs))


def noncentral(whole: int, canaries: int, places: int, got: int) -> list[float]:
    """For each of `ODDS`, the log-likelihood ratio of `got` of `places` having gone to the canary's `canaries` among
    `whole` requests: Fisher's noncentral hypergeometric distribution against the central one.
    """
    least, most = max(0, places - (whole - canaries)), min(places, canaries)
    counts = range(least, most + 1)
    ways = [_log_ways(canaries, count) + _log_ways(whole - canaries, places - count) for count in counts]
    every = _log_ways(whole, places)
    return [
        got * odds - _log_sum([way - every + count * odds for count, way in zip(counts, ways, strict=True)])
        for odds in _LOG_ODDS
    ]


def _log_ways(whole: int, part: int) -> float:
    return math.lgamma(whole + 1) - math.lgamma(part + 1) - math.lgamma(whole - part + 1)


def _plus(left: float, right: float) -> float:
    """The logarithm of the sum of what these are the logarithms of."""
    high, low = max(left, right), min(left, right)
    return high if low == -math.inf else high + math.log1p(math.exp(low - high))


def _log_sum(logs: Sequence[float]) -> float:
    high = max(logs)
    return high if high == -math.inf else high + math.log(sum(math.exp(log - high) for log in logs))
