"""The judge of a canary: how soon trouble is found, and what is no evidence."""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator

import pytest

from lifecycle.traffic import AnswerGuard, CanaryBounds
from service.traffic.canary import Judge, Outcome, percentile

INCUMBENT, CANARY = 1, 2
GOOD, BAD = Outcome(failed=False), Outcome(failed=True)
RATE = CanaryBounds(max_error_rate=0.05)


def judge(bounds: CanaryBounds, *canaries: int) -> Judge:
    canaries = canaries or (CANARY,)
    return Judge(bounds, INCUMBENT, {number: 1 / (1 + len(canaries)) for number in (INCUMBENT, *canaries)})


def until_broken(watching: Judge, outcomes: Iterator[Outcome], limit: int = 100_000) -> int:
    """How many of the canary's requests it takes, beside an incumbent that answers as many without fault."""
    for n, outcome in enumerate(outcomes, start=1):
        watching.see(INCUMBENT, GOOD)
        if watching.see(CANARY, outcome) is not None or n == limit:
            return n
    raise AssertionError("unreachable")


def failing(rate: float, dice: random.Random) -> Iterator[Outcome]:
    while True:
        yield BAD if dice.random() < rate else GOOD


# -- false removals: `test_canary_simulation.py` has many more of them -------------------------------------------------


def test_a_canary_well_within_its_bound_is_left_alone_for_as_long_as_one_looks() -> None:
    dice = random.Random(7)
    assert until_broken(judge(RATE), failing(0.03, dice), limit=20_000) == 20_000


def test_times_that_are_all_the_same_do_not_convict() -> None:
    watching = judge(CanaryBounds(max_total_ratio=1.0, min_requests=1))
    for at in range(10_000):
        assert watching.see(CANARY if at % 2 else INCUMBENT, Outcome(failed=False, total=0.5)) is None


def test_more_figures_need_more_evidence_for_each() -> None:
    """Ten figures watched are ten chances of a false alarm."""
    alone = judge(CanaryBounds(max_error_rate=0.05))
    among = judge(CanaryBounds(max_error_rate=0.05, max_ttft_ratio=2, guards={"empty": 0.1, "cut_off": 0.1}))
    for watching in (alone, among):
        for _ in range(3):
            watching.see(CANARY, BAD)
        for _ in range(20):
            watching.see(CANARY, GOOD)
    (weight,) = [figure.evidence for figure in alone.figures()]
    shared = next(figure.evidence for figure in among.figures() if figure.name == "error_rate")
    assert shared == pytest.approx(weight / 4)


# -- what every target does alike -------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate", [0.3, 1.0])
@pytest.mark.parametrize("what", ["error_rate", "empty"])
def test_what_every_target_fails_alike_is_no_evidence(rate: float, what: str) -> None:
    watching = judge(CanaryBounds(max_error_rate=0.05, guards={"empty": 0.05}))
    dice = random.Random(7)
    for _ in range(5_000):
        bad = dice.random() < rate
        empty: frozenset[AnswerGuard] = frozenset({"empty"} if bad else ())
        outcome = Outcome(failed=bad) if what == "error_rate" else Outcome(failed=False, caught=empty)
        assert watching.see(dice.choice((INCUMBENT, CANARY)), outcome) is None


def test_one_caller_who_fails_again_and_again_in_one_session_does_not_remove_the_canary() -> None:
    """His session always meets the canary, whoever has the fault; the canary answers everybody else."""
    watching, dice = judge(RATE), random.Random(7)
    for at in range(5_000):
        whose = dice.choice((INCUMBENT, CANARY))
        assert watching.see(whose, Outcome(failed=False, session=f"{whose}-{at % 80}")) is None
        assert watching.see(CANARY, Outcome(failed=True, session="the same")) is None
    assert watching.figures()[0].value > 0.5


def test_a_canary_that_fails_its_few_sessions_is_removed_though_each_counts_once_in_a_window() -> None:
    watching = judge(RATE)
    for at in range(3_000):
        watching.see(INCUMBENT, Outcome(failed=False, session=f"its-{at % 3}"))
        if watching.see(CANARY, Outcome(failed=True, session=f"canary-{at % 3}")) is not None:
            return
    pytest.fail("three callers meet nothing but errors, and three others none")


# -- detection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "within"), [(1.0, 20), (0.5, 30), (0.2, 150), (0.1, 800)])
def test_a_failing_canary_is_found_the_sooner_the_worse_it_is(rate: float, within: int) -> None:
    dice = random.Random(7)
    assert statistics.mean(until_broken(judge(RATE), failing(rate, dice)) for _ in range(20)) <= within


def test_a_canary_that_turns_bad_after_a_long_good_time_is_found_nearly_as_soon() -> None:
    dice = random.Random(7)
    delays = []
    for _ in range(20):
        watching = judge(RATE)
        assert until_broken(watching, failing(0, dice), limit=3000) == 3000
        delays.append(until_broken(watching, failing(0.5, dice)))
    assert statistics.mean(delays) <= 45


