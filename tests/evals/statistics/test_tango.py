"""Tango's score statistic, interval and the exact test by it: published values, other formulas, and enumeration."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.statistics import tango
from lifecycle.errors import InvalidInput
from lifecycle.intervals import wilson

calm = partial(settings, deadline=None, derandomize=True)
tables = st.integers(2, 60).flatmap(
    lambda n: st.integers(0, n).flatmap(lambda b: st.tuples(st.just(b), st.integers(0, n - b), st.just(n)))
)


@pytest.mark.parametrize(
    ("wins", "losses", "n", "low", "high"),
    [
        (1, 7, 21, -0.517, -0.026),  # Fagerland, Lydersen & Laake 2014 (Stat Med 33), airway reactivity, Tango
        (6, 16, 161, -0.124, -0.0054),  # the same, complete response
        (40, 20, 160, 0.0309, 0.2181),  # the example of R's PropCIs::scoreci.mp
    ],
)
def test_the_interval_of_published_tables(wins, losses, n, low, high) -> None:
    assert tango.interval(wins, losses, n) == pytest.approx((low, high), abs=5e-4)


@pytest.mark.parametrize(
    ("table", "published"),
    [((59, 6, 16, 80), (-0.1186, -0.0046)), ((36, 12, 2, 0), (0.0569, 0.3404)), ((1, 1, 7, 12), (-0.507, -0.026))],
)
def test_newcombes_interval_of_the_same_tables_is_near(table, published) -> None:
    """Method 10 of Newcombe 1998 (Stat Med 17:2635), as published, beside Tango's."""
    _, wins, losses, _ = table
    assert newcombe(*table) == pytest.approx(published, abs=5e-4)
    assert tango.interval(wins, losses, sum(table)) == pytest.approx(published, abs=0.011)


def newcombe(both: int, wins: int, losses: int, neither: int) -> tuple[float, float]:
    n = both + wins + losses + neither
    one, two = wilson(both + wins, n), wilson(both + losses, n)
    product = (both + wins) * (losses + neither) * (both + losses) * (wins + neither)
    gap = both * neither - wins * losses
    phi = 0.0 if product == 0 else (max(gap - n / 2, 0) if gap > 0 else gap) / math.sqrt(product)

    def reach(down: float, up: float) -> float:
        return math.sqrt(down**2 - 2 * phi * down * up + up**2)

    delta = one.value - two.value
    return (
        delta - reach(one.value - one.low, two.high - two.value),
        delta + reach(two.value - two.low, one.high - one.value),
    )


@calm(max_examples=80)
@given(tables)
def test_the_interval_is_the_one_in_closed_form(table: tuple[int, int, int]) -> None:
    """Yang, Sun & Hardin 2013 (Stat Med 32:1336): its ends are roots of a quartic."""
    b, c, n = table
    g = 1.959963984540054**2
    coefficients = [
        n**2 * (n / g + 1) ** 2,
        -n * (b - c) * (n / g + 1) * (4 * n / g + 1),
        2 * n * (b - c) ** 2 * (3 * n / g + 2) / g - n**2 * ((b + c) / g + 1),
        n * (b - c) * (2 * (b + c) / g + 1) - (b - c) ** 3 * (4 * n / g + 1) / g,
        (b - c) ** 2 * ((b - c) ** 2 / g - (b + c)) / g,
    ]
    roots = [root.real for root in np.roots(coefficients) if abs(root.imag) < 1e-4]
    for end in tango.interval(b, c, n):
        assert min([abs(end - root) for root in roots] + [abs(end - 1), abs(end + 1)]) < 1e-4


@calm(max_examples=60)
@given(tables)
def test_turning_the_arms_round_mirrors_the_interval(table: tuple[int, int, int]) -> None:
    b, c, n = table
    low, high = tango.interval(b, c, n)
    assert tango.interval(c, b, n) == pytest.approx((-high, -low), abs=1e-9)
    assert -1 <= low <= (b - c) / n <= high <= 1


def test_the_statistic_against_nothing_is_mcnemars() -> None:
    assert float(tango.statistic(12, 2, 50, 0.0)) == pytest.approx(10 / math.sqrt(14))
    assert float(tango.statistic(0, 0, 50, 0.0)) == 0.0


def test_the_statistic_is_where_the_likelihood_is_highest() -> None:
    """The share of losses inside it, found by trying all."""
    wins, losses, n, bound = 5, 9, 80, -0.1
    tried = np.linspace(0.1 + 1e-6, 0.55 - 1e-6, 400_001)
    likelihood = wins * np.log(tried + bound) + losses * np.log(tried)
    likelihood += (n - wins - losses) * np.log(1 - 2 * tried - bound)
    share = tried[int(np.argmax(likelihood))]
    expected = (wins - losses - n * bound) / math.sqrt(n * (2 * share + bound * (1 - bound)))
    assert float(tango.statistic(wins, losses, n, bound)) == pytest.approx(expected, abs=1e-4)


