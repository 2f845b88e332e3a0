"""Intervals of figures against known values and other implementations, and their properties."""

from __future__ import annotations

import random
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.statistics import intervals as statistics
from lifecycle.errors import InvalidInput

calm = partial(settings, deadline=None, derandomize=True)
scores = st.floats(0, 1, allow_subnormal=False)


def test_wilson_against_published_values() -> None:
    # Newcombe 1998 (Statistics in Medicine 17), table I, method 3
    assert statistics.wilson(81, 263).low == pytest.approx(0.2553, abs=5e-5)
    assert statistics.wilson(81, 263).high == pytest.approx(0.3662, abs=5e-5)
    assert statistics.wilson(0, 20).high == pytest.approx(0.1611, abs=5e-5)
    assert statistics.wilson(1, 29).low == pytest.approx(0.0061, abs=5e-5)
    # and the two that evaluators quote
    assert (statistics.wilson(17, 20).low, statistics.wilson(17, 20).high) == pytest.approx((0.640, 0.948), abs=5e-4)
    assert (statistics.wilson(5, 5).low, statistics.wilson(5, 5).high) == pytest.approx((0.566, 1.0), abs=5e-4)


@calm(max_examples=60)
@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_agrees_with_scipy_and_holds_its_share(case: tuple[int, int]) -> None:
    from scipy.stats import binomtest

    found = statistics.wilson(*case)
    expected = binomtest(*case).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-9)
    assert 0.0 <= found.low <= found.value <= found.high <= 1.0


def test_a_share_of_independent_items_has_wilsons_interval() -> None:
    assert statistics.mean_interval([1.0] * 17 + [0.0] * 3) == statistics.wilson(17, 20)


def test_the_figure_over_clusters_of_one_item_is_that_of_the_items() -> None:
    values = [1.0] * 150 + [0.0] * 50
    alone, each = statistics.mean_interval(values), statistics.mean_interval(values, clusters=range(200))
    assert (each.value, each.n, each.clusters) == (alone.value, 200, 200)
    assert alone.clusters is None
    # Student's t in place of the normal point, and never more sure than independent items
    assert each.low == pytest.approx(alone.low, abs=0.002)
    assert each.low <= alone.low
    assert each.high >= alone.high


def test_items_that_repeat_in_a_cluster_count_once() -> None:
    draw = random.Random(5)
    originals = [float(draw.random() < 0.7) for _ in range(40)]
    labels = [place for place in range(40) for _ in range(10)]
    repeated = statistics.mean_interval([value for value in originals for _ in range(10)], clusters=labels)
    alone = statistics.mean_interval(originals, clusters=range(40))
    assert (repeated.low, repeated.high) == pytest.approx((alone.low, alone.high), abs=1e-9)
    naive = statistics.wilson(int(10 * sum(originals)), 400)
    assert repeated.high - repeated.low > 2.5 * (naive.high - naive.low)


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_clusters_that_are_all_alike_prove_no_more_than_their_number(value: float) -> None:
    found = statistics.mean_interval([value] * 80, clusters=[place // 4 for place in range(80)])
    alone = statistics.wilson(int(20 * value), 20)
    width = found.high - found.low
    assert alone.high - alone.low < width < 1.2 * (alone.high - alone.low)  # 20 units, by t with 19 degrees


def test_clusters_whose_items_differ_prove_no_more_than_their_items() -> None:
    """One right and one wrong in nearly every pair: the pairs vary less than chance would have them."""
    pairs = [[1.0, 0.0]] * 18 + [[1.0, 1.0], [0.0, 0.0]]
    values = [value for pair in pairs for value in pair]
    names = [str(number) for number, pair in enumerate(pairs) for _ in pair]
    found, alone = statistics.mean_interval(values, clusters=names), statistics.wilson(20, 40)
    assert found.value == 0.5
    assert found.low <= alone.low
    assert found.high >= alone.high


def test_one_cluster_says_nothing() -> None:
    found = statistics.mean_interval([1.0, 0.0, 1.0], clusters=["a", "a", "a"])
    assert (found.low, found.high, found.clusters) == (0.0, 1.0, 1)


def test_a_graded_figure_is_near_students_interval_and_stays_within_its_range() -> None:
    from scipy.stats import t

    draw = random.Random(3)
    values = [draw.betavariate(4, 3) for _ in range(120)]
    mean = sum(values) / 120
    spread = (sum((value - mean) ** 2 for value in values) / 119 / 120) ** 0.5
    found = statistics.mean_interval(values)
    assert (found.low, found.high) == pytest.approx(t.interval(0.95, 119, loc=mean, scale=spread), abs=0.002)
    assert found.clusters is None
    high = statistics.mean_interval([1.0] * 148 + [0.5, 0.6])
    assert 0.975 < high.low < high.value < high.high < 1.0


def test_equal_graded_scores_are_not_taken_for_certainty() -> None:
    found = statistics.mean_interval([0.5] * 50)
    assert (found.low, found.high) == pytest.approx((0.364, 0.636), abs=0.002)


def test_a_figure_beyond_0_and_1_has_students_interval() -> None:
    from scipy.stats import t

    values = [2.0, 5.0, 3.0, 8.0, 4.5]
    found = statistics.mean_interval(values)
    expected = t.interval(0.95, 4, loc=4.5, scale=(sum((v - 4.5) ** 2 for v in values) / 4 / 5) ** 0.5)
    assert (found.low, found.high) == pytest.approx(expected)


@calm(max_examples=100)
@given(st.lists(st.tuples(scores, st.integers(0, 8)), min_size=1, max_size=40))
def test_the_interval_of_a_mean_holds_it_and_stays_in_range(cases: list[tuple[float, int]]) -> None:
    values, labels = zip(*cases, strict=True)
    found = statistics.mean_interval(values, clusters=labels)
    assert -1e-9 <= found.low <= found.value + 1e-9
    assert found.value - 1e-9 <= found.high <= 1.0 + 1e-9
    assert found.value == pytest.approx(sum(values) / len(values))
    assert found.clusters == len(set(labels))


@pytest.mark.parametrize("share", [0.5, 0.95])
def test_the_interval_over_unequal_clusters_covers_the_truth_as_often_as_it_says(share: float) -> None:
    draw, hits, runs = random.Random(11), 0, 300
    sizes = [1, 2, 3, 6, 12] * 8
    for _ in range(runs):
        values, labels = [], []
        for label, size in enumerate(sizes):
            knows = draw.betavariate(4 * share, 4 * (1 - share))  # items of a cluster share their difficulty
            values += [float(draw.random() < knows) for _ in range(size)]
            labels += [label] * size
        found = statistics.mean_interval(values, clusters=labels)
        hits += found.low <= share <= found.high
    assert hits >= 273  # 95 % of 300 is 285; a right method falls below 273 about once in 1,000 runs


@pytest.mark.parametrize(("difference", "items"), [(0.05, 626), (0.10, 155)])
def test_items_for_power_of_the_textbook(difference: float, items: int) -> None:
    assert statistics.items_for_power(difference, 0.2) == items


def test_items_from_an_interval_agree_with_items_for_power() -> None:
    # 20 % discordant items, no difference: one item's difference has the variance 0.2
    n, width = 400, 2 * 1.96 * (0.2 / 400) ** 0.5
    assert statistics.items_from_interval(width, n, 0.05) == pytest.approx(626, rel=0.01)


@pytest.mark.parametrize(
    "empty",
    [
        lambda: statistics.wilson(0, 0),
        lambda: statistics.mean_interval([]),
    ],
)
def test_nothing_has_no_figure(empty) -> None:
    with pytest.raises(InvalidInput):
        empty()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: statistics.mean_interval([float("nan"), 0.5]),
        lambda: statistics.mean_interval([0.1, 0.2], clusters=["a"]),
        lambda: statistics.items_for_power(0.3, 0.2),
        lambda: statistics.items_for_power(0.0, 0.2),
        lambda: statistics.items_from_interval(0.0, 10, 0.05),
        lambda: statistics.items_from_interval(0.1, 0, 0.05),
        lambda: statistics.items_from_interval(0.1, 10, 0.0),
    ],
)
def test_input_that_makes_no_sense_is_refused(wrong) -> None:
    with pytest.raises(InvalidInput):
        wrong()


