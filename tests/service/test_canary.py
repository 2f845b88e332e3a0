"""The judge of a canary, simulated: how seldom noise convicts, how soon trouble does, and what is no evidence."""

from __future__ import annotations

import random
import statistics
from collections.abc import Callable, Iterator

import pytest

from lifecycle.traffic import CanaryBounds
from service.traffic.canary import Figure, Judge, Outcome, percentile

INCUMBENT, CANARY = 1, 2
GOOD, BAD = Outcome(failed=False), Outcome(failed=True)
RATE = CanaryBounds(max_error_rate=0.05)


def judge(bounds: CanaryBounds, *canaries: int) -> Judge:
    return Judge(bounds, INCUMBENT, canaries or (CANARY,))


def until_broken(one: Judge, outcomes: Iterator[Outcome], limit: int = 100_000) -> int:
    """How many of the canary's requests it takes."""
    for n, outcome in enumerate(outcomes, start=1):
        if one.see(CANARY, outcome) is not None or n == limit:
            return n
    raise AssertionError("unreachable")


def failing(rate: float, dice: random.Random) -> Iterator[Outcome]:
    while True:
        yield BAD if dice.random() < rate else GOOD


def timed(
    bounds: CanaryBounds, slower: float, share: float, load: Callable[[int], float], dice: random.Random, limit: int
) -> tuple[int, Figure | None]:
    """The canary's requests until a verdict or `limit`; both versions' times are log-normal, times the load's."""
    one, n, at = judge(bounds), 0, 0
    while n < limit:
        at += 1
        seconds = dice.lognormvariate(0, 0.5) * load(at)
        whose = CANARY if dice.random() < share else INCUMBENT
        seconds *= slower if whose == CANARY else 1.0
        n += whose == CANARY
        if (figure := one.see(whose, Outcome(failed=False, ttft=seconds, total=seconds))) is not None:
            return n, figure
    return n, None


def steady(_: int) -> float:
    return 1.0


def bursts(at: int) -> float:
    """Ten times as slow for 12 requests of every 400, and three times for a hundred of them."""
    return 10.0 if at % 400 < 12 else 3.0 if at % 400 > 300 else 1.0


# -- false alarms -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0.01, 0.05, 0.3])
def test_a_canary_exactly_on_its_bound_is_rolled_back_once_in_so_many_requests_or_less_often(bound: float) -> None:
    bounds = CanaryBounds(max_error_rate=bound, false_alarm_every=1000, min_requests=1)
    dice = random.Random(7)
    runs = [until_broken(judge(bounds), failing(bound, dice)) for _ in range(120)]
    assert statistics.mean(runs) > 1000


def test_a_canary_well_within_its_bound_is_left_alone_for_as_long_as_one_looks() -> None:
    dice = random.Random(7)
    assert until_broken(judge(RATE), failing(0.03, dice), limit=50_000) == 50_000


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_canary_exactly_as_slow_as_allowed_is_rolled_back_as_seldom_under_any_load(share: float) -> None:
    bounds = CanaryBounds(max_total_ratio=1.5, false_alarm_every=1000, window=40)
    dice = random.Random(7)
    for load in (steady, bursts):
        runs = [timed(bounds, 1.5, share, load, dice, limit=6000)[0] for _ in range(15)]
        assert statistics.mean(runs) > 1000


def test_bursts_that_both_meet_are_no_evidence_against_an_equal_canary() -> None:
    bounds = CanaryBounds(max_ttft_ratio=1.2, max_total_ratio=1.2)
    assert timed(bounds, 1.0, 0.3, bursts, random.Random(7), limit=10_000)[1] is None


def test_times_that_are_all_the_same_do_not_convict() -> None:
    one = judge(CanaryBounds(max_total_ratio=1.0, min_requests=1))
    for at in range(10_000):
        assert one.see(CANARY if at % 2 else INCUMBENT, Outcome(failed=False, total=0.5)) is None


def test_more_figures_need_more_evidence_for_each() -> None:
    """Ten figures watched are ten chances of a false alarm."""
    alone = judge(CanaryBounds(max_error_rate=0.05))
    among = judge(CanaryBounds(max_error_rate=0.05, max_ttft_ratio=2, guards={"empty": 0.1, "cut_off": 0.1}))
    for one in (alone, among):
        for _ in range(3):
            one.see(CANARY, BAD)
        for _ in range(20):
            one.see(CANARY, GOOD)
    (weight,) = [figure.evidence for figure in alone.figures()]
    shared = next(figure.evidence for figure in among.figures() if figure.name == "error_rate")
    assert shared == pytest.approx(weight / 4)


# -- detection --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("rate", "within"), [(1.0, 20), (0.5, 30), (0.2, 150), (0.1, 800)])
def test_a_failing_canary_is_found_the_sooner_the_worse_it_is(rate: float, within: int) -> None:
    dice = random.Random(7)
    assert statistics.mean(until_broken(judge(RATE), failing(rate, dice)) for _ in range(20)) <= within


