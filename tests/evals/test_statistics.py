"""Intervals and tests against known values and other implementations, and their properties."""

from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import statistics
from lifecycle.errors import InvalidInput

calm = partial(settings, deadline=None, derandomize=True)
shares = st.lists(st.floats(0, 1), min_size=2, max_size=40)
answers = st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=80)


def test_wilson_against_published_values() -> None:
    # Newcombe 1998 (Statistics in Medicine 17), table I, method 3
    assert statistics.wilson(81, 263).low == pytest.approx(0.2553, abs=5e-5)
    assert statistics.wilson(81, 263).high == pytest.approx(0.3662, abs=5e-5)
    assert statistics.wilson(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert statistics.wilson(1, 29).low == pytest.approx(0.0061, abs=5e-5)


@calm(max_examples=60)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy_and_holds_its_share(case: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    found = statistics.wilson(*case)
    expected = binomtest(*case).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


@calm(max_examples=60)
@given(answers)
def test_mcnemar_is_statsmodels_exact_test(pairs: list[tuple[bool, bool]]) -> None:
    from statsmodels.stats.contingency_tables import mcnemar

    table = [[0, 0], [0, 0]]
    for first, second in pairs:
        table[first][second] += 1
    expected = mcnemar(table, exact=True).pvalue if table[0][1] + table[1][0] else 1.0
    found = statistics.mcnemar([float(a) for a, _ in pairs], [float(b) for _, b in pairs])
    assert found == pytest.approx(expected)


def test_holm_of_a_worked_example() -> None:
    # R: p.adjust(c(0.01, 0.04, 0.03, 0.005), "holm")
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@calm(max_examples=60)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_holm_keeps_the_order_and_lies_between_the_raw_and_bonferronis_p(p_values: list[float]) -> None:
    adjusted = statistics.holm(p_values)
    pairs = sorted(zip(p_values, adjusted, strict=True))
    assert [after for _, after in pairs] == sorted(adjusted)
    assert pairs[0][1] == pytest.approx(min(1.0, pairs[0][0] * len(p_values)))
    assert all(raw <= after <= 1.0 for raw, after in pairs)


def test_holm_of_nothing_is_nothing() -> None:
    assert statistics.holm([]) == []


@calm(max_examples=15)
@given(shares)
def test_the_interval_of_a_mean_holds_it_and_stays_in_range(values: list[float]) -> None:
    found = statistics.mean_interval(values, seed=1)
    # BCa may lie to one side of a mean that one far value pulls; it must still be an interval within the scores.
    assert -1e-9 <= found.low <= found.high <= 1.0 + 1e-9
    assert found.value == pytest.approx(sum(values) / len(values))


def test_bca_against_scipys_own_call() -> None:
    import numpy as np
    from scipy.stats import bootstrap

    draw = random.Random(3)
    values = [draw.betavariate(2, 5) - draw.betavariate(5, 2) for _ in range(60)]
    expected = bootstrap((values,), np.mean, n_resamples=9_999, method="BCa", rng=np.random.default_rng(5))
    found = statistics.paired_interval(values, seed=5)
    assert found.low == pytest.approx(expected.confidence_interval.low, abs=0.01)
    assert found.high == pytest.approx(expected.confidence_interval.high, abs=0.01)


def test_the_paired_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    draw, hits = random.Random(11), 0
    for trial in range(120):
        differences = [float(draw.random() < 0.35) - float(draw.random() < 0.25) for _ in range(80)]
        found = statistics.paired_interval(differences, seed=trial)
        hits += found.low <= 0.10 <= found.high
    assert 106 <= hits <= 120  # 95 % of 120 is 114; a right method falls below 106 about once in 1,000 runs


@calm(max_examples=15)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30))
def test_turning_the_pair_round_mirrors_the_difference(differences: list[float]) -> None:
    there = statistics.paired_interval(differences, seed=2)
    back = statistics.paired_interval([-d for d in differences], seed=2)
    assert back.value == pytest.approx(-there.value)
    assert (back.low, back.high) == pytest.approx((-there.high, -there.low), abs=0.06)


