"""The canary's evidence to the digit, held against scipy's distributions and the definition of an e-process."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from itertools import pairwise

import pytest
from scipy.stats import hypergeom, nchypergeom_fisher

from lifecycle.traffic import CanaryBounds
from service.traffic.canary import LONGEST, Figure, Judge, Outcome
from service.traffic.evidence import Evidence, finite, noncentral

INCUMBENT, CANARY = 1, 2
ODDS = (1.5, 2.0, 4.0, 8.0, 20.0, 60.0, 200.0)
"""As the module's docstring promises: a fixed mixture. Another one finds trouble later or sooner."""
EVEN = {INCUMBENT: 0.5, CANARY: 0.5}
GOOD, BAD = Outcome(failed=False), Outcome(failed=True)

Step = tuple[Sequence[float], int]
"""A ratio for each of the odds, and how many of the canary's requests are in it."""


def judge(bounds: CanaryBounds, weights: dict[int, float] = EVEN) -> Judge:
    return Judge(bounds, INCUMBENT, weights)


def evidence(steps: Sequence[Step]) -> float:
    """By its definition: for every request at which trouble may have begun, the belief in it times the ratios since."""
    ends = [0]
    for _, begins in steps:
        ends.append(ends[-1] + begins)
    beliefs = [100 / (before + 100) - 100 / (after + 100) for before, after in pairwise(ends)]
    each = [
        sum(beliefs[start] * math.prod(ratios[at] for ratios, _ in steps[start:]) for start in range(len(steps)))
        for at in range(len(ODDS))
    ]
    return sum(each) / len(ODDS)


def larger(bound: float) -> list[float]:
    odds = [bound / (1 - bound) * multiple for multiple in ODDS]
    return [part / (1 + part) for part in odds]


def over_bound(bound: float, outcomes: Sequence[bool]) -> float:
    """Of the canary's requests, alone."""
    bad = [share / bound for share in larger(bound)]
    good = [(1 - share) / (1 - bound) for share in larger(bound)]
    return evidence([(bad if outcome else good, 1) for outcome in outcomes])


def over_incumbent(bound: float, outcomes: Sequence[tuple[int, bool]], lot: float = 0.5) -> float:
    """Given whether it failed: the chance that whose request it was had it, against the lot."""
    steps: list[Step] = []
    for whose, bad in outcomes:
        ratios = []
        for share in larger(bound):
            of_canary, of_incumbent = (share, bound) if bad else (1 - share, 1 - bound)
            both = lot * of_canary + (1 - lot) * of_incumbent
            ratios.append((of_canary if whose == CANARY else of_incumbent) / both)
        steps.append((ratios, int(whose == CANARY)))
    return evidence(steps)


def the_figure(judge: Judge, name: str, canary: int = CANARY) -> Figure:
    (figure,) = [figure for figure in judge.figures() if (figure.name, figure.canary) == (name, canary)]
    return figure


# -- shares -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [0.02, 0.3])
@pytest.mark.parametrize("lot", [0.1, 0.5])
def test_the_evidence_of_failures_is_the_weaker_of_two_by_their_definition(bound: float, lot: float) -> None:
    bounds = CanaryBounds(max_error_rate=bound, min_requests=1, false_removals=0.02)
    watching = judge(bounds, {INCUMBENT: 1 - lot, CANARY: lot})
    seen: list[tuple[int, bool]] = []
    for request in [(2, False), (1, False), (2, True), (1, True), (2, True), (1, False), (2, False), (2, True)]:
        seen.append(request)
        whose, bad = request
        watching.see(whose, BAD if bad else GOOD)
        own = [bad for whose, bad in seen if whose == CANARY]
        figure = the_figure(watching, "error_rate")
        expected = min(over_bound(bound, own), over_incumbent(bound, seen, lot))
        assert figure.evidence == pytest.approx(0.02 * expected)
        assert (figure.n, figure.bad, figure.value) == (len(own), sum(own), sum(own) / len(own))


def test_the_limit_is_shared_by_every_figure_of_every_canary() -> None:
    bounds = CanaryBounds(
        max_error_rate=0.1, max_ttft_ratio=2, guards={"empty": 0.1}, min_requests=1, false_removals=0.05
    )
    watching = judge(bounds, {INCUMBENT: 0.5, 2: 0.25, 3: 0.25})
    watching.see(3, BAD)
    expected = min(over_bound(0.1, [True]), over_incumbent(0.1, [(CANARY, True)], lot=1 / 3))
    assert the_figure(watching, "error_rate", 3).evidence == pytest.approx(expected * 0.05 / (3 * 2))
    assert the_figure(watching, "error_rate", 2).evidence == 0.0