@pytest.mark.parametrize(
    ("wins", "losses", "n", "bound", "by_hand"),
    [
        # All eight are won or lost at even odds: five wins or more of them have a statistic over that of 2 and 1.
        (2, 1, 8, 0.0, sum(math.comb(8, won) for won in range(5, 9)) / 2**8),
        # All eight are won (two in five) or lost (three in five): five wins or more again.
        (5, 3, 8, -0.2, sum(math.comb(8, won) * 0.4**won * 0.6 ** (8 - won) for won in range(5, 9))),
    ],
)
def test_the_largest_chance_may_lie_where_every_item_is_won_or_lost(
    wins: int, losses: int, n: int, bound: float, by_hand: float
) -> None:
    assert tango.exact_p(wins, losses, n, bound) == pytest.approx(by_hand, rel=1e-9)


@pytest.mark.parametrize(("wins", "losses", "bound"), [(3, 1, -0.1), (6, 0, 0.2), (0, 0, -0.1), (1, 4, -0.3)])
def test_the_exact_p_is_the_largest_that_counting_all_tables_gives(wins: int, losses: int, bound: float) -> None:
    n = 9
    observed = float(tango.statistic(wins, losses, n, bound))
    region = [
        (b, c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if float(tango.statistic(b, c, n, bound)) >= observed - 1e-9
    ]
    low, high = max(0.0, -bound), (1 - bound) / 2
    chances = []
    for share in np.linspace(low, high, 2_001):
        cells = (share + bound, share, 1 - 2 * share - bound)
        chances.append(
            sum(
                math.comb(n, b) * math.comb(n - b, c)
                * max(cells[0], 0) ** b * cells[1] ** c * max(cells[2], 0) ** (n - b - c)
                for b, c in region
            )
        )  # fmt: skip
    assert tango.exact_p(wins, losses, n, bound) == pytest.approx(max(chances), rel=2e-3)


@pytest.mark.parametrize("n", [10, 20, 50])
def test_items_without_a_flip_do_not_prove_that_nothing_is_lost(n: int) -> None:
    assert tango.exact_p(0, 0, n, -0.02) == pytest.approx(0.98**n, rel=1e-6)


@pytest.mark.parametrize(
    ("n", "bound", "share", "normal_falls_short"),
    [(626, 0.05, 0.0, True), (2_000, 0.02, 0.0, True), (200, -0.02, 0.05, False)],
)
def test_the_exact_test_keeps_a_level_that_the_normal_tail_does_not(n, bound, share, normal_falls_short) -> None:
    from scipy.stats import binom, norm

    level = 0.01 / 420  # the twentieth try's
    losses = np.arange(n + 1)
    normal = exact = 0.0
    for lost, weight in zip(losses, binom.pmf(losses, n, share), strict=True):
        if weight < 1e-12:
            continue
        wins = np.arange(n - lost + 1)
        chance = weight * binom.pmf(wins, n - lost, (share + bound) / (1 - share))
        tail = norm.sf(tango.statistic(wins, np.full(len(wins), float(lost)), n, bound))
        normal += chance[tail <= level].sum()
        near = [at for at in np.flatnonzero(tail <= level) if chance[at] > 1e-12]  # the exact p is never smaller here
        exact += sum(chance[at] for at in near if tango.exact_p(int(wins[at]), int(lost), n, bound) <= level)
    assert exact <= level
    assert (normal > 2 * level) == normal_falls_short


def test_more_wins_never_make_it_weaker() -> None:
    for bound in (-0.1, 0.05):
        found = [tango.exact_p(wins, 4, 40, bound) for wins in range(37)]
        assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("counts", [(-1, 0, 5), (0, -1, 5), (3, 3, 5), (0, 0, 0)])
def test_impossible_counts_are_refused(counts) -> None:
    with pytest.raises(InvalidInput):
        tango.interval(*counts)
    with pytest.raises(InvalidInput):
        tango.exact_p(*counts, -0.02)


@pytest.mark.parametrize("bound", [-1.0, 1.0, 2.0])
def test_a_bound_beyond_all_differences_is_refused(bound: float) -> None:
    with pytest.raises(InvalidInput):
        tango.exact_p(1, 1, 5, bound)


def test_a_bound_next_to_all_differences_is_a_bound_like_others() -> None:
    """There the share of losses can round to all of the items, and nothing is left to be won."""
    for bound in (math.nextafter(-1.0, 0.0), math.nextafter(1.0, 0.0)):
        assert 0.0 <= tango.exact_p(0, 0, 5, bound) <= 1.0


@pytest.mark.parametrize("n", [1, 3, 7, 15])
def test_where_as_much_is_lost_as_nothing_every_table_without_a_loss_counts(n: int) -> None:
    """The fewest wins are found by halving n + 2 numbers, also where these are one more than a power of two."""
    assert tango.exact_p(0, 0, n, -0.1) == pytest.approx(0.9**n, rel=1e-6)


@calm(max_examples=200)
@given(tables, st.floats(-0.999, 0.999))
def test_a_single_tables_statistic_is_that_of_the_arrays(table, bound) -> None:
    wins, losses, n = table
    assert tango._of_one(wins, losses, n, bound) == pytest.approx(
        float(tango.statistic(wins, losses, n, bound)), abs=1e-9
    )
