"""What an admission policy does to throughput and waiting, without an engine.

`python -m tests.service.admission_simulator` prints the table of docs/decisions/0006. A step of the simulated engine
generates one token for every running request and lasts `STEP + PER_ROW · rows + PER_ADAPTER · adapters` seconds.
Requests arrive as a workload says. The policies:

- fifo: strictly in order of arrival; the head waits for a slot, and everyone behind it.
- skip-ahead: vLLM 0.32's scheduler: in order of arrival, over those whose adapter has no slot. Nobody closes a turn.
- largest: a freed slot goes to the adapter for which most requests wait. Nobody closes a turn.
- aged: the same, until a request has waited `AGE_BOUND`: then turns close, and its adapter is next.
- turns(q): `service.adapters.admission`, with turns of q seconds.
"""

from __future__ import annotations

import argparse
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Protocol

from service.adapters.admission import Admission

STEP, PER_ROW, PER_ADAPTER = 6.3e-3, 0.195e-3, 0.13e-3
"""Seconds. From two measured points of a 3.5M-parameter Llama on 2 cores (185 tokens a second with one request, 3615
with 64), and the masked kernel's 1.4 ms a step for one adapter and 2.3 ms for eight (docs/decisions/0002)."""
AGE_BOUND = 2.0
SLOTS = 8


@dataclass(slots=True, eq=False)
class Request:
    adapter: str
    arrived: float
    tokens: int
    entered: float = -1.0

    @property
    def wait(self) -> float:
        return self.entered - self.arrived


class Policy(Protocol):
    def arrive(self, ticket: Request, adapter: str, now: float) -> bool: ...
    def leave(self, adapter: str, now: float) -> list[Request]: ...


class Queue:
    """What the simple policies share: one queue in order of arrival, and a count of those in the engine."""

    def __init__(self, slots: int) -> None:
        self.slots = slots
        self.inside: Counter[str] = Counter()
        self.queue: list[Request] = []

    def arrive(self, ticket: Request, adapter: str, now: float) -> bool:
        self.queue.append(ticket)
        return ticket in self._admit(now)

    def leave(self, adapter: str, now: float) -> list[Request]:
        self.inside[adapter] -= 1
        self.inside = +self.inside
        return self._admit(now)

    def fits(self, adapter: str) -> bool:
        return adapter in self.inside or len(self.inside) < self.slots

    def _admit(self, now: float) -> list[Request]:
        entered: list[Request] = []
        while (chosen := self.choose(now)) is not None:
            self.queue.remove(chosen)
            self.inside[chosen.adapter] += 1
            entered.append(chosen)
        return entered

    def choose(self, now: float) -> Request | None:
        raise NotImplementedError


class Fifo(Queue):
    def choose(self, now: float) -> Request | None:
        return self.queue[0] if self.queue and self.fits(self.queue[0].adapter) else None


class SkipAhead(Queue):
    def choose(self, now: float) -> Request | None:
        return next((one for one in self.queue if self.fits(one.adapter)), None)


class Largest(Queue):
    def choose(self, now: float) -> Request | None:
        joining = next((one for one in self.queue if one.adapter in self.inside), None)
        if joining is not None or len(self.inside) >= self.slots or not self.queue:
            return joining
        sizes = Counter(one.adapter for one in self.queue)
        return max(self.queue, key=lambda one: (sizes[one.adapter], -one.arrived))


class Aged(Largest):
    def choose(self, now: float) -> Request | None:
        if not self.queue or now - self.queue[0].arrived < AGE_BOUND:
            return super().choose(now)
        return self.queue[0] if self.fits(self.queue[0].adapter) else None


POLICIES: dict[str, Callable[[int], Policy]] = {
    "fifo": Fifo,
    "skip-ahead": SkipAhead,
    "largest": Largest,
    "aged": Aged,
    "turns(0)": lambda slots: Admission(slots, 0.0),
    "turns(0.5)": lambda slots: Admission(slots, 0.5),
}


@dataclass
class Workload:
    """Arrivals: `clients` that each ask again when answered, or `times` of arrival, or both."""

    name: str
    draw: Callable[[random.Random], str]
    clients: int = 0
    times: Iterator[float] = field(default_factory=lambda: iter(()))
    tokens: Callable[[random.Random], int] = lambda _: 64
    stubborn: int = 0
    """Adapters that are asked again and again by two clients each, half an answer apart: one always runs."""


@dataclass
class Outcome:
    requests: list[Request]
    """Those that have left, in order of leaving, after the warm-up."""
    still_waiting: list[Request]
    began: float
    ended: float
    rows: float
    """Mean requests in a step."""

    def waits(self) -> list[float]:
        """Of those that entered, and, as a lower bound, of those that still wait."""
        return sorted([one.wait for one in self.requests] + [self.ended - one.arrived for one in self.still_waiting])

    @property
    def tokens_per_second(self) -> float:
        return sum(one.tokens for one in self.requests) / (self.ended - self.began)


Client = str | None
"""Who asks: None once, "" again and again for adapters that the workload draws, a name again and again for it."""