def test_the_verdict_falls_at_the_request_that_brings_the_evidence_to_one() -> None:
    watching = judge(CanaryBounds(max_error_rate=0.05, min_requests=1))
    seen: list[tuple[int, bool]] = []
    for at in range(100):
        seen += [(INCUMBENT, False), (CANARY, at % 3 != 0)]
        watching.see(*(INCUMBENT, GOOD))
        verdict = watching.see(CANARY, BAD if at % 3 else GOOD)
        enough = min(over_bound(0.05, [bad for whose, bad in seen if whose == CANARY]), over_incumbent(0.05, seen))
        assert (verdict is not None) == (enough >= 100)
        if verdict is not None:
            assert 3 < at < 20
            return
    pytest.fail("two of three fail")


def test_the_figures_are_of_the_last_window_and_the_evidence_is_of_all() -> None:
    bounds = CanaryBounds(max_error_rate=0.5, window=20, min_requests=1, max_total_ratio=9)
    watching = judge(bounds)
    seen = []
    for at in range(30):
        watching.see(CANARY, Outcome(failed=at < 15, total=1.0 if at < 10 else 3.0))
        watching.see(INCUMBENT, Outcome(failed=at < 20, total=100.0 if at < 10 else 2.0))
        seen += [(CANARY, at < 15), (INCUMBENT, at < 20)]
    errors, total = the_figure(watching, "error_rate"), the_figure(watching, "total")
    assert (errors.bad, errors.n, errors.value, errors.baseline) == (5, 20, 0.25, 0.5)
    assert (total.bad, total.n, total.value, total.baseline) == (None, 20, 1.5, None)
    expected = min(over_bound(0.5, [at < 15 for at in range(30)]), over_incumbent(0.5, seen))
    assert errors.evidence == pytest.approx(expected / 200)


@pytest.mark.parametrize("guard", ["empty", "cut_off"])
def test_a_guards_share_is_judged_as_errors_are(guard: str) -> None:
    watching = judge(CanaryBounds.model_validate({"guards": {guard: 0.1}, "min_requests": 1}))
    watching.see(CANARY, Outcome(failed=False, caught=frozenset({guard})))  # type: ignore[arg-type]
    watching.see(CANARY, Outcome(failed=False, caught=frozenset()))
    watching.see(CANARY, Outcome(failed=True, caught=None))
    figure = the_figure(watching, guard)
    assert (figure.bad, figure.n) == (1, 2)
    expected = min(over_bound(0.1, [True, False]), over_incumbent(0.1, [(CANARY, True), (CANARY, False)]))
    assert figure.evidence == pytest.approx(expected / 100)


def test_a_fault_of_the_versions_own_parts_needs_no_comparison() -> None:
    watching = judge(CanaryBounds(max_error_rate=0.1, min_requests=1))
    for _ in range(3):
        watching.see(CANARY, Outcome(failed=True, own=True))
    assert the_figure(watching, "error_rate").evidence == pytest.approx(over_bound(0.1, [True] * 3) / 100)


def test_a_session_counts_once_in_a_window_and_once_more_if_it_fails() -> None:
    """Its good answers still tell of the canary against its bound: they can only clear it."""
    watching = judge(CanaryBounds(max_error_rate=0.05, window=20, min_requests=1))
    of_own: list[bool] = []
    of_both: list[tuple[int, bool]] = []
    for request in range(1, 46):
        bad = request % 2 == 0
        watching.see(CANARY, Outcome(failed=bad, session="s"))
        counts = request in (1, 2, 20, 21, 40, 41)  # the set of sessions is empty again at each 20th
        of_own += [bad] if counts or not bad else []
        of_both += [(CANARY, bad)] if counts else []
        expected = min(over_bound(0.05, of_own), over_incumbent(0.05, of_both))
        assert the_figure(watching, "error_rate").evidence == pytest.approx(expected / 100), request


def test_an_incumbents_session_counts_once_in_a_window_too() -> None:
    watching = judge(CanaryBounds(max_error_rate=0.05, window=20, min_requests=1))
    watching.see(CANARY, BAD)
    for _ in range(10):
        watching.see(INCUMBENT, Outcome(failed=False, session="s"))
    expected = min(over_bound(0.05, [True]), over_incumbent(0.05, [(CANARY, True), (INCUMBENT, False)]))
    figure = the_figure(watching, "error_rate")
    assert figure.evidence == pytest.approx(expected / 100)
    assert figure.baseline == 0.0


def test_an_outcome_says_nothing_that_it_was_not_told() -> None:
    assert Outcome(failed=None) == Outcome(None, ttft=None, total=None, caught=None, own=False, session="")


# -- times ------------------------------------------------------------------------------------------------------------


