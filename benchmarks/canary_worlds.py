"""Traffic for `canary.py`: when requests arrive, how long they take, how they go. One run is one canary's trial."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from lifecycle.traffic import AnswerGuard, CanaryBounds
from service.traffic.arrivals import Arrival, Arrivals
from service.traffic.canary import Figure, Judge, Outcome

INCUMBENT, CANARY = 1, 2
BOUND, RATIO = 0.05, 1.5
BOUNDS = CanaryBounds(max_error_rate=BOUND, max_ttft_ratio=RATIO, max_total_ratio=RATIO, guards={"empty": BOUND})
_EXCHANGED = 1.0
"""Seconds between two times that services tell each other."""


@dataclass(frozen=True)
class Behaviour:
    """Of one version."""

    errors: float = 0.0
    empty: float = 0.0
    ttft: float = 1.0
    total: float = 1.0
    """Times as a multiple of the incumbent's."""


INCUMBENTS = Behaviour(errors=0.005, empty=0.005)


@dataclass(frozen=True)
class World:
    """What every version meets alike, request by request."""

    name: str
    gap: Callable[[int], float] = lambda at: 0.5
    """Mean seconds before request number `at`."""
    load: Callable[[int], float] = lambda at: 1.0
    """How many times longer everything takes than on an idle service."""
    spread: float = 0.5
    """Of the logarithm of the time for an answer."""
    alike: Callable[[int], float] | None = None
    """The share that fails, and of answers that are empty, whichever version answers: over every bound."""
    never: float = 0.0
    """Requests that never end."""
    patience: float = math.inf
    """Mean seconds after which a caller leaves."""
    services: int = 1


def _bursts(at: int) -> bool:
    """Many at once, every now and then."""
    return at % 1000 < 400


WORLDS = (
    World("calm"),
    World("bursts", gap=lambda at: 0.0 if _bursts(at) else 0.5, load=lambda at: 10.0 if _bursts(at) else 1.0),
    World("trends", load=lambda at: (1 + at / 500) * math.exp(1.5 * math.sin(at / 300))),
    World("mixed lengths", spread=1.5),
    World("some never end, callers leave", never=0.01, patience=10.0),
    World("all fail alike, in bursts", gap=lambda at: 0.0 if _bursts(at) else 0.5, alike=lambda at: 0.6 * _bursts(at)),
    World("four services", gap=lambda at: 0.0 if _bursts(at) else 0.25, services=4),
)


def at_its_bounds(world: World) -> Behaviour:
    """Exactly as bad as each of the four bounds allows; where all fail alike beyond them, as bad as the incumbent."""
    shares = INCUMBENTS if world.alike else Behaviour(BOUND, BOUND)
    return Behaviour(shares.errors, shares.empty, RATIO, RATIO)


@dataclass(frozen=True)
class Run:
    """How a trial ended."""

    figure: Figure | None
    """What the canary was removed for."""
    canaries: int
    """Its requests until then."""


@dataclass(order=True)
class _End:
    at: float
    number: int
    arrival: Arrival = field(compare=False)
    service: int = field(compare=False)
    outcome: Outcome = field(compare=False)


class Trial:
    """One alias with a canary, as one service judges it by the requests of all."""

    def __init__(self, share: float, services: int = 1, arrived: bool = True) -> None:
        """`arrived`: in the order of arrival, as the service does; otherwise in the order of ending."""
        self.judge = Judge(BOUNDS, INCUMBENT, {INCUMBENT: 1 - share, CANARY: share})
        self.figure: Figure | None = None
        self.arrived = arrived
        self._told: list[tuple[int, Outcome]] = []
        """What the other services have not told yet."""
        self._telling = 0.0
        self.lines = [Arrivals(self.see if service == 0 else self._tell) for service in range(services)]

    def see(self, number: int, outcome: Outcome) -> None:
        self.figure = self.figure or self.judge.see(number, outcome)

    def exchange(self, now: float) -> None:
        if now >= self._telling:
            self._telling = now + _EXCHANGED
            for number, outcome in self._told:
                self.see(number, outcome)
            self._told.clear()

    def ended(self, end: _End) -> None:
        self.exchange(end.at)
        if self.arrived:
            self.lines[end.service].ended(end.arrival, end.outcome, end.at)
        else:
            self.see(end.arrival.number, end.outcome)

    def _tell(self, number: int, outcome: Outcome) -> None:
        self._told.append((number, outcome))


def simulate(
    world: World, canary: Behaviour, share: float, requests: int, seed: int, *, arrived: bool = True, most: int = 10**9
) -> Run:
    """Until the canary is removed, has had `most` requests, or `requests` have come in all."""
    dice = random.Random(seed)
    trial = Trial(share, world.services, arrived)
    ends: list[_End] = []
    now, canaries = 0.0, 0
    for at in range(requests):
        gap = world.gap(at)
        now += dice.expovariate(1 / gap) if gap else 0.0
        while ends and ends[0].at <= now:
            trial.ended(heapq.heappop(ends))
        number = CANARY if dice.random() < share else INCUMBENT
        canaries += number == CANARY
        arrival, service = Arrival(number, now, streams=True), at % world.services
        trial.lines[service].begun(arrival)
        outcome, seconds = _went(world, canary if number == CANARY else INCUMBENTS, at, dice)
        if dice.random() >= world.never:
            heapq.heappush(ends, _End(now + seconds, at, arrival, service, outcome))
        trial.exchange(now)
        if trial.figure is not None or canaries >= most:
            break
    while ends and trial.figure is None:
        trial.ended(heapq.heappop(ends))
    trial.exchange(math.inf)
    return Run(trial.figure, canaries)


def _went(world: World, version: Behaviour, at: int, dice: random.Random) -> tuple[Outcome, float]:
    """How one request of `version` goes, and the seconds that it takes."""
    alike = world.alike(at) if world.alike else 0.0
    # Every version draws the same numbers, so that worlds do not depend on who answers.
    fails, empties, whole, begin, leaves = (
        dice.random(),
        dice.random(),
        dice.gauss(),
        dice.gauss(),
        dice.expovariate(1),
    )
    if fails < 1 - (1 - alike) * (1 - version.errors):
        return Outcome(failed=True), 0.01  # what fails, fails at once
    load = world.load(at)
    total = 4.0 * math.exp(world.spread * whole) * load * version.total
    ttft = 0.2 * math.exp(0.5 * begin) * load * version.ttft
    if (left := leaves * world.patience) < total:
        return Outcome(failed=False, ttft=min(ttft, left), total=left), left
    empty = empties < 1 - (1 - alike) * (1 - version.empty)
    caught: frozenset[AnswerGuard] = frozenset({"empty"} if empty else ())
    return Outcome(failed=False, ttft=ttft, total=total, caught=caught), total
