"""Exact bounds of rare failures."""

from __future__ import annotations

import pytest
from scipy.stats import binom, binomtest

from evals.statistics.exact import failures_in, items_for, upper_bound
from evals.statistics.thin import THIN
from lifecycle.errors import InvalidInput


@pytest.mark.parametrize(("count", "n"), [(0, 1), (0, 59), (1, 40), (7, 40), (39, 40), (40, 40)])
def test_the_bound_is_clopper_and_pearsons(count: int, n: int) -> None:
    both_sides = binomtest(count, n).proportion_ci(confidence_level=0.9, method="exact")
    assert upper_bound(count, n) == pytest.approx(both_sides.high)


def test_under_the_bound_so_few_failures_have_a_chance_of_one_in_twenty() -> None:
    assert binom.cdf(2, 50, upper_bound(2, 50)) == pytest.approx(0.05)


@pytest.mark.parametrize("n", [30, 300, 3000])
def test_after_none_the_rule_of_three_is_its_approximation_from_above(n: int) -> None:
    assert upper_bound(0, n) < 3 / n < upper_bound(0, n) * 1.06


def test_as_many_items_as_decide_may_hide_a_failure_in_ten() -> None:
    assert upper_bound(0, THIN) == pytest.approx(0.095, abs=5e-4)


@pytest.mark.parametrize(("at_most", "n"), [(0.05, 59), (0.01, 299), (0.5, 5)])
def test_so_many_items_without_a_failure_show_a_share_and_one_less_does_not(at_most: float, n: int) -> None:
    assert items_for(at_most) == n
    assert upper_bound(0, n) <= at_most < upper_bound(0, n - 1)


def test_a_share_of_nothing_has_no_bound() -> None:
    for count, n in ((0, 0), (2, 1), (-1, 3)):
        with pytest.raises(InvalidInput):
            upper_bound(count, n)
    with pytest.raises(InvalidInput):
        items_for(1.0)


def test_of_items_that_belong_together_a_cluster_fails_once() -> None:
    failures = failures_in([1.0, 0.0, 0.0, 1.0, 1.0], ["a", "a", "a", "b", "c"])
    assert (failures.count, failures.n, failures.clustered) == (1, 3, True)
    assert failures.at_most == pytest.approx(upper_bound(1, 3))
    single = failures_in([1.0, 0.0, 0.0], ["a", None, "a"])
    assert (single.count, single.n, single.clustered) == (2, 3, False)
