"""A fleet of engine replicas in simulated time: requests come, adapters are fetched, copied into slots and put out.

What a replica does is what `service/adapters` does: an adapter that is not near is fetched before its request waits
for the batch, requests for one adapter fetch it once, and a slot is taken from the adapter that was asked for longest
ago and has no request running. Gateways know what replicas told them some time ago, and what they sent since.
"""

from __future__ import annotations

import heapq
import math
from collections import Counter, OrderedDict, deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from typing import Protocol

import numpy as np

from service.cluster.routing import Replica

RETRY = 0.05
"""Seconds after which a request that nobody took is tried again."""
TOLD = 0.1
"""Seconds between two reports of a replica."""


@dataclass(frozen=True, slots=True)
class Machine:
    """One engine replica. Times in seconds."""

    slots: int = 32
    nearby: int = 256
    """Adapters in its main memory."""
    streams: int = 32
    """Requests that run at a time."""
    queue: int = 64
    copy: float = 0.03
    """From main memory into a slot."""
    fetch: float = 0.4
    """From the store into main memory, with what verifies it."""


@dataclass(frozen=True, slots=True)
class Traffic:
    """What is asked of the fleet, and what befalls it."""

    replicas: int = 100
    adapters: int = 10_000
    zipf: float = 0.9
    """Exponent: the k-th most popular adapter is asked for in proportion to k to the power of minus this."""
    load: float = 0.6
    """Mean share of all streams that run, without what fetching and waiting add."""
    seconds: float = 60.0
    warming: float = 30.0
    """Seconds at the start whose requests are in no figure."""
    answer: float = 1.5
    """Mean seconds of an answer; their logarithm is normal with a deviation of .6."""
    gateways: int = 4
    bursts: bool = False
    """For 5 of every 15 seconds everything is asked for 1.5 times as often, and a sixth of that is one cold adapter."""
    changing: bool = False
    """A tenth of the replicas are killed at two fifths of the time, and as many empty ones join at three fifths."""


@dataclass(slots=True)
class Request:
    came: float
    adapter: int
    answer: float
    gateway: int
    counts: bool
    tries: int = 0


class Policy(Protocol):
    """The order in which one gateway tries replicas. `asked` says what was chosen and taken."""

    def ranked(self, adapter: int, replicas: Sequence[Replica]) -> Sequence[Replica]: ...

    def asked(self, adapter: int, replica: Replica) -> None: ...


@dataclass(slots=True)
class View(Replica):
    """A gateway's knowledge of a replica, with what the policies of others go by besides."""

    waiting: int = 0
    running: int = 0
    active: frozenset[str] = frozenset()
    """Adapters that requests run or wait for."""
    slots: int = 0
    streams: int = 1


