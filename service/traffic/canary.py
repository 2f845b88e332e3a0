"""Is a canary worse than its bounds allow? Evidence that may be looked at after every request. Pure: no clock, no I/O.

Looking again and again until a fixed-size test says yes raises false alarms without limit, so none is used. For a share
of bad requests and its bound, each request multiplies a likelihood ratio: how much likelier its outcome is under a
larger share than under the bound. Whatever the true share within the bound, the ratio grows by a factor of at most 1 on
average. Sums of such products over every point where the trouble may have begun are a Shiryaev-Roberts e-detector
(Shin, Ramdas & Rinaldo, "E-detectors: a nonparametric framework for sequential change detection", New England Journal
of Statistics in Data Science 2, 2024). With a limit of c it raises a false alarm once in c requests on average, or less
often, and a canary that turns bad late is found as soon as one that was bad from the start. The larger shares are a
fixed mixture (Robbins, "Statistical methods related to the law of the iterated logarithm", 1970), and the limit is
multiplied by the number of figures watched, because the mean of e-detectors is one.

Times are compared, not measured: of each `window` requests in a row, the canary's times divided by the bound, which of
them are among the slowest 5 %? Who answers is drawn by lot, so for a canary that is exactly as much slower as the bound
allows their number is hypergeometric, whatever the load was like meanwhile, and its likelihood ratio is Fisher's
noncentral one, for larger odds of being among the slowest. A busy moment, which both meet, is no evidence.

Read `policies.py` for who asks, `lifecycle/traffic.py` for the bounds.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from lifecycle.traffic import AnswerGuard, CanaryBounds
from lifecycle.version import Frozen

PERCENTILE = 0.95
_ODDS = (1.5, 2.0, 4.0, 8.0, 20.0, 60.0, 200.0)
"""What the evidence is a mixture over: how many times the bound's odds of being bad, or of being slow."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request went. None is what says nothing about the version."""

    failed: bool | None
    """By a fault that may be the version's; None for a caller's mistake, or one who left."""
    ttft: float | None = None
    """Seconds from arrival to the first token; a caller who left without one waited at least so long."""
    total: float | None = None
    """Seconds from arrival to the end."""
    found: frozenset[AnswerGuard] | None = None
    """What the guards found the answer to be; None where there is none to judge."""


class Figure(Frozen):
    """One watched figure of one canary, over its last `window` requests."""

    canary: int
    name: str
    """`error_rate`, `ttft`, `total`, or a guard's."""
    bound: float
    value: float
    """A share of requests, or the canary's 95th percentile as a multiple of the incumbent's."""
    bad: int | None
    """The requests that make the share; None for times."""
    n: int
    evidence: float
    """Reaches 1 when it suffices to roll back."""


class Detector:
    """A Shiryaev-Roberts e-detector over a mixture of alternatives. Hold `evidence` against a number of requests."""

    def __init__(self) -> None:
        self._sums = [0.0] * len(_ODDS)

    def multiply(self, ratios: Iterable[float], requests: int = 1) -> None:
        """What so many requests said: a likelihood ratio for each of `_ODDS`."""
        self._sums = [(before + requests) * ratio for before, ratio in zip(self._sums, ratios, strict=True)]

    @property
    def evidence(self) -> float:
        return sum(self._sums) / len(self._sums)


class Rate:
    """A share of the canary's requests against `bound`, a share above 0 and below 1."""

    def __init__(self, bound: float, window: int) -> None:
        self.bound = bound
        self.n = 0
        """Requests judged, in all."""
        self.detector = Detector()
        odds = [bound / (1 - bound) * multiple for multiple in _ODDS]
        shares = [one / (1 + one) for one in odds]
        self._bad = [share / bound for share in shares]
        self._good = [(1 - share) / (1 - bound) for share in shares]
        self._recent: deque[bool] = deque(maxlen=window)

    def canary(self, bad: bool) -> None:
        self.n += 1
        self._recent.append(bad)
        self.detector.multiply(self._bad if bad else self._good)

    def figures(self) -> tuple[float, int | None, int]:
        """Value, bad and n, of the last `window`."""
        bad, n = sum(self._recent), len(self._recent)
        return (bad / n if n else 0.0), bad, n