def test_the_same_seed_gives_the_same_interval_and_another_seed_nearly_so() -> None:
    values = [0.1, 0.9, 0.4, 0.5, 0.2, 0.7, 0.6]
    once, again, other = (statistics.mean_interval(values, seed=seed) for seed in (1, 1, 2))
    assert once == again
    assert other.low == pytest.approx(once.low, abs=0.05)


@pytest.mark.parametrize(("value", "low", "high"), [(0.0, -0.06, 0.06), (1.0, 0.88, 1.0), (-1.0, -1.0, -0.88)])
def test_equal_differences_are_not_taken_for_certainty(value: float, low: float, high: float) -> None:
    found = statistics.paired_interval([value] * 50, seed=1)
    assert (found.low, found.high) == pytest.approx((low, high))


def test_clusters_that_repeat_one_item_widen_the_interval() -> None:
    draw = random.Random(5)
    originals = [draw.uniform(-1, 1) for _ in range(20)]
    repeated = [value for value in originals for _ in range(10)]
    labels = [place for place in range(20) for _ in range(10)]
    naive = statistics.paired_interval(repeated, seed=1)
    clustered = statistics.paired_interval(repeated, seed=1, clusters=labels)
    alone = statistics.paired_interval(originals, seed=1)
    assert clustered.high - clustered.low > 2 * (naive.high - naive.low)
    assert clustered.high - clustered.low == pytest.approx(alone.high - alone.low, rel=0.05)


def test_the_bootstrap_p_is_small_for_a_real_difference_and_large_for_none() -> None:
    draw = random.Random(7)
    none = [draw.gauss(0.0, 0.2) for _ in range(100)]
    mean = sum(none) / len(none)
    assert statistics.bootstrap_p([value - mean for value in none], seed=1) == 1.0
    assert statistics.bootstrap_p([value + 0.2 for value in none], seed=1) < 0.001
    assert statistics.bootstrap_p([0.0] * 10, seed=1) == 1.0


def test_the_bootstrap_p_is_near_the_t_tests() -> None:
    from scipy.stats import ttest_1samp

    draw = random.Random(13)
    values = [draw.gauss(0.05, 0.2) for _ in range(60)]
    assert statistics.bootstrap_p(values, seed=3) == pytest.approx(ttest_1samp(values, 0).pvalue, abs=0.02)


@pytest.mark.parametrize(("difference", "items"), [(0.05, 626), (0.10, 155)])
def test_items_for_power_of_the_textbook(difference: float, items: int) -> None:
    assert statistics.items_for_power(difference, 0.2) == items


def test_items_from_an_interval_agree_with_items_for_power() -> None:
    # 20 % discordant items, no difference: one item's difference has the variance 0.2
    n, width = 400, 2 * 1.96 * (0.2 / 400) ** 0.5
    assert statistics.items_from_interval(width, n, 0.05) == pytest.approx(626, rel=0.01)


def test_no_miss_in_n_bounds_the_rate_at_three_in_n() -> None:
    assert statistics.rule_of_three(60) == pytest.approx(0.05)
    assert statistics.rule_of_three(2) == 1.0


@pytest.mark.parametrize(
    "empty",
    [
        lambda: statistics.wilson(0, 0),
        lambda: statistics.mean_interval([], seed=1),
        lambda: statistics.paired_interval([], seed=1),
        lambda: statistics.bootstrap_p([], seed=1),
        lambda: statistics.mcnemar([], []),
        lambda: statistics.rule_of_three(0),
    ],
)
def test_nothing_has_no_figure(empty) -> None:
    with pytest.raises(InvalidInput):
        empty()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: statistics.mean_interval([float("nan"), 0.5], seed=1),
        lambda: statistics.mcnemar([1.0], [1.0, 0.0]),
        lambda: statistics.paired_interval([0.1, 0.2], seed=1, clusters=["a"]),
        lambda: statistics.items_for_power(0.3, 0.2),
        lambda: statistics.items_from_interval(0.0, 10, 0.05),
    ],
)
def test_input_that_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(InvalidInput):
        wrong()
