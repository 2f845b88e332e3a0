"""Requests come out in the order in which they arrived, whatever ends first and whatever never ends."""

from __future__ import annotations

import random

import pytest

from service.traffic.arrivals import Arrival, Arrivals
from service.traffic.canary import LONGEST, Outcome


class Line(Arrivals):
    def __init__(self) -> None:
        self.told: list[tuple[int, Outcome]] = []
        super().__init__(lambda number, outcome: self.told.append((number, outcome)))

    @property
    def totals(self) -> list[float | None]:
        return [outcome.total for _, outcome in self.told]


def arrive(line: Arrivals, number: int = 1, at: float = 0.0, streams: bool = False, session: str = "") -> Arrival:
    arrival = Arrival(number, at, streams, session)
    line.begun(arrival)
    return arrival


def test_whatever_ends_first_they_come_out_as_they_arrived() -> None:
    line, dice = Line(), random.Random(7)
    waiting = [arrive(line, at=float(at)) for at in range(200)]
    order = list(range(200))
    dice.shuffle(order)
    for at in order:
        line.ended(waiting[at], Outcome(failed=False, total=float(at)), 200.0)
    assert line.totals == [float(at) for at in range(200)]
    assert len(line) == 0


def test_one_that_waits_for_an_earlier_one_comes_out_with_it() -> None:
    line = Line()
    first, second = arrive(line), arrive(line)
    line.ended(second, Outcome(failed=True), 1.0)
    assert line.told == []
    line.ended(first, Outcome(failed=False), 2.0)
    assert [outcome.failed for _, outcome in line.told] == [False, True]


def test_what_says_nothing_holds_nothing_up_and_is_not_handed_on() -> None:
    line = Line()
    first, second = arrive(line), arrive(line)
    line.ended(second, Outcome(failed=False, total=1.0), 1.0)
    line.ended(first, None, 1.0)
    assert line.totals == [1.0]


def test_the_session_goes_along() -> None:
    line = Line()
    line.ended(arrive(line, session="x"), Outcome(failed=False), 1.0)
    assert line.told == [(1, Outcome(failed=False, session="x"))]


@pytest.mark.parametrize(
    ("streams", "first", "ttft"), [(True, None, LONGEST), (True, 2.0, 2.0), (False, None, None), (False, 2.0, 2.0)]
)
def test_one_that_never_ends_holds_the_others_up_for_the_longest_time_and_no_longer(
    streams: bool, first: float | None, ttft: float | None
) -> None:
    line = Line()
    stuck = arrive(line, number=2, at=10.0, streams=streams)
    stuck.first = first
    line.ended(arrive(line, at=11.0), Outcome(failed=False, total=1.0), 12.0)
    arrive(line, at=10.0 + LONGEST - 0.001)
    assert line.told == []
    arrive(line, at=10.0 + LONGEST)
    unended = Outcome(failed=False, ttft=ttft, total=LONGEST, caught=frozenset())
    assert line.told == [(2, unended), (1, Outcome(failed=False, total=1.0))]
    line.ended(stuck, Outcome(failed=True), 10.0 + LONGEST + 1)
    assert len(line.told) == 2, "it was told of once"


def test_of_more_than_ten_thousand_that_wait_the_earliest_is_not_waited_for() -> None:
    line = Line()
    arrive(line, number=2, at=200.0)
    for _ in range(10_000 - 1):
        arrive(line, at=200.0)
    assert line.told == []
    arrive(line, at=210.0)
    assert line.told == [(2, Outcome(failed=False, caught=frozenset()))], "how long it takes is not known"
    assert len(line) == 10_000


def test_one_that_is_ended_twice_while_it_waits_is_told_as_it_ended_first() -> None:
    line = Line()
    first, second = arrive(line), arrive(line)
    line.ended(second, Outcome(failed=False, total=1.0), 1.0)
    line.ended(second, Outcome(failed=True, total=2.0), 2.0)
    line.ended(first, None, 3.0)
    assert line.told == [(1, Outcome(failed=False, total=1.0))]


def test_who_names_no_session_is_of_none() -> None:
    line, arrival = Line(), Arrival(1, 0.0, streams=False)
    line.begun(arrival)
    line.ended(arrival, Outcome(failed=False), 1.0)
    assert line.told == [(1, Outcome(failed=False, session=""))]
