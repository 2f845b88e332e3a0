"""The canary's evidence to the digit, held against scipy's distributions and the detector's definition."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from scipy.stats import hypergeom, nchypergeom_fisher

from lifecycle.traffic import CanaryBounds
from service.traffic.canary import Figure, Judge, Outcome

INCUMBENT, CANARY = 1, 2
ODDS = (1.5, 2.0, 4.0, 8.0, 20.0, 60.0, 200.0)
"""As the module's docstring promises: a fixed mixture. Another one finds trouble later or sooner."""


def shiryaev_roberts(ratios: Sequence[float], weights: Sequence[int] | None = None) -> float:
    """By its definition: over every point where the trouble may have begun, the product of all ratios since."""
    weights = weights or [1] * len(ratios)
    return sum(weights[start] * math.prod(ratios[start:]) for start in range(len(ratios)))


def rate_evidence(bound: float, outcomes: Sequence[bool]) -> float:
    sums = []
    for multiple in ODDS:
        odds = bound / (1 - bound) * multiple
        share = odds / (1 + odds)
        sums.append(shiryaev_roberts([share / bound if bad else (1 - share) / (1 - bound) for bad in outcomes]))
    return sum(sums) / len(ODDS)


def the_figure(judge: Judge, name: str, canary: int = CANARY) -> Figure:
    (figure,) = [one for one in judge.figures() if (one.name, one.canary) == (name, canary)]
    return figure


@pytest.mark.parametrize("bound", [0.02, 0.3])
def test_the_evidence_of_failures_is_the_detectors_definition(bound: float) -> None:
    judge = Judge(CanaryBounds(max_error_rate=bound, min_requests=1, false_alarm_every=10_000), INCUMBENT, [CANARY])
    outcomes = [False, False, True, False, True, False]
    for at, bad in enumerate(outcomes, start=1):
        judge.see(CANARY, Outcome(failed=bad))
        figure = the_figure(judge, "error_rate")
        assert figure.evidence == pytest.approx(rate_evidence(bound, outcomes[:at]) / 10_000)
        assert (figure.n, figure.bad, figure.value) == (at, sum(outcomes[:at]), sum(outcomes[:at]) / at)


def test_the_limit_is_shared_by_every_figure_of_every_canary() -> None:
    bounds = CanaryBounds(
        max_error_rate=0.1, max_ttft_ratio=2, guards={"empty": 0.1}, min_requests=1, false_alarm_every=5_000
    )
    judge = Judge(bounds, INCUMBENT, [2, 3])
    judge.see(3, Outcome(failed=True))
    assert the_figure(judge, "error_rate", 3).evidence == pytest.approx(rate_evidence(0.1, [True]) / (5_000 * 3 * 2))
    assert the_figure(judge, "error_rate", 2).evidence == 0.0


def test_the_verdict_falls_at_the_request_that_brings_the_evidence_to_one() -> None:
    judge = Judge(CanaryBounds(max_error_rate=0.05, min_requests=1, false_alarm_every=1_000), INCUMBENT, [CANARY])
    outcomes: list[bool] = []
    while True:
        outcomes.append(len(outcomes) % 3 != 0)
        verdict = judge.see(CANARY, Outcome(failed=outcomes[-1]))
        assert (verdict is not None) == (rate_evidence(0.05, outcomes) >= 1_000)
        if verdict is not None:
            break
    assert 3 < len(outcomes) < 12


def test_the_figures_are_of_the_last_window_and_the_evidence_is_of_all() -> None:
    bounds = CanaryBounds(max_error_rate=0.5, window=20, min_requests=1, max_total_ratio=9)
    judge = Judge(bounds, INCUMBENT, [CANARY])
    for at in range(30):
        judge.see(CANARY, Outcome(failed=at < 15, total=1.0 if at < 10 else 3.0))
        judge.see(INCUMBENT, Outcome(failed=True, total=100.0 if at < 10 else 2.0))
    errors, total = the_figure(judge, "error_rate"), the_figure(judge, "total")
    assert (errors.bad, errors.n, errors.value) == (5, 20, 0.25)
    assert (total.bad, total.n, total.value) == (None, 20, 1.5)
    assert errors.evidence == pytest.approx(rate_evidence(0.5, [at < 15 for at in range(30)]) / 200_000)


@pytest.mark.parametrize("guard", ["empty", "cut_off"])
def test_a_guards_share_is_judged_as_errors_are(guard: str) -> None:
    judge = Judge(CanaryBounds.model_validate({"guards": {guard: 0.1}, "min_requests": 1}), INCUMBENT, [CANARY])
    judge.see(CANARY, Outcome(failed=False, found=frozenset({guard})))  # type: ignore[arg-type]
    judge.see(CANARY, Outcome(failed=False, found=frozenset()))
    judge.see(CANARY, Outcome(failed=True, found=None))
    figure = the_figure(judge, guard)
    assert (figure.bad, figure.n) == (1, 2)
    assert figure.evidence == pytest.approx(rate_evidence(0.1, [True, False]) / 100_000)


