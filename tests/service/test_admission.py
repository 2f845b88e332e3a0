"""Admission: grouped by adapter, never more adapters than slots, and nobody starves."""

from __future__ import annotations

import heapq
import itertools
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.adapters.admission import Admission
from tests.service.admission_simulator import POLICIES, SLOTS, Outcome, Simulation, Workload, quantile, workloads

TURN = 0.5


def admission(slots: int = 2) -> Admission[str]:
    return Admission(slots, TURN)


def test_while_slots_are_free_every_request_enters_at_once() -> None:
    policy = admission()
    assert policy.arrive("a1", "a", 0)
    assert policy.arrive("a2", "a", 100)
    assert policy.arrive("b1", "b", 100)
    assert policy.running() == {"a": 2, "b": 1}


def test_while_nobody_waits_an_adapter_in_the_batch_is_never_closed() -> None:
    policy = admission(slots=1)
    assert all(policy.arrive(f"a{at}", "a", at * 1000.0) for at in range(10))


def test_what_waits_for_one_adapter_enters_together_in_order_of_arrival() -> None:
    policy = admission(slots=1)
    policy.arrive("a1", "a", 0)
    for ticket in ("b1", "c1", "b2", "b3"):
        assert not policy.arrive(ticket, ticket[0], 1)
    assert policy.queued() == {"b": 3, "c": 1}
    assert policy.leave("a", 2) == ["b1", "b2", "b3"]


def test_a_turn_can_be_joined_for_its_time_and_no_longer_while_another_adapter_waits() -> None:
    policy = admission(slots=1)
    policy.arrive("a1", "a", 0)
    policy.arrive("b1", "b", 0.1)
    assert policy.arrive("a2", "a", TURN - 0.01)
    assert not policy.arrive("a3", "a", TURN)
    assert policy.leave("a", 1) == []
    assert policy.leave("a", 1) == ["b1"], "a3 came after b1"


def test_nobody_overtakes_the_waiting_of_its_own_adapter() -> None:
    policy = admission(slots=2)
    policy.arrive("a1", "a", 0)
    policy.arrive("b1", "b", 9.8)
    policy.arrive("c1", "c", 9.9)
    assert not policy.arrive("a2", "a", 10)
    assert not policy.arrive("b2", "b", 10.4)
    assert policy.leave("a", 10.4) == ["c1"]
    # b's turn was renewed by nobody, and a2 waits ahead of b2.
    assert policy.leave("b", 10.5) == ["a2"]


def test_at_the_head_an_adapter_that_still_has_its_slot_goes_on() -> None:
    policy = admission(slots=1)
    policy.arrive("a1", "a", 0)
    policy.arrive("b1", "b", 1)
    assert not policy.arrive("a2", "a", 2)
    assert policy.abandon("b1", "b", 3) == ["a2"]
    assert policy.running() == {"a": 2}


def test_who_gives_up_leaves_no_trace() -> None:
    policy = admission(slots=1)
    policy.arrive("a1", "a", 0)
    policy.arrive("b1", "b", 1)
    policy.arrive("b2", "b", 1)
    policy.abandon("b1", "b", 2)
    assert (policy.waiting, policy.queued()) == (1, {"b": 1})
    assert policy.leave("a", 3) == ["b2"]
    assert policy.leave("b", 4) == []
    assert (policy.waiting, policy.running()) == (0, {})


# -- every history ----------------------------------------------------------------------------------------------------

LONGEST = 1.0
"""Seconds in the engine, at most."""


@dataclass(frozen=True)
class Arrival:
    at: float
    adapter: str
    service: float
    patience: float | None


arrivals = st.lists(
    st.builds(
        Arrival,
        at=st.floats(0, 6),
        adapter=st.sampled_from("abcdefgh"),
        service=st.floats(0.01, LONGEST),
        patience=st.none() | st.floats(0, 3),
    ),
    max_size=60,
)