def block_ratios(window: int, canaries: int, slow: int) -> list[float]:
    """Fisher's noncentral hypergeometric against the central one, for each of the odds."""
    places = max(1, round(0.05 * window))
    central = hypergeom(window, canaries, places).pmf(slow)
    return [float(nchypergeom_fisher(window, canaries, places, odds).pmf(slow) / central) for odds in ODDS]


def times_evidence(window: int, blocks: Sequence[tuple[int, int]]) -> float:
    """Of (canary's requests, of them among the slowest) in each block."""
    return evidence([(block_ratios(window, canaries, slow), canaries) for canaries, slow in blocks])


@pytest.mark.parametrize("name", ["ttft", "total"])
@pytest.mark.parametrize(("window", "blocks"), [(20, [(5, 1)]), (40, [(10, 2), (8, 0)]), (100, [(30, 3), (50, 1)])])
def test_the_evidence_of_times_is_the_likelihood_of_so_many_among_the_slowest(
    name: str, window: int, blocks: list[tuple[int, int]]
) -> None:
    bounds = CanaryBounds.model_validate({f"max_{name}_ratio": 1.5, "window": window, "min_requests": 1})
    watching = judge(bounds)
    places = max(1, round(0.05 * window))
    for done, (canaries, slow) in enumerate(blocks, start=1):
        # The canary's slow ones take 1.5 times what the incumbent's slowest take, and just above: slower by the bound.
        theirs = [10.0] * (places - slow) + [2.0] * (window - canaries - places + slow)
        own = [15.1] * slow + [1.0] * (canaries - slow)
        for seconds in own:
            watching.see(CANARY, Outcome(failed=False, ttft=seconds, total=seconds))
        for at, seconds in enumerate(theirs):
            assert the_figure(watching, name).evidence == pytest.approx(
                times_evidence(window, blocks[: done - 1]) / 100 if done > 1 else 0.0
            ), f"nothing is said before the block is whole, at {at}"
            watching.see(INCUMBENT, Outcome(failed=False, ttft=seconds, total=seconds))
        assert the_figure(watching, name).evidence == pytest.approx(times_evidence(window, blocks[:done]) / 100)


def test_a_canary_exactly_on_the_bound_counts_as_the_faster_of_two_equals() -> None:
    watching = judge(CanaryBounds(max_total_ratio=1.5, window=20, min_requests=1))
    for _ in range(10):
        watching.see(CANARY, Outcome(failed=False, total=15.0))
        watching.see(INCUMBENT, Outcome(failed=False, total=10.0))
    assert the_figure(watching, "total").evidence == pytest.approx(times_evidence(20, [(10, 0)]) / 100)


@pytest.mark.parametrize("bound", [0.5, 1.0, 3.0])
def test_beyond_the_longest_time_all_are_equal(bound: float) -> None:
    """Who is not waited for any longer has taken so long as far as anybody knows, whichever version it is."""
    watching = judge(CanaryBounds(max_total_ratio=bound, window=20, min_requests=1))
    for _ in range(10):
        watching.see(CANARY, Outcome(failed=False, total=1e12))
        watching.see(INCUMBENT, Outcome(failed=False, total=LONGEST))
    figure = the_figure(watching, "total")
    assert figure.evidence == pytest.approx(times_evidence(20, [(10, 0)]) / 100)
    assert figure.value == 1.0


def test_a_request_takes_five_minutes_at_the_longest() -> None:
    assert LONGEST == 300.0


def test_an_incumbent_that_takes_no_time_gives_no_ratio_and_one_that_takes_next_to_none_a_number() -> None:
    for theirs, value in ((0.0, 0.0), (5e-324, sys.float_info.max)):
        watching = judge(CanaryBounds(max_total_ratio=1.5))
        watching.see(CANARY, Outcome(failed=False, total=3.0))
        watching.see(INCUMBENT, Outcome(failed=False, total=theirs))
        assert the_figure(watching, "total").value == value


def test_without_the_incumbents_times_there_is_no_ratio() -> None:
    watching = judge(CanaryBounds(max_total_ratio=1.5))
    watching.see(CANARY, Outcome(failed=False, total=3.0))
    figure = the_figure(watching, "total")
    assert (figure.value, figure.n, figure.evidence) == (0.0, 1, 0.0)
    watching.see(INCUMBENT, Outcome(failed=False, total=2.0))
    assert the_figure(watching, "total").value == 1.5


def test_a_block_of_one_version_alone_says_nothing() -> None:
    for whose in (INCUMBENT, CANARY):
        watching = judge(CanaryBounds(max_total_ratio=1.5, window=20, min_requests=1))
        for _ in range(20):
            watching.see(whose, Outcome(failed=False, total=3.0))
        assert the_figure(watching, "total").evidence <= 0.01 * 20 / 120 + 1e-12


