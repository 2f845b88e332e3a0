"""Is a canary worse than its bounds allow? Judged after every request. Pure: no clock, no I/O.

Who answers a request is drawn by lot. That is what everything here rests on.

*Shares* (errors, guards): a canary must be worse than its bound, and worse than the incumbent. For the first, each of
its requests says how much likelier it is under a larger share than under the bound. For the second, each request of
either says how much likelier it is, given what became of it, that this one of the two had it: if both fail alike, who
failed was drawn by lot, and so nothing is shown. The weaker evidence of the two counts.

*Times* are compared, not measured: the canary's are divided by the bound, and of each `window` requests in a row, how
many of the slowest 5 % are the canary's? For a canary that is exactly as much slower as the bound allows the number is
hypergeometric, whatever the load and the lengths of answers were meanwhile. A busy moment, which both meet, is no
evidence.

All of this holds for requests in the order in which they arrived. In the order in which they ended, what is quick comes
first: a burst would show its failures before its answers. `arrivals.py` brings them into that order.

Read `evidence.py` for how ratios add up, `policies.py` for who asks, `lifecycle/traffic.py` for the bounds.
"""

from __future__ import annotations

import math
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from lifecycle.traffic import AnswerGuard, CanaryBounds
from lifecycle.version import Frozen
from service.traffic.evidence import ODDS, Evidence, finite, noncentral

PERCENTILE = 0.95
LONGEST = 300.0
"""Seconds. A request that takes longer counts as one that took so long, and as one that did not fail."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request went. None is what says nothing about the version."""

    failed: bool | None
    """By a fault that may be the version's; None where it cannot be told."""
    ttft: float | None = None
    """Seconds from arrival to the first token; a caller who left without one waited at least so long."""
    total: float | None = None
    """Seconds from arrival to the end."""
    caught: frozenset[AnswerGuard] | None = None
    """The guards that the answer did not keep to; None where there is none to judge."""
    own: bool = False
    """The fault was in a part of the version, which no request can cause."""
    session: str = ""
    """Requests of one session all go to one version, so each is not a lot of its own."""


class Figure(Frozen):
    """One watched figure of one canary, over its last `window` requests."""

    canary: int
    name: str
    """`error_rate`, `ttft`, `total`, or a guard's."""
    bound: float
    value: float
    """A share of requests, or the canary's 95th percentile as a multiple of the incumbent's."""
    baseline: float | None
    """The incumbent's own share; None for times."""
    bad: int | None
    """The requests that make the share; None for times."""
    n: int
    evidence: float
    """Reaches 1 when it suffices to roll back. Always a finite number."""


class Rate:
    """A share of the canary's requests against `bound`, a share above 0 and below 1, and against the incumbent's."""

    def __init__(self, name: str, bound: float, window: int, lot: float) -> None:
        """`lot` is the chance with which a request to either of the two goes to the canary."""
        self.name = name
        self.bound = bound
        self.n = 0
        """Requests of the canary."""
        self._over_bound = Evidence()
        self._over_incumbent = Evidence()
        odds = [bound / (1 - bound) * multiple for multiple in ODDS]
        shares = [part / (1 + part) for part in odds]
        self._bad = [math.log(share) - math.log(bound) for share in shares]
        self._good = [-math.log1p(part) - math.log1p(-bound) for part in odds]
        bad = [math.log(lot * share + (1 - lot) * bound) for share in shares]
        good = [math.log(lot / (1 + part) + (1 - lot) * (1 - bound)) for part in odds]
        self._canary_bad = [math.log(share) - log for share, log in zip(shares, bad, strict=True)]
        self._canary_good = [-math.log1p(part) - log for part, log in zip(odds, good, strict=True)]
        self._incumbent_bad = [math.log(bound) - log for log in bad]
        self._incumbent_good = [math.log1p(-bound) - log for log in good]
        self._window = window
        self._compared = 0
        self._sessions: set[tuple[str, bool]] = set()
        self._canary: deque[bool] = deque(maxlen=window)
        self._incumbent: deque[bool] = deque(maxlen=window)

    def canary(self, outcome: Outcome) -> None:
        self.n += 1
        if (bad := self._is_bad(outcome)) is None:
            return
        self._canary.append(bad)
        if bad and outcome.own:
            # No lot: whoever had asked, this version would have failed.
            self._over_bound.multiply(self._bad)
            self._over_incumbent.multiply(self._bad)
            return
        is_a_lot = self._is_a_lot(bad, outcome.session)
        if is_a_lot or not bad:
            self._over_bound.multiply(self._bad if bad else self._good)
        if is_a_lot:
            self._over_incumbent.multiply(self._canary_bad if bad else self._canary_good)

    def incumbent(self, outcome: Outcome) -> None:
        if (bad := self._is_bad(outcome)) is None:
            return
        self._incumbent.append(bad)
        if self._is_a_lot(bad, outcome.session):
            self._over_incumbent.multiply(self._incumbent_bad if bad else self._incumbent_good, begins=0)

    @property
    def log(self) -> float:
        """Of the evidence."""
        return min(self._over_bound.log, self._over_incumbent.log)

    def reaches(self, log: float) -> bool:
        return self._over_bound.reaches(log) and self._over_incumbent.reaches(log)

    def figure(self, canary: int, evidence: float) -> Figure:
        bad, n = sum(self._canary), len(self._canary)
        return Figure(
            canary=canary,
            name=self.name,
            bound=self.bound,
            value=bad / n if n else 0.0,
            baseline=sum(self._incumbent) / len(self._incumbent) if self._incumbent else None,
            bad=bad,
            n=n,
            evidence=evidence,
        )

    def _is_bad(self, outcome: Outcome) -> bool | None:
        if self.name == "error_rate":
            return outcome.failed
        return None if outcome.caught is None else self.name in outcome.caught

    def _is_a_lot(self, bad: bool, session: str) -> bool:
        """A session counts once in `window` requests, and once more if it fails: one caller who sends the same fault
        again and again always meets the same version.
        """
        self._compared += 1
        if self._compared % self._window == 0:
            self._sessions.clear()
        if not session:
            return True
        known = (session, bad) in self._sessions
        self._sessions.add((session, bad))
        return not known