def test_one_score_beyond_1_makes_the_figure_one_beyond_shares() -> None:
    from scipy.stats import t

    values = [0.2, 0.9, 3.0, 0.4, 0.5]
    scale = (sum((v - 1.0) ** 2 for v in values) / 4 / 5) ** 0.5
    found = statistics.mean_interval(values)
    assert (found.low, found.high) == pytest.approx(t.interval(0.95, 4, loc=1.0, scale=scale))
    assert found.low < 0.0
    assert found.high > 1.0


def test_bounds_within_what_was_seen_are_students_alone() -> None:
    from scipy.stats import t

    values = [-0.6] + [-0.1, 0.1] * 20 + [0.6]
    found = statistics.spread(*statistics.totals(values, None))
    expected = t.interval(0.95, 41, loc=0.0, scale=float(found.se))
    assert statistics.t_bounds(found) == pytest.approx(expected)


def test_bounds_beyond_what_was_seen_reach_at_least_to_what_could_have_been_missed() -> None:
    found = statistics.spread(*statistics.totals([0.2] * 10, None))
    unseen = 0.025 ** (1 / 10)
    assert statistics.t_bounds(found) == pytest.approx((-1 + 1.2 * unseen, 1 - 0.8 * unseen))
    assert statistics.t_bounds(found, -float("inf"), float("inf")) == pytest.approx((0.2, 0.2))


def test_two_clusters_say_something() -> None:
    found = statistics.mean_interval([0.4, 0.6], clusters=["a", "b"])
    assert 0.0 < found.low < 0.5 < found.high < 1.0
    spread = statistics.spread(*statistics.totals([0.01, 0.02], None))
    low, high = statistics.t_bounds(spread)
    assert -1.0 < low < high < 1.0
    assert statistics.t_bounds(statistics.spread(*statistics.totals([0.01], None))) == (-1.0, 1.0)


def test_a_score_just_beyond_1_makes_the_figure_one_beyond_shares_too() -> None:
    share, beyond = (statistics.mean_interval([0.2, 0.9, most, 0.4]) for most in (1.0, 1.001))
    assert share.high <= 1.0
    assert beyond.high > 1.0


def test_a_mean_of_counts_has_no_upper_end_even_where_all_counts_are_0_or_1() -> None:
    values = [0.0] * 3 + [1.0] * 3
    share, mean = statistics.mean_interval(values), statistics.mean_interval(values, counts=True)
    assert share.value == mean.value == 0.5
    assert (mean.low, mean.high) == (pytest.approx(-0.0749, abs=1e-3), pytest.approx(1.0749, abs=1e-3))
    one = statistics.mean_interval([3.0], counts=True)
    assert (one.low, one.value, one.high) == (3.0, 3.0, 3.0)
    assert statistics.mean_interval([3.0]).high == 3.0, "no infinity, which no report could hold"