# -- times ------------------------------------------------------------------------------------------------------------


def block_ratios(window: int, canaries: int, slow: int) -> list[float]:
    """Fisher's noncentral hypergeometric against the central one, for each of the odds."""
    places = max(1, round(0.05 * window))
    central = hypergeom(window, canaries, places).pmf(slow)
    return [float(nchypergeom_fisher(window, canaries, places, odds).pmf(slow) / central) for odds in ODDS]


def times_evidence(window: int, blocks: Sequence[tuple[int, int]]) -> float:
    """Of (canary's requests, of them among the slowest) in each block."""
    by_block = [block_ratios(window, canaries, slow) for canaries, slow in blocks]
    weights = [canaries for canaries, _ in blocks]
    return sum(shiryaev_roberts(ratios, weights) for ratios in zip(*by_block, strict=True)) / len(ODDS)


@pytest.mark.parametrize("name", ["ttft", "total"])
@pytest.mark.parametrize(("window", "blocks"), [(20, [(5, 1)]), (40, [(10, 2), (8, 0)]), (100, [(30, 3), (50, 1)])])
def test_the_evidence_of_times_is_the_likelihood_of_so_many_among_the_slowest(
    name: str, window: int, blocks: list[tuple[int, int]]
) -> None:
    bounds = CanaryBounds.model_validate({f"max_{name}_ratio": 1.5, "window": window, "min_requests": 1})
    judge = Judge(bounds, INCUMBENT, [CANARY])
    places = max(1, round(0.05 * window))
    for done, (canaries, slow) in enumerate(blocks, start=1):
        # The canary's slow ones take 1.5 times what the incumbent's slowest take, and just above: slower by the bound.
        theirs = [10.0] * (places - slow) + [2.0] * (window - canaries - places + slow)
        own = [15.1] * slow + [1.0] * (canaries - slow)
        for seconds in own:
            judge.see(CANARY, Outcome(failed=False, ttft=seconds, total=seconds))
        for at, seconds in enumerate(theirs):
            assert the_figure(judge, name).evidence == pytest.approx(
                times_evidence(window, blocks[: done - 1]) / 100_000 if done > 1 else 0.0
            ), f"nothing is said before the block is whole, at {at}"
            judge.see(INCUMBENT, Outcome(failed=False, ttft=seconds, total=seconds))
        assert the_figure(judge, name).evidence == pytest.approx(times_evidence(window, blocks[:done]) / 100_000)


def test_a_canary_exactly_on_the_bound_counts_as_the_faster_of_two_equals() -> None:
    judge = Judge(CanaryBounds(max_total_ratio=1.5, window=20, min_requests=1), INCUMBENT, [CANARY])
    for _ in range(10):
        judge.see(CANARY, Outcome(failed=False, total=15.0))
        judge.see(INCUMBENT, Outcome(failed=False, total=10.0))
    assert the_figure(judge, "total").evidence == pytest.approx(times_evidence(20, [(10, 0)]) / 100_000)


def test_without_the_incumbents_times_there_is_no_ratio() -> None:
    judge = Judge(CanaryBounds(max_total_ratio=1.5), INCUMBENT, [CANARY])
    judge.see(CANARY, Outcome(failed=False, total=3.0))
    figure = the_figure(judge, "total")
    assert (figure.value, figure.n, figure.evidence) == (0.0, 1, 0.0)
    judge.see(INCUMBENT, Outcome(failed=False, total=2.0))
    assert the_figure(judge, "total").value == 1.5


def test_nothing_was_seen_of_a_canary_at_first() -> None:
    judge = Judge(CanaryBounds(max_error_rate=0.1, max_total_ratio=1.5), INCUMBENT, [CANARY])
    assert [(one.value, one.n, one.evidence) for one in judge.figures()] == [(0.0, 0, 0.0)] * 2


def test_times_count_once_the_canary_has_enough_requests_in_whole_blocks() -> None:
    bounds = CanaryBounds(max_total_ratio=1.5, window=20, min_requests=10, false_alarm_every=1_000)
    judge = Judge(bounds, INCUMBENT, [CANARY])
    for block in range(2):
        for _ in range(5):
            judge.see(CANARY, Outcome(failed=False, total=100.0))
        for _ in range(15):
            judge.see(INCUMBENT, Outcome(failed=False, total=1.0))
        assert (the_figure(judge, "total").evidence > 0) == (block == 1)