class Slowness:
    """A 95th percentile of the canary's times against `bound` times the incumbent's."""

    def __init__(self, name: str, bound: float, window: int) -> None:
        self.name = name
        self.bound = bound
        self.n = 0
        """Requests of the canary in whole blocks."""
        self._evidence = Evidence()
        self._window = window
        self._slowest = max(1, round((1 - PERCENTILE) * window))
        self._block: list[tuple[float, int]] = []
        """Times with 0 for the canary and 1 for the incumbent: of equal times, its own count as the slower."""
        self._canary: deque[float] = deque(maxlen=window)
        self._incumbent: deque[float] = deque(maxlen=window)

    def canary(self, outcome: Outcome) -> None:
        if (seconds := self._seconds(outcome)) is not None:
            self._canary.append(seconds)
            self._take(min(seconds / self.bound, LONGEST), 0)

    def incumbent(self, outcome: Outcome) -> None:
        if (seconds := self._seconds(outcome)) is not None:
            self._incumbent.append(seconds)
            self._take(seconds, 1)

    @property
    def log(self) -> float:
        """Of the evidence."""
        return self._evidence.log

    def reaches(self, log: float) -> bool:
        return self._evidence.reaches(log)

    def figure(self, canary: int, evidence: float) -> Figure:
        own, theirs = percentile(self._canary), percentile(self._incumbent)
        return Figure(
            canary=canary,
            name=self.name,
            bound=self.bound,
            value=min(own / theirs, sys.float_info.max) if theirs > 0 else 0.0,
            baseline=None,
            bad=None,
            n=len(self._canary),
            evidence=evidence,
        )

    def _seconds(self, outcome: Outcome) -> float | None:
        seconds = outcome.ttft if self.name == "ttft" else outcome.total
        return None if seconds is None else min(seconds, LONGEST)

    def _take(self, seconds: float, whose: int) -> None:
        self._block.append((seconds, whose))
        if len(self._block) == self._window:
            canaries = sum(1 for _, whose in self._block if whose == 0)
            slow = sum(1 for _, whose in sorted(self._block)[-self._slowest :] if whose == 0)
            self.n += canaries
            self._evidence.multiply(noncentral(self._window, canaries, self._slowest, slow), canaries)
            self._block.clear()


class Judge:
    """One split alias, from one move of it to the next: its canaries against its incumbent and their bounds."""

    def __init__(self, bounds: CanaryBounds, incumbent: int, weights: Mapping[int, float]) -> None:
        """`weights` are the targets' shares of the alias's requests; who is not the incumbent is a canary."""
        self._incumbent = incumbent
        self._least = bounds.min_requests
        own = weights[incumbent]
        self._tests: dict[int, list[Rate | Slowness]] = {
            number: [*_rates(bounds, weight / (weight + own)), *_times(bounds)]
            for number, weight in weights.items()
            if number != incumbent
        }
        self._limit = math.log(len(bounds.names) * len(self._tests) / bounds.false_removals)

    def see(self, number: int, outcome: Outcome) -> Figure | None:
        """The worst figure, if one has broken its bound by now. Requests in the order in which they arrived."""
        if number == self._incumbent:
            for tests in self._tests.values():
                for test in tests:
                    test.incumbent(outcome)
        else:
            for test in self._tests.get(number, ()):
                test.canary(outcome)
        if not any(test.n >= self._least and test.reaches(self._limit) for _, test in self._all()):
            return None
        return max(self.figures(), key=lambda figure: figure.evidence)

    def figures(self) -> list[Figure]:
        """Of every canary, everything that is watched."""
        return [test.figure(canary, finite(self._log(test))) for canary, test in self._all()]

    def _log(self, test: Rate | Slowness) -> float:
        """Of the evidence as a part of what suffices."""
        return test.log - self._limit if test.n >= self._least else -math.inf

    def _all(self) -> Iterator[tuple[int, Rate | Slowness]]:
        return ((canary, test) for canary, tests in self._tests.items() for test in tests)


def percentile(times: Iterable[float]) -> float:
    """The 95th, by nearest rank; 0 of none."""
    ordered = sorted(times)
    return ordered[math.ceil(PERCENTILE * len(ordered)) - 1] if ordered else 0.0


def _rates(bounds: CanaryBounds, lot: float) -> Iterator[Rate]:
    rates: dict[str, float] = {str(guard): bound for guard, bound in bounds.guards.items()}
    if bounds.max_error_rate is not None:
        rates["error_rate"] = bounds.max_error_rate
    return (Rate(name, bound, bounds.window, lot) for name, bound in rates.items())


def _times(bounds: CanaryBounds) -> Iterator[Slowness]:
    ratios = {"ttft": bounds.max_ttft_ratio, "total": bounds.max_total_ratio}
    return (Slowness(name, bound, bounds.window) for name, bound in ratios.items() if bound is not None)