class Simulation:
    def __init__(self, policy: Policy, workload: Workload, seed: int = 0) -> None:
        self.policy = policy
        self.workload = workload
        self.dice = random.Random(seed)
        self.now = 0.0
        self.arrivals: list[tuple[float, int, Client]] = []
        self.order = itertools.count()
        self.clients: dict[Request, Client] = {}
        self.running: dict[Request, int] = {}
        """With the tokens that are still to come."""
        self.waiting: dict[Request, None] = {}
        self.left: list[Request] = []
        for _ in range(workload.clients):
            self.expect(self.dice.uniform(0, 0.05), "")
        for client in range(2 * workload.stubborn):
            self.expect(0.25 * (client % 2), f"stubborn-{client // 2}")
        self.expect(next(workload.times, None), None)

    def expect(self, at: float | None, client: Client) -> None:
        if at is not None:
            heapq.heappush(self.arrivals, (at, next(self.order), client))

    def arrive(self) -> None:
        """All who are there by now."""
        while self.arrivals and self.arrivals[0][0] <= self.now:
            at, _, client = heapq.heappop(self.arrivals)
            if client is None:
                self.expect(next(self.workload.times, None), None)
            one = Request(client or self.workload.draw(self.dice), at, self.workload.tokens(self.dice))
            self.clients[one] = client
            self.waiting[one] = None
            if self.policy.arrive(one, one.adapter, self.now):
                self.enter(one)

    def enter(self, one: Request) -> None:
        del self.waiting[one]
        one.entered = self.now
        self.running[one] = one.tokens

    def step(self) -> None:
        adapters = {one.adapter for one in self.running}
        self.now += STEP + PER_ROW * len(self.running) + PER_ADAPTER * len(adapters)
        for one in list(self.running):
            self.running[one] -= 1
            if self.running[one] == 0:
                self.leave(one)

    def leave(self, one: Request) -> None:
        del self.running[one]
        self.left.append(one)
        if (client := self.clients.pop(one)) is not None:
            self.expect(self.now, client)
        for entered in self.policy.leave(one.adapter, self.now):
            self.enter(entered)

    def run(self, requests: int, warm_up: float = 0.2) -> Outcome:
        """Until `requests` have left; of these the share `warm_up` does not count."""
        skipped, began, rows, steps = int(requests * warm_up), 0.0, 0, 0
        while len(self.left) < requests:
            if not self.running:
                self.now = max(self.now, self.arrivals[0][0])
            self.arrive()
            if len(self.left) < skipped:
                began, rows, steps = self.now, 0, 0
            rows, steps = rows + len(self.running), steps + 1
            self.step()
        return Outcome(self.left[skipped:], list(self.waiting), began, self.now, rows / steps)


def zipf(count: int, exponent: float = 1.0) -> Callable[[random.Random], str]:
    names = [f"a{rank}" for rank in range(count)]
    weights = list(itertools.accumulate(1 / (rank + 1) ** exponent for rank in range(count)))
    return lambda dice: dice.choices(names, cum_weights=weights)[0]


def hot_and_cold(share: float, cold: int) -> Callable[[random.Random], str]:
    return lambda dice: "hot" if dice.random() < share else f"cold-{dice.randrange(cold)}"


def poisson(rate: float, seed: int) -> Iterator[float]:
    dice, now = random.Random(seed), 0.0
    while True:
        now += dice.expovariate(rate)
        yield now


def bursts(size: int, every: float) -> Iterator[float]:
    for burst in itertools.count():
        for _ in range(size):
            yield burst * every


def mixed_lengths(dice: random.Random) -> int:
    """Mean 64: most answers short, a few long."""
    return 320 if dice.random() < 0.1 else 36


def workloads() -> list[Workload]:
    eight = zipf(8)
    thousand = zipf(1000)
    return [
        Workload("8 adapters, Zipf, 16 clients", eight, clients=16),
        Workload("8 adapters, Zipf, 64 clients", eight, clients=64),
        Workload("1000 adapters, Zipf, 16 clients", thousand, clients=16),
        Workload("1000 adapters, Zipf, 64 clients", thousand, clients=64),
        Workload("1000 adapters, Zipf, 256 clients", thousand, clients=256),
        Workload("the same, long and short answers", thousand, clients=64, tokens=mixed_lengths),
        Workload("the same, 12 a second", thousand, times=poisson(12, 1)),
        Workload("bursts of 200 every 10 s", thousand, times=bursts(200, 10)),
        Workload("one hot (half), 500 cold", hot_and_cold(0.5, 500), clients=64),
        Workload("8 that never let go, and Zipf", thousand, clients=48, stubborn=8),
    ]


def quantile(values: list[float], share: float) -> float:
    return values[min(len(values) - 1, int(share * len(values)))] if values else 0.0


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare admission policies.")
    parser.add_argument("--requests", type=int, default=4000, help="to simulate of each workload and policy")
    parser.add_argument("--slots", type=int, default=SLOTS)
    asked = parser.parse_args()
    print(f"Tokens a second, and the wait for a slot in seconds: median, 99th percentile. {asked.slots} slots.\n")
    print(f"| {'':32} |" + "".join(f" {name:15} |" for name in POLICIES))
    print(f"|{'-' * 34}|" + "".join(f"{'-' * 17}|" for _ in POLICIES))
    for at, workload in enumerate(workloads()):
        cells = []
        for make in POLICIES.values():
            outcome = Simulation(make(asked.slots), workloads()[at]).run(asked.requests)
            waits = outcome.waits()
            middle, late = quantile(waits, 0.5), quantile(waits, 0.99)
            cells.append(f" {outcome.tokens_per_second:4.0f} {middle:4.1f} {late:5.1f} |")
        print(f"| {workload.name:32} |" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