def test_a_canary_that_turns_bad_after_a_long_good_time_is_found_as_soon() -> None:
    dice = random.Random(7)
    delays = []
    for _ in range(20):
        one = judge(RATE)
        for _ in range(3000):
            assert one.see(CANARY, GOOD) is None
        delays.append(until_broken(one, failing(0.5, dice)))
    assert statistics.mean(delays) <= 30


@pytest.mark.parametrize(
    ("slower", "share", "within"), [(5.0, 0.1, 60), (3.0, 0.1, 80), (3.0, 0.5, 250), (2.0, 0.1, 400)]
)
def test_a_slow_canary_is_found_in_bursts_too(slower: float, share: float, within: int) -> None:
    bounds = CanaryBounds(max_total_ratio=1.5)
    for load in (steady, bursts):
        dice = random.Random(7)
        runs = [timed(bounds, slower, share, load, dice, limit=5000) for _ in range(10)]
        assert all(figure is not None and figure.name == "total" for _, figure in runs)
        assert statistics.mean(n for n, _ in runs) <= within


def test_a_canary_that_is_slow_once_in_ten_is_found_though_its_median_is_the_incumbents() -> None:
    bounds, dice, one = CanaryBounds(max_total_ratio=1.5), random.Random(7), judge(CanaryBounds(max_total_ratio=1.5))
    assert bounds.names == ("total",)
    for at in range(20_000):
        seconds = dice.lognormvariate(0, 0.3)
        whose = CANARY if at % 5 == 0 else INCUMBENT
        if whose == CANARY and dice.random() < 0.1:
            seconds *= 20
        if one.see(whose, Outcome(failed=False, total=seconds)) is not None:
            return
    pytest.fail("a tail of one in ten is over a 95th percentile's bound")


# -- what counts ------------------------------------------------------------------------------------------------------


def test_nothing_is_decided_on_fewer_requests_than_asked_for() -> None:
    one = judge(CanaryBounds(max_error_rate=0.01, min_requests=40))
    assert [one.see(CANARY, BAD) is not None for _ in range(41)].index(True) == 39


def test_a_verdict_comes_once_with_the_figures_that_it_rests_on() -> None:
    one = judge(RATE)
    verdicts = [one.see(CANARY, BAD) for _ in range(60)]
    (figure,) = [verdict for verdict in verdicts if verdict is not None]
    assert (figure.canary, figure.name, figure.bound) == (CANARY, "error_rate", 0.05)
    assert (figure.bad, figure.n, figure.value) == (20, 20, 1.0)
    assert figure.evidence >= 1


def test_what_the_incumbent_or_a_stranger_does_is_no_evidence_against_the_canary() -> None:
    one = judge(RATE)
    for number in (INCUMBENT, 9):
        assert all(one.see(number, BAD) is None for _ in range(1000))
    assert one.figures()[0].n == 0


def test_what_says_nothing_about_the_version_is_not_counted() -> None:
    one = judge(CanaryBounds(max_error_rate=0.05, guards={"empty": 0.05}))
    for _ in range(100):
        one.see(CANARY, Outcome(failed=None, ttft=1.0, total=9.0))
    assert [figure.n for figure in one.figures()] == [0, 0]


@pytest.mark.parametrize("guard", ["empty", "cut_off", "not_json", "off_schema"])
def test_a_guard_that_is_found_too_often_breaks_its_bound(guard: str) -> None:
    schema = {"answer_schema": {"type": "object"}} if guard == "off_schema" else {}
    one = judge(CanaryBounds.model_validate({"guards": {"cut_off": 0.9, guard: 0.05}, **schema}))
    found = Outcome(failed=False, found=frozenset({guard}))  # type: ignore[arg-type]
    verdicts = [one.see(CANARY, found if at % 2 else Outcome(failed=False, found=frozenset())) for at in range(400)]
    assert [figure.name for figure in verdicts if figure] == [guard]


def test_each_of_several_canaries_is_judged_and_the_one_that_broke_its_bound_is_named() -> None:
    one = judge(RATE, 2, 3)
    found = None
    for _ in range(200):
        assert one.see(2, GOOD) is None
        found = found or one.see(3, BAD)
    assert found is not None
    assert (found.canary, found.name) == (3, "error_rate")


@pytest.mark.parametrize("name", ["ttft", "total"])
def test_each_time_is_held_against_its_own_bound(name: str) -> None:
    one = judge(CanaryBounds.model_validate({"max_ttft_ratio": 1.5, "max_total_ratio": 1.5}))
    dice, found = random.Random(7), None
    for _ in range(4000):
        whose = dice.choice((INCUMBENT, CANARY))
        times = {"ttft": dice.lognormvariate(0, 0.3), "total": dice.lognormvariate(0, 0.3)}
        if whose == CANARY:
            times[name] *= 4
        found = found or one.see(whose, Outcome(failed=False, **times))
    assert found is not None
    assert found.name == name
    assert 3 < found.value < 5
    assert found.bad is None


def test_the_percentile_is_the_nearest_rank() -> None:
    assert percentile(range(1, 101)) == 95
    assert percentile([3.0]) == 3.0
    assert percentile([]) == 0.0