@dataclass(slots=True)
class Engine:
    id: str
    machine: Machine
    slots: OrderedDict[int, None] = field(default_factory=OrderedDict)
    """Adapters in slots, the one asked for longest ago first."""
    nearby: OrderedDict[int, None] = field(default_factory=OrderedDict)
    running: Counter[int] = field(default_factory=Counter)
    waiting: deque[Request] = field(default_factory=deque)
    fetching: dict[int, list[Request]] = field(default_factory=dict)
    under_way: dict[int, Request] = field(default_factory=dict)
    """By the number of their end."""
    busy: int = 0
    work: float = 0.0
    """Seconds of answers that it began within what counts."""

    @property
    def room(self) -> int:
        return self.machine.streams + self.machine.queue

    def slot(self, adapter: int) -> float | None:
        """Gives the adapter a slot: the seconds that its copy takes, 0 where it has one; None where all are in use."""
        if adapter in self.slots:
            self.slots.move_to_end(adapter)
            return 0.0
        if len(self.slots) >= self.machine.slots:
            idle = next((each for each in self.slots if not self.running[each]), None)
            if idle is None:
                return None
            del self.slots[idle]
        self.slots[adapter] = None
        return self.machine.copy

    def keep(self, adapter: int) -> None:
        self.nearby[adapter] = None
        self.nearby.move_to_end(adapter)
        if len(self.nearby) > self.machine.nearby:
            self.nearby.popitem(last=False)

    def tell(self, view: View) -> None:
        active = {str(each) for each in self.running if self.running[each]}
        view.idle_slots = self.machine.slots - len(active)
        view.active = frozenset(active.union(str(each.adapter) for each in self.waiting))
        view.resident = frozenset(map(str, self.slots))
        view.nearby = frozenset(map(str, self.nearby))
        view.busy, view.waiting = self.busy, len(self.waiting)
        view.running = self.running.total()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a policy came to, over the requests that count."""

    requests: int
    resident: float
    """Share whose adapter was in a slot of its replica when it came."""
    fetches: int
    """Adapters brought from the store."""
    imbalance: float
    """Seconds of answers of the busiest replica over the mean, of those that lived from start to end."""
    p50: float
    p99: float
    """Seconds until an answer began."""
    retried: float
    """Share that no replica took at once, or whose replica died."""


class Simulation:
    """One policy under one traffic. Two with the same seed see the same requests."""

    def __init__(self, traffic: Traffic, machine: Machine, policies: Sequence[Policy], seed: int = 0) -> None:
        self.traffic, self.machine, self.policies = traffic, machine, policies
        self._draw = np.random.default_rng(seed)
        self._events: list[tuple[float, int, str, object]] = []
        self._number = count()
        self._names = count()
        self.engines: dict[str, Engine] = {}
        self.views: list[dict[str, View]] = [{} for _ in policies]
        self._waits: list[float] = []
        self._hits = self._fetches = self._retried = 0
        self._whole: set[str] = set()

    def run(self) -> Outcome:
        for _ in range(self.traffic.replicas):
            self._join()
        self._whole = set(self.engines)
        self._requests = self._arrivals()
        self._at(0.0, "tell", None)
        self._next_arrival()
        end = self.traffic.seconds
        if self.traffic.changing:
            self._at(0.4 * end, "die", None)
            self._at(0.6 * end, "join", None)
        while self._events:
            now, _, kind, what = heapq.heappop(self._events)
            getattr(self, f"_{kind}")(now, what)
        lived = [self.engines[name].work for name in self._whole if name in self.engines]
        waits = np.sort(self._waits)
        return Outcome(
            requests=len(waits),
            resident=self._hits / len(waits),
            fetches=self._fetches,
            imbalance=max(lived) / (sum(lived) / len(lived)),
            p50=float(waits[len(waits) // 2]),
            p99=float(waits[math.ceil(0.99 * len(waits)) - 1]),
            retried=self._retried / len(waits),
        )

    # ---- what happens

    def _arrivals(self) -> Iterator[Request]:
        traffic, draw = self.traffic, self._draw
        popular = np.arange(1, traffic.adapters + 1, dtype=float) ** -traffic.zipf
        bounds = np.cumsum(popular / popular.sum())
        names = draw.permutation(traffic.adapters)  # a name says nothing of popularity
        rate = traffic.load * traffic.replicas * self.machine.streams / traffic.answer
        sigma = 0.6
        now = 0.0
        cold = traffic.adapters
        while now < traffic.seconds:
            burst = traffic.bursts and now % 15 >= 10
            now += draw.exponential(1 / (rate * (1.5 if burst else 1.0)))
            adapter = int(names[min(int(np.searchsorted(bounds, draw.random())), traffic.adapters - 1)])
            if burst and draw.random() < 1 / 6:
                adapter = cold + int(now // 15)
            answer = float(draw.lognormal(math.log(traffic.answer) - sigma**2 / 2, sigma))
            gateway = int(draw.integers(len(self.policies)))
            yield Request(now, adapter, answer, gateway, now >= traffic.warming)

    def _next_arrival(self) -> None:
        request = next(self._requests, None)
        if request is not None:
            self._at(request.came, "arrive", request)

    def _arrive(self, now: float, request: Request) -> None:
        self._next_arrival()
        self._route(now, request)

    def _route(self, now: float, request: Request) -> None:
        views, policy = self.views[request.gateway], self.policies[request.gateway]
        if request.tries == 1 and request.counts:
            self._retried += 1
        for view in policy.ranked(request.adapter, list(views.values())):
            engine = self.engines.get(view.id)
            if engine is not None and engine.busy < engine.room:
                policy.asked(request.adapter, view)
                view.busy += 1
                self._take(now, engine, request)
                return
        request.tries += 1
        self._at(now + RETRY, "route", request)

    def _take(self, now: float, engine: Engine, request: Request) -> None:
        engine.busy += 1
        if request.counts:
            self._hits += request.adapter in engine.slots
            engine.work += request.answer
        if request.adapter in engine.fetching:
            engine.fetching[request.adapter].append(request)
        elif request.adapter in engine.nearby:
            engine.keep(request.adapter)
            engine.waiting.append(request)
            self._begin(now, engine)
        else:
            self._fetches += request.counts
            engine.fetching[request.adapter] = [request]
            self._at(now + self.machine.fetch, "fetched", (engine, request.adapter))

    def _fetched(self, now: float, what: tuple[Engine, int]) -> None:
        engine, adapter = what
        if engine.id not in self.engines:
            return
        engine.keep(adapter)
        engine.waiting.extend(engine.fetching.pop(adapter))
        self._begin(now, engine)

    def _begin(self, now: float, engine: Engine) -> None:
        """Starts what can start; a request whose adapter finds no slot lets others pass."""
        passed: deque[Request] = deque()
        while engine.waiting and len(engine.under_way) < self.machine.streams:
            request = engine.waiting.popleft()
            copied = engine.slot(request.adapter)
            if copied is None:
                passed.append(request)
                continue
            engine.running[request.adapter] += 1
            if request.counts:
                self._waits.append(now + copied - request.came)
            number = next(self._number)
            engine.under_way[number] = request
            self._at(now + copied + request.answer, "ended", (engine, number))
        engine.waiting.extendleft(reversed(passed))

    def _ended(self, now: float, what: tuple[Engine, int]) -> None:
        engine, number = what
        if engine.id not in self.engines:
            return
        request = engine.under_way.pop(number)
        engine.running[request.adapter] -= 1
        engine.busy -= 1
        view = self.views[request.gateway].get(engine.id)
        if view is not None:
            view.busy = max(0, view.busy - 1)
        self._begin(now, engine)

    def _tell(self, now: float, _: object) -> None:
        for name, engine in self.engines.items():
            engine.tell(self.views[0][name])
            for views in self.views[1:]:
                for what in ("idle_slots", "active", "resident", "nearby", "busy", "waiting", "running"):
                    setattr(views[name], what, getattr(self.views[0][name], what))
        if self._events:
            self._at(now + TOLD, "tell", None)

    def _die(self, now: float, _: object) -> None:
        for name in list(self.engines)[: self.traffic.replicas // 10]:
            engine = self.engines.pop(name)
            for views in self.views:
                del views[name]
            lost = [*engine.under_way.values(), *engine.waiting]
            for request in [*lost, *(each for all_ in engine.fetching.values() for each in all_)]:
                # Asked anew elsewhere: of those that had begun, the wait until they first began stays counted.
                begun = request in engine.under_way.values()
                again = Request(request.came, request.adapter, request.answer, request.gateway, False)
                again.counts = request.counts and not begun
                again.tries = request.tries + 1
                if again.counts:
                    self._hits -= request.adapter in engine.slots
                self._route(now, again)

    def _join(self, now: float = 0.0, _: object = None) -> None:
        for _each in range(self.traffic.replicas // 10 if now else 1):
            engine = Engine(f"replica-{next(self._names):04}", self.machine)
            self.engines[engine.id] = engine
            for views in self.views:
                views[engine.id] = View(
                    engine.id,
                    engine.room,
                    idle_slots=self.machine.slots,
                    slots=self.machine.slots,
                    streams=self.machine.streams,
                )

    def _at(self, time: float, kind: str, what: object) -> None:
        heapq.heappush(self._events, (time, next(self._number), kind, what))