def test_a_canary_that_is_slow_once_in_ten_is_found_though_its_median_is_the_incumbents() -> None:
    dice, watching = random.Random(7), judge(CanaryBounds(max_total_ratio=1.5))
    for at in range(20_000):
        seconds = dice.lognormvariate(0, 0.3)
        whose = CANARY if at % 5 == 0 else INCUMBENT
        if whose == CANARY and dice.random() < 0.1:
            seconds *= 20
        if watching.see(whose, Outcome(failed=False, total=seconds)) is not None:
            return
    pytest.fail("a tail of one in ten is over a 95th percentile's bound")


# -- what counts ------------------------------------------------------------------------------------------------------


def test_nothing_is_decided_on_fewer_requests_than_asked_for() -> None:
    watching = judge(CanaryBounds(max_error_rate=0.01, min_requests=40))
    assert until_broken(watching, failing(1, random.Random(7))) == 40


def test_one_failed_load_is_no_evidence_however_many_wait_for_it() -> None:
    """The first of them tells of it; to the others it just happened."""
    watching = judge(RATE)
    for at in range(1_000):
        assert watching.see(INCUMBENT, GOOD) is None
        assert watching.see(CANARY, Outcome(failed=True if at == 0 else None, own=True)) is None


def test_a_canary_whose_loads_go_on_failing_is_removed() -> None:
    watching, loads = judge(RATE), 0
    for at in range(1_000):
        again = at % 10 != 0
        loads += not again
        if watching.see(CANARY, Outcome(failed=None if again else True, own=True)) is not None:
            break
    assert 2 <= loads <= 5


def test_a_verdict_stands_for_as_long_as_the_evidence_does_and_the_figures_go_on() -> None:
    watching = judge(RATE)
    assert until_broken(watching, failing(1, random.Random(7))) == 20
    for n in range(21, 31):
        figure = watching.see(CANARY, BAD)
        assert figure is not None
        assert (figure.canary, figure.name, figure.bound) == (CANARY, "error_rate", 0.05)
        assert (figure.bad, figure.n, figure.value, figure.baseline) == (n, n, 1.0, 0.0)
        assert figure.evidence >= 1


def test_what_the_incumbent_or_a_stranger_does_is_no_evidence_against_the_canary() -> None:
    watching = judge(RATE)
    for number in (INCUMBENT, 9):
        assert all(watching.see(number, BAD) is None for _ in range(1000))
    assert watching.figures()[0].n == 0


def test_what_says_nothing_about_the_version_is_not_counted() -> None:
    watching = judge(CanaryBounds(max_error_rate=0.05, guards={"empty": 0.05}))
    for _ in range(100):
        watching.see(CANARY, Outcome(failed=None, ttft=1.0, total=9.0))
    assert [figure.n for figure in watching.figures()] == [0, 0]


@pytest.mark.parametrize("guard", ["empty", "cut_off", "not_json", "off_schema"])
def test_a_guard_that_is_found_too_often_breaks_its_bound(guard: str) -> None:
    schema = {"answer_schema": {"type": "object"}} if guard == "off_schema" else {}
    watching = judge(CanaryBounds.model_validate({"guards": {"cut_off": 0.9, guard: 0.05}, **schema}))
    broken = Outcome(failed=False, caught=frozenset({guard}))  # type: ignore[arg-type]
    well = Outcome(failed=False, caught=frozenset())
    for at in range(400):
        watching.see(INCUMBENT, well)
        if (figure := watching.see(CANARY, broken if at % 2 else well)) is not None:
            assert figure.name == guard
            return
    pytest.fail("every second answer")


def test_each_of_several_canaries_is_judged_and_the_one_that_broke_its_bound_is_named() -> None:
    watching = judge(RATE, 2, 3)
    for _ in range(200):
        watching.see(INCUMBENT, GOOD)
        watching.see(2, GOOD)
        if (figure := watching.see(3, BAD)) is not None:
            assert (figure.canary, figure.name) == (3, "error_rate")
            return
    pytest.fail("3 fails always")


@pytest.mark.parametrize("name", ["ttft", "total"])
def test_each_time_is_held_against_its_own_bound(name: str) -> None:
    watching = judge(CanaryBounds.model_validate({"max_ttft_ratio": 1.5, "max_total_ratio": 1.5}))
    dice, figure = random.Random(7), None
    for _ in range(4000):
        whose = dice.choice((INCUMBENT, CANARY))
        times = {"ttft": dice.lognormvariate(0, 0.3), "total": dice.lognormvariate(0, 0.3)}
        if whose == CANARY:
            times[name] *= 4
        figure = figure or watching.see(whose, Outcome(failed=False, **times))
    assert figure is not None
    assert figure.name == name
    assert 3 < figure.value < 5
    assert figure.bad is None


def test_the_percentile_is_the_nearest_rank() -> None:
    assert percentile(range(1, 101)) == 95
    assert percentile([3.0]) == 3.0
    assert percentile([]) == 0.0
