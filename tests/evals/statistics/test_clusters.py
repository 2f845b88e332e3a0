"""Clusters count once: their spread by hand, Student's tail with its floor, and the sign-flip test by enumeration."""

from __future__ import annotations

import itertools
import random
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.statistics.clusters import sign_flip, spread, t_tail, totals
from lifecycle.errors import InvalidInput

calm = partial(settings, deadline=None, derandomize=True)
UNEQUAL = (np.array([1.0, 2.0, -1.0, 4.0]), np.array([1.0, 3.0, 2.0, 6.0]))


def test_items_are_put_together_by_their_label_in_the_order_of_first_appearance() -> None:
    sums, sizes = totals([1.0, 0.0, 1.0, 0.5], ["b", "a", "b", "c"])
    assert (sums.tolist(), sizes.tolist()) == ([2.0, 0.0, 0.5], [2.0, 1.0, 1.0])


def test_without_labels_every_item_is_a_cluster() -> None:
    sums, sizes = totals([1.0, 0.0], None)
    assert (sums.tolist(), sizes.tolist()) == ([1.0, 0.0], [1.0, 1.0])


@pytest.mark.parametrize(
    ("values", "labels"), [([], None), ([float("inf")], None), ([0.1, 0.2], ["a"]), ([0.1], ["a", "b"])]
)
def test_what_makes_no_sample_is_refused(values, labels) -> None:
    with pytest.raises(InvalidInput):
        totals(values, labels)


def test_the_spread_of_unequal_clusters_leaves_out_one_at_a_time() -> None:
    sums, sizes = UNEQUAL
    found = spread(sums, sizes)
    whole = 6 / 12
    left_out = [5 / 11, 4 / 9, 7 / 10, 2 / 6]
    assert found.mean == whole
    assert found.se == pytest.approx((3 / 4 * sum((one - whole) ** 2 for one in left_out)) ** 0.5)
    assert (found.clusters, found.least, found.most) == (4, -0.5, 1.0)
    assert found.effective == pytest.approx(144 / 50)


@calm(max_examples=60)
@given(st.lists(st.floats(-1, 1, allow_subnormal=False), min_size=2, max_size=40))
def test_independent_items_have_the_usual_standard_error(values: list[float]) -> None:
    found = spread(*totals(values, None))
    usual = np.std(values, ddof=1) / len(values) ** 0.5
    assert found.se == pytest.approx(0.0 if usual < 1e-12 else usual, abs=1e-11)
    assert found.effective == pytest.approx(len(values))


def test_many_samples_at_once_give_what_each_gives_alone() -> None:
    sums, sizes = UNEQUAL
    both = spread(np.stack([sums, -sums]), sizes)
    assert both.mean.tolist() == [0.5, -0.5]
    assert both.se[0] == both.se[1] == spread(sums, sizes).se
    assert t_tail(both, -0.1).tolist() == [
        pytest.approx(float(t_tail(spread(sums, sizes), -0.1))),
        pytest.approx(float(t_tail(spread(-sums, sizes), -0.1))),
    ]


def test_the_tail_of_independent_items_is_the_one_sample_t_test() -> None:
    from scipy.stats import ttest_1samp

    draw = random.Random(13)
    values = [draw.gauss(0.05, 0.2) for _ in range(60)]
    found = spread(*totals(values, None))
    for bound in (0.0, -0.02, 0.04):
        assert float(t_tail(found, bound)) == pytest.approx(ttest_1samp(values, bound, alternative="greater").pvalue)


def test_the_tail_of_unequal_clusters_has_their_effective_number_less_one() -> None:
    from scipy.stats import t

    found = spread(*UNEQUAL)
    assert float(t_tail(found, 0.0)) == pytest.approx(t.sf(0.5 / float(found.se), 144 / 50 - 1))


@pytest.mark.parametrize("n", [1, 10, 50, 500])
def test_items_without_a_flip_prove_no_more_than_their_number(n: int) -> None:
    # a loss of 2 points needs 1 item in 50 that is lost: the chance of drawing none of them
    found = spread(*totals([0.0] * n, None))
    assert float(t_tail(found, -0.02)) == pytest.approx(1.0 if n == 1 else 0.98**n)


def test_small_wins_everywhere_do_not_hide_a_rare_loss() -> None:
    # +0.05 in each of 20 clusters: the mean is 0 if 1 cluster in 21 is lost whole
    found = spread(np.full(20, 0.05), np.ones(20))
    assert float(t_tail(found, 0.0)) == pytest.approx((1 - 0.05 / 1.05) ** 20)
    assert float(t_tail(found, 0.1)) == 1.0


def test_the_floor_is_silent_where_a_cluster_lies_below_the_bound() -> None:
    found = spread(np.array([1.0] * 30 + [-0.01]), np.ones(31))
    assert float(t_tail(found, 0.0)) < 1e-12


@calm(max_examples=60)
@given(st.lists(st.integers(-4, 4), min_size=1, max_size=9))
def test_the_sign_flip_test_is_what_counting_all_signs_gives(sums: list[int]) -> None:
    signs = itertools.product((-1, 1), repeat=len(sums))
    hits = [abs(sum(a * b for a, b in zip(sums, one, strict=True))) >= abs(sum(sums)) for one in signs]
    assert sign_flip(np.array(sums, dtype=float)) == pytest.approx(sum(hits) / len(hits))


def test_graded_totals_are_flipped_nearly_as_they_are() -> None:
    draw = random.Random(2)
    sums = [draw.uniform(-0.3, 0.6) for _ in range(12)]
    signs = itertools.product((-1, 1), repeat=12)
    hits = [abs(sum(a * b for a, b in zip(sums, one, strict=True))) >= abs(sum(sums)) - 1e-12 for one in signs]
    assert sign_flip(np.array(sums)) == pytest.approx(sum(hits) / len(hits), rel=0.03)


def test_single_yes_no_items_are_flipped_as_mcnemar_does() -> None:
    from scipy.stats import binomtest

    sums = np.array([1.0] * 14 + [-1.0] * 4 + [0.0] * 60)
    assert sign_flip(sums) == pytest.approx(binomtest(14, 18).pvalue)


@pytest.mark.parametrize("sums", [[0.0] * 5, [0.5, -0.5], [1.0, -1.0, 0.0]])
def test_no_difference_has_a_p_of_one(sums: list[float]) -> None:
    assert sign_flip(np.array(sums)) == 1.0


def test_few_clusters_cannot_prove_much() -> None:
    assert sign_flip(np.array([9.0] * 5)) == pytest.approx(2 / 32)


def test_the_floor_is_silent_where_a_cluster_lies_on_the_bound() -> None:
    found = spread(np.array([1.0] * 30 + [0.0]), np.ones(31))
    assert float(t_tail(found, 0.0)) < 1e-12


def test_one_cluster_has_no_spread() -> None:
    one = spread(np.array([3.0]), np.array([2.0]))
    assert (float(one.mean), float(one.se), one.clusters, one.effective) == (1.5, 0.0, 1, 1.0)


@pytest.mark.parametrize(("apart", "p"), [(0.4, 0.75), (0.8, 0.5)])
def test_graded_totals_are_told_apart_by_a_4096th_of_their_sum(apart: float, p: float) -> None:
    """a + b - c is as far from 0 as a - b + c, or farther: by twice what parts b from c."""
    assert sign_flip(np.array([0.5, 0.25 + apart / 4096, -0.25])) == pytest.approx(p)