def test_nothing_was_seen_of_a_canary_at_first() -> None:
    watching = judge(CanaryBounds(max_error_rate=0.1, max_total_ratio=1.5))
    assert [(one.value, one.baseline, one.n, one.evidence) for one in watching.figures()] == [(0.0, None, 0, 0.0)] * 2


def test_times_count_once_the_canary_has_enough_requests_in_whole_blocks() -> None:
    watching = judge(CanaryBounds(max_total_ratio=1.5, window=20, min_requests=10))
    for block in range(2):
        for _ in range(5):
            watching.see(CANARY, Outcome(failed=False, total=100.0))
        for _ in range(15):
            watching.see(INCUMBENT, Outcome(failed=False, total=1.0))
        assert (the_figure(watching, "total").evidence > 0) == (block == 1)


# -- everything stays in range ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("window", "canaries"), [(20, 1), (100, 50), (10_000, 500), (10_000, 5_000), (10_000, 9_999)])
def test_any_window_has_ratios_in_range(window: int, canaries: int) -> None:
    places = round(0.05 * window)
    for slow in {max(0, places - (window - canaries)), min(places, canaries)}:
        ratios = noncentral(window, canaries, places, slow)
        assert all(math.isfinite(ratio) for ratio in ratios)
        assert (max(ratios) > 0) or slow == 0 or canaries in (1, 9_999)


def test_the_ratios_average_to_one_for_a_canary_on_its_bound() -> None:
    for window, canaries in ((20, 3), (400, 200), (10_000, 1_000)):
        places = round(0.05 * window)
        central = hypergeom(window, canaries, places)
        counts = range(max(0, places - window + canaries), min(places, canaries) + 1)
        for at in range(len(ODDS)):
            mean = sum(
                central.pmf(count) * math.exp(noncentral(window, canaries, places, count)[at])
                for count in counts
                if central.pmf(count) > 1e-250
            )
            # Of the largest odds most of the mean is where the distribution has next to nothing.
            assert mean <= 1 + 1e-6
            if ODDS[at] <= 4 or window == 20:
                assert mean == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("bound", [1e-300, 1e-9, 0.5, 1 - 1e-12])
@pytest.mark.parametrize("weight", [1e-9, 0.5, 1 - 1e-9])
def test_any_number_of_requests_leaves_every_figure_a_number(bound: float, weight: float) -> None:
    """100,000 failures are a factor of e^300,000: far out of a float's range."""
    bounds = CanaryBounds.model_validate(
        {"max_error_rate": bound, "max_total_ratio": 1e-300, "max_ttft_ratio": 1e300, "window": 1000}
    )
    watching = judge(bounds, {INCUMBENT: 1 - weight, CANARY: weight})
    for bad in (True, False):
        for _ in range(1_500):
            watching.see(CANARY, Outcome(failed=bad, ttft=1e300, total=1e-320))
            watching.see(INCUMBENT, Outcome(failed=not bad, ttft=5e-324, total=300))
        for figure in watching.figures():
            text = json.dumps(figure.model_dump(mode="json"), allow_nan=False)
            assert json.loads(text)["evidence"] >= 0


def test_evidence_beyond_the_range_of_numbers_is_kept_and_told_as_the_largest() -> None:
    evidence = Evidence()
    for _ in range(100_000):
        evidence.multiply([3.0] * len(ODDS))
    assert evidence.log == pytest.approx(300_000, abs=10)
    assert finite(evidence.log) == pytest.approx(math.exp(700))
    for _ in range(100_000):
        evidence.multiply([-3.0] * len(ODDS))
    assert abs(evidence.log) < 10, "what came back was not lost beyond the range"
    assert finite(Evidence().log) == 0.0


def test_evidence_reaches_what_it_is_and_nothing_above() -> None:
    """The mean over the odds counts, not the largest and not the smallest of them."""
    alike, mixed = Evidence(), Evidence()
    alike.multiply([3.0] * len(ODDS))
    mixed.multiply([float(at) for at in range(len(ODDS))])
    for evidence in (alike, mixed):
        assert evidence.reaches(evidence.log)
        assert not evidence.reaches(math.nextafter(evidence.log, math.inf))
    assert not Evidence().reaches(-1e300)


def test_half_of_the_belief_is_that_trouble_begins_within_a_hundred_requests() -> None:
    evidence = Evidence()
    beliefs = []
    for _ in range(200):
        evidence.multiply([0.0] * len(ODDS))
        beliefs.append(math.exp(evidence.log))
    assert (beliefs[99], beliefs[199]) == (pytest.approx(1 / 2), pytest.approx(2 / 3))
    before = evidence.log
    evidence.multiply([0.0] * len(ODDS), begins=0)
    assert evidence.log == before