@settings(deadline=None, max_examples=200)
@given(arrivals=arrivals, slots=st.integers(1, 3), turn=st.sampled_from([0.0, 0.3, 2.0]))
def test_no_history_starves_anyone_or_wastes_a_slot(arrivals: list[Arrival], slots: int, turn: float) -> None:
    policy: Admission[int] = Admission(slots, turn)
    order = itertools.count()
    events = [(one.at, next(order), "arrives", ticket) for ticket, one in enumerate(arrivals)]
    heapq.heapify(events)
    latest: dict[int, float] = {}
    """By ticket that waits: when it must have entered."""
    entered: list[int] = []

    def enter(ticket: int, now: float) -> None:
        assert now <= latest.pop(ticket, now) + 1e-9, "waited longer than the bound"
        entered.append(ticket)
        heapq.heappush(events, (now + arrivals[ticket].service, next(order), "leaves", ticket))

    gone = 0
    while events:
        now, _, what, ticket = heapq.heappop(events)
        one = arrivals[ticket]
        if what == "arrives":
            if policy.arrive(ticket, one.adapter, now):
                enter(ticket, now)
            else:
                ahead = list(policy.queued()).index(one.adapter)
                latest[ticket] = now + (ahead // slots + 1) * (turn + LONGEST)
                if one.patience is not None:
                    heapq.heappush(events, (now + one.patience, next(order), "gives up", ticket))
        elif what == "leaves":
            for other in policy.leave(one.adapter, now):
                enter(other, now)
        elif ticket in latest:
            del latest[ticket]
            gone += 1
            for other in policy.abandon(ticket, one.adapter, now):
                enter(other, now)
        running = policy.running()
        assert len(running) <= slots
        assert all(running.values())
        assert policy.waiting == len(latest) == sum(policy.queued().values())
        assert len(running) == slots or not latest, "a slot is free, and somebody waits"
    assert len(set(entered)) == len(entered) == len(arrivals) - gone
    for adapter in "abcdefgh":
        mine = [ticket for ticket in entered if arrivals[ticket].adapter == adapter]
        in_order = sorted(mine, key=lambda ticket: (arrivals[ticket].at, ticket))
        assert mine == in_order, "overtaken by its own adapter's"


# -- the simulator: docs/decisions/0006 has its table ------------------------------------------------------------------


def run(policy: str, workload: Workload) -> Outcome:
    return Simulation(POLICIES[policy](SLOTS), workload).run(1500)


def fresh(name: str) -> Workload:
    return next(one for one in workloads() if one.name == name)


NAMES = [one.name for one in workloads()]
STUBBORN = "8 that never let go, and Zipf"


@pytest.mark.parametrize("name", [name for name in NAMES if name != STUBBORN])
def test_throughput_is_within_a_twentieth_of_the_best_policy_without_fairness(name: str) -> None:
    ours = run("turns(0.5)", fresh(name)).tokens_per_second
    assert ours >= 0.95 * max(run(other, fresh(name)).tokens_per_second for other in ("skip-ahead", "largest"))


def test_those_that_never_let_go_starve_the_others_under_vllm_and_not_here() -> None:
    theirs, ours = run("skip-ahead", fresh(STUBBORN)), run("turns(0.5)", fresh(STUBBORN))
    assert {one.adapter for one in theirs.requests if not one.adapter.startswith("stubborn")} == set()
    assert theirs.waits()[-1] > 0.9 * theirs.ended
    assert ours.waits()[-1] < 4
    assert len({one.adapter for one in ours.requests}) > 100


@pytest.mark.parametrize("clients", [16, 64, 256])
def test_with_a_thousand_adapters_the_99th_percentile_of_waiting_is_within_five_medians(clients: int) -> None:
    waits = run("turns(0.5)", fresh(f"1000 adapters, Zipf, {clients} clients")).waits()
    assert quantile(waits, 0.99) <= 5 * quantile(waits, 0.5)


def test_serving_the_largest_group_first_lets_the_rare_wait_several_times_as_long() -> None:
    name = "1000 adapters, Zipf, 256 clients"
    greedy, ours = run("largest", fresh(name)).waits(), run("turns(0.5)", fresh(name)).waits()
    assert quantile(greedy, 0.99) > 2 * quantile(ours, 0.99)