class Slowness:
    """A 95th percentile of the canary's times against `bound` times the incumbent's."""

    def __init__(self, bound: float, window: int) -> None:
        self.bound = bound
        self.n = 0
        self.detector = Detector()
        self._window = window
        self._slowest = max(1, round((1 - PERCENTILE) * window))
        self._block: list[tuple[float, int]] = []
        """Times with 0 for the canary and 1 for the incumbent: of equal times, its own count as the slower."""
        self._canary: deque[float] = deque(maxlen=window)
        self._incumbent: deque[float] = deque(maxlen=window)

    def canary(self, seconds: float) -> None:
        self._canary.append(seconds)
        self._take(seconds / self.bound, 0)

    def incumbent(self, seconds: float) -> None:
        self._incumbent.append(seconds)
        self._take(seconds, 1)

    def figures(self) -> tuple[float, int | None, int]:
        """Value, bad and n, of the last `window`."""
        theirs = percentile(self._incumbent)
        return (percentile(self._canary) / theirs if theirs > 0 else 0.0), None, len(self._canary)

    def _take(self, seconds: float, whose: int) -> None:
        self._block.append((seconds, whose))
        if len(self._block) == self._window:
            canaries = sum(1 for _, one in self._block if one == 0)
            slow = sum(1 for _, one in sorted(self._block)[-self._slowest :] if one == 0)
            self.n += canaries
            self.detector.multiply(self._ratios(canaries, slow), canaries)
            self._block.clear()

    def _ratios(self, canaries: int, slow: int) -> Iterator[float]:
        others, places = self._window - canaries, self._slowest
        ways = [math.comb(canaries, k) * math.comb(others, places - k) for k in range(places + 1)]
        share = [way / math.comb(self._window, places) for way in ways]
        for odds in _ODDS:
            yield odds**slow / sum(weight * odds**k for k, weight in enumerate(share))


class Judge:
    """One split alias, from one move of it to the next: its canaries against its incumbent and their bounds."""

    def __init__(self, bounds: CanaryBounds, incumbent: int, canaries: Iterable[int]) -> None:
        self._incumbent = incumbent
        self._least = bounds.min_requests
        self._rates = {number: _rates(bounds) for number in canaries}
        self._times = {number: _times(bounds) for number in self._rates}
        self._limit = float(bounds.false_alarm_every * len(bounds.names) * len(self._rates))
        self._open = True

    def see(self, number: int, outcome: Outcome) -> Figure | None:
        """The figure that broke its bound, once; None before and after. Requests in the order in which they ended."""
        if not self._open:
            return None
        if number == self._incumbent:
            for times in self._times.values():
                for name, test in times.items():
                    if (seconds := _seconds(outcome, name)) is not None:
                        test.incumbent(seconds)
        elif number in self._rates:
            self._canary(number, outcome)
        self._open = all(self._weight(test) < 1 for _, _, test in self._tests())
        return None if self._open else max(self.figures(), key=lambda figure: figure.evidence)

    def figures(self) -> list[Figure]:
        """Of every canary, everything that is watched."""
        found = []
        for canary, name, test in self._tests():
            value, bad, n = test.figures()
            figure = Figure(
                canary=canary, name=name, bound=test.bound, value=value, bad=bad, n=n, evidence=self._weight(test)
            )
            found.append(figure)
        return found

    def _weight(self, test: Rate | Slowness) -> float:
        return test.detector.evidence / self._limit if test.n >= self._least else 0.0

    def _tests(self) -> Iterator[tuple[int, str, Rate | Slowness]]:
        for number, rates in self._rates.items():
            yield from ((number, name, test) for name, test in rates.items())
            yield from ((number, name, test) for name, test in self._times[number].items())

    def _canary(self, number: int, outcome: Outcome) -> None:
        for name, test in self._rates[number].items():
            if name == "error_rate":
                if outcome.failed is not None:
                    test.canary(outcome.failed)
            elif outcome.found is not None:
                test.canary(name in outcome.found)
        for name, times in self._times[number].items():
            if (seconds := _seconds(outcome, name)) is not None:
                times.canary(seconds)


def percentile(times: Iterable[float]) -> float:
    """The 95th, by nearest rank; 0 of none."""
    ordered = sorted(times)
    return ordered[math.ceil(PERCENTILE * len(ordered)) - 1] if ordered else 0.0


def _rates(bounds: CanaryBounds) -> dict[str, Rate]:
    rates: dict[str, float] = {str(guard): bound for guard, bound in bounds.guards.items()}
    if bounds.max_error_rate is not None:
        rates["error_rate"] = bounds.max_error_rate
    return {name: Rate(bound, bounds.window) for name, bound in rates.items()}


def _times(bounds: CanaryBounds) -> dict[str, Slowness]:
    ratios = {"ttft": bounds.max_ttft_ratio, "total": bounds.max_total_ratio}
    return {name: Slowness(bound, bounds.window) for name, bound in ratios.items() if bound is not None}


def _seconds(outcome: Outcome, name: str) -> float | None:
    return outcome.ttft if name == "ttft" else outcome.total
