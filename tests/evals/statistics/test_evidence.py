"""What a comparison proves: p for any bound, power, and levels, against other libraries and by hand."""

from __future__ import annotations

import math
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals.statistics.clusters import spread, t_tail, totals
from evals.statistics.comparison import paired
from evals.statistics.evidence import holm_levels, mcnemar, mcnemar_power, p_above, p_below, smallest_seen, spent
from evals.statistics.tango import exact_p
from lifecycle.errors import InvalidInput
from lifecycle.report import Comparison

calm = partial(settings, deadline=None, derandomize=True)
NAMES = {"arm": "adapter", "against": "base", "metric": "fields"}
p_lists = st.lists(st.floats(0, 1, allow_subnormal=False), min_size=1, max_size=12)


def shares(wins: int, losses: int, n: int) -> Comparison:
    rest = [1.0] * (n - wins - losses)
    first, second = [1.0] * wins + [0.0] * losses + rest, [0.0] * wins + [1.0] * losses + rest
    return paired(first, second, None, **NAMES)


def graded(differences: list[float], clusters: list[int] | None = None) -> Comparison:
    """Scores around 0.5 with these differences."""
    return paired([0.5 + one / 2 for one in differences], [0.5 - one / 2 for one in differences], clusters, **NAMES)


@calm(max_examples=60)
@given(st.integers(0, 30), st.integers(0, 30))
def test_against_nothing_shares_are_judged_by_mcnemars_exact_test(wins: int, losses: int) -> None:
    from scipy.stats import binomtest

    one = shares(wins, losses, 80)
    if wins + losses:
        expected = binomtest(wins, wins + losses, alternative="greater").pvalue
        assert p_above(one) == pytest.approx(expected)
        assert p_below(one) == pytest.approx(binomtest(wins, wins + losses, alternative="less").pvalue)
    else:
        assert p_above(one) == p_below(one) == 1.0


def test_against_a_bound_shares_are_judged_by_the_exact_score_test() -> None:
    one = shares(20, 4, 200)
    assert p_above(one, 0.02) == exact_p(20, 4, 200, 0.02)
    assert p_above(one, -0.02) == exact_p(20, 4, 200, -0.02)
    assert p_below(one, 0.02) == exact_p(4, 20, 200, -0.02)
    assert p_above(one, -0.02) < p_above(one) < p_above(one, 0.02)


def test_graded_scores_are_judged_by_the_weaker_of_t_and_sign_flip() -> None:
    from scipy.stats import ttest_1samp

    many = [0.1] * 7 + [0.2] * 3 + [-0.05] * 2
    by_t = ttest_1samp(many, 0, alternative="greater").pvalue
    one = graded(many)
    assert one.p_value / 2 > by_t  # the sign-flip test is the more careful of the two here
    assert p_above(one) == one.p_value / 2
    skewed = [0.4] * 3 + [0.01] * 17 + [-0.02] * 3
    one = graded(skewed)
    assert p_above(one) == pytest.approx(ttest_1samp(skewed, 0, alternative="greater").pvalue)
    assert p_above(one) > one.p_value / 2
    assert p_above(one, 0.02) == pytest.approx(ttest_1samp(skewed, 0.02, alternative="greater").pvalue)


def test_the_wrong_direction_is_never_shown() -> None:
    worse = graded([-0.2] * 20 + [0.1] * 5)
    assert p_above(worse) > 0.99
    assert p_below(worse) < 1e-3


def test_a_comparison_of_an_old_report_proves_nothing() -> None:
    old = Comparison(
        **NAMES, delta=0.4, low=0.3, high=0.5, p_value=1e-9, p_adjusted=1e-9, test="paired-bootstrap", n=500
    )
    assert p_above(old) == p_below(old) == p_above(old, -0.02) == 1.0
    assert smallest_seen(old, 0.0, 0.05) == math.inf


def test_one_cluster_proves_nothing() -> None:
    one = graded([0.5, 0.4, 0.6], [1, 1, 1])
    assert p_above(one, -0.5) == 1.0
    assert smallest_seen(one, 0.0, 0.05) == math.inf


def test_the_power_of_mcnemars_test_by_counting_all_outcomes() -> None:
    n, difference, discordant, level = 12, 0.4, 0.6, 0.05
    up, down = (discordant + difference) / 2, (discordant - difference) / 2
    expected = sum(
        math.comb(n, b) * math.comb(n - b, c) * up**b * down**c * (1 - discordant) ** (n - b - c)
        for b in range(n + 1)
        for c in range(n + 1 - b)
        if mcnemar(b, c) <= level
    )
    assert mcnemar_power(n, difference, discordant, level) == pytest.approx(expected)


def test_the_power_of_the_textbooks_number_of_items() -> None:
    # 626 items for +5 points, 20 % discordant, two-sided 0.05: 80 % by the normal approximation, a little less exactly
    assert mcnemar_power(626, 0.05, 0.2, 0.025) == pytest.approx(0.79, abs=0.015)


def test_without_a_discordant_item_there_is_no_power() -> None:
    assert mcnemar_power(100, 0.0, 0.0, 0.05) == 0.0


@pytest.mark.parametrize(("n", "difference", "discordant"), [(0, 0.1, 0.2), (10, 0.3, 0.2), (10, 0.1, 1.1)])
def test_power_of_the_impossible_is_refused(n: int, difference: float, discordant: float) -> None:
    with pytest.raises(InvalidInput):
        mcnemar_power(n, difference, discordant, 0.05)


@pytest.mark.parametrize(("wins", "losses", "n"), [(44, 44, 400), (30, 10, 626), (0, 0, 150)])
def test_the_smallest_difference_seen_has_80_percent_power(wins: int, losses: int, n: int) -> None:
    level = 0.005
    sees = smallest_seen(shares(wins, losses, n), 0.0, level)
    discordant = max((wins + losses) / n, sees)
    assert mcnemar_power(n, sees, discordant, level) == pytest.approx(0.8, abs=1e-3)


def test_more_items_see_smaller_differences_and_stricter_levels_larger_ones() -> None:
    small, large = shares(20, 20, 200), shares(200, 200, 2_000)
    for bound in (0.0, -0.02, 0.05):
        assert smallest_seen(large, bound, 0.005) < smallest_seen(small, bound, 0.005)
        assert smallest_seen(small, bound, 0.005) < smallest_seen(small, bound, 0.0005)
        assert smallest_seen(large, bound, 0.005) > bound


def test_too_few_items_see_nothing_at_all() -> None:
    assert smallest_seen(shares(1, 1, 5), 0.0, 0.005) == math.inf  # five wins of five have a p of 1/32
    assert smallest_seen(shares(1, 1, 8), 0.0, 0.005) < 1.0
    assert smallest_seen(graded([0.9, -0.9, 0.8]), 0.0, 1e-6) == math.inf


@pytest.mark.parametrize("bound", [-0.02, 0.05])
def test_what_the_score_test_sees_passes_in_four_of_five_runs(bound: float) -> None:
    n, level = 400, 0.005
    sees = smallest_seen(shares(40, 40, n), bound, level)
    draw = np.random.default_rng(4).multinomial(n, [(0.2 + sees) / 2, (0.2 - sees) / 2, 0.8], size=500)
    passed = np.mean([exact_p(int(b), int(c), n, bound) <= level for b, c, _ in draw])
    assert passed == pytest.approx(0.8, abs=0.06)


def test_what_clusters_see_passes_in_four_of_five_runs() -> None:
    draw = np.random.default_rng(6)
    sizes, level, bound = np.array([1, 2, 3, 6] * 10), 0.01, -0.02
    labels = np.repeat(np.arange(40), sizes).tolist()

    def sample(mean: float) -> Comparison:
        values = mean + np.repeat(draw.normal(0, 0.1, 40), sizes) + draw.normal(0, 0.1, sizes.sum())
        return graded(np.clip(values, -1, 1).tolist(), labels)

    seen = [smallest_seen(sample(0.0), bound, level) for _ in range(100)]
    truth = float(np.mean(seen))
    passed = np.mean([p_above(sample(truth), bound) <= level for _ in range(600)])
    assert passed == pytest.approx(0.8, abs=0.06)


def test_items_that_never_vary_see_no_less_than_their_number_allows() -> None:
    assert smallest_seen(graded([0.0] * 50), -0.02, 0.005) == pytest.approx(-0.02 + 1 - 0.005 ** (1 / 50))


def test_all_tries_together_spend_no_more_than_alpha() -> None:
    assert spent(0.01, 1) == 0.005
    assert spent(0.01, 20) == pytest.approx(0.01 / 420)
    assert sum(spent(0.01, number) for number in range(1, 10_001)) < 0.01
    with pytest.raises(InvalidInput):
        spent(0.01, 0)


@calm(max_examples=100)
@given(p_lists)
def test_holm_passes_what_statsmodels_rejects(p_values: list[float]) -> None:
    from statsmodels.stats.multitest import multipletests

    expected = multipletests(p_values, alpha=0.3, method="holm")[0]
    levels = holm_levels(p_values, 0.3)
    assert [p <= level for p, level in zip(p_values, levels, strict=True)] == expected.tolist()


def test_holms_levels_of_a_worked_example() -> None:
    # in the order of p: 0.005 ≤ 0.05/4 and 0.01 ≤ 0.05/3, but 0.03 > 0.05/2: the rest is held to that as well
    assert holm_levels([0.01, 0.04, 0.03, 0.005], 0.05).tolist() == pytest.approx([0.05 / 3, 0.025, 0.025, 0.0125])
    assert holm_levels([0.001, 0.01], 0.02).tolist() == pytest.approx([0.01, 0.02])  # a p at its level passes
    assert holm_levels([0.5], 0.02).tolist() == [0.02]
    assert holm_levels([], 0.02).tolist() == []


def test_holm_along_many_runs_at_once() -> None:
    runs = np.array([[0.01, 0.04, 0.03, 0.005], [0.9, 0.001, 0.2, 0.3]])
    assert np.allclose(holm_levels(runs, 0.05), [holm_levels(run, 0.05) for run in runs])


def test_a_graded_loss_has_the_complement_of_half_its_two_sided_p() -> None:
    from scipy.stats import t

    loss = graded([-0.1, 0.0, 0.02, -0.05]).model_copy(update={"p_value": 0.02})
    assert loss.delta < 0
    assert float(t.sf(loss.delta / loss.se, 3)) < 0.99  # so Student's is the smaller of the two
    assert p_above(loss) == pytest.approx(0.99)


@pytest.mark.parametrize("lost", ["se", "least", "most"])
def test_a_comparison_that_kept_a_part_of_its_spread_proves_nothing(lost: str) -> None:
    whole = graded([0.2, 0.3, 0.1, 0.25, 0.15] * 4)
    assert p_above(whole) < 0.2
    part = whole.model_copy(update={lost: None})
    assert (p_above(part), smallest_seen(part, 0.0, 0.05)) == (1.0, math.inf)


@pytest.mark.parametrize(
    ("wins", "losses", "n", "bound"), [(40, 40, 400, 0.05), (0, 1, 400, -0.02), (1, 1, 900, 0.02), (30, 10, 500, -0.1)]
)
def test_what_the_score_test_sees_by_its_definition(wins: int, losses: int, n: int, bound: float) -> None:
    """The normal quantiles of level and power, each with the spread under the bound and under the truth."""
    from scipy.stats import norm

    sees, discordant, level = smallest_seen(shares(wins, losses, n), bound, 0.005), (wins + losses) / n, 0.005
    under_bound = max(discordant, abs(bound)) - bound**2
    under_truth = max(discordant, abs(sees)) - sees**2
    expected = bound + (norm.isf(level) * under_bound**0.5 + norm.isf(0.2) * under_truth**0.5) / n**0.5
    assert sees == pytest.approx(expected, abs=1e-9)


def test_what_mcnemars_test_sees_is_told_to_a_millionth() -> None:
    step = 2.0**-20
    for wins, losses, n in ((44, 44, 400), (30, 10, 626), (5, 3, 150)):
        sees, discordant = smallest_seen(shares(wins, losses, n), 0.0, 0.005), (wins + losses) / n
        assert (sees / step).is_integer()
        assert mcnemar_power(n, sees, max(discordant, sees), 0.005) >= 0.8
        assert mcnemar_power(n, sees - step, max(discordant, sees - step), 0.005) < 0.8


def test_unequal_clusters_count_as_fewer_than_they_are() -> None:
    labels = [1] * 6 + [2] * 3 + [3, 4, 5]
    differences = [0.4, 0.5, 0.3, 0.4, 0.6, 0.2, 0.1, 0.3, -0.2, 0.5, 0.2, -0.4]
    uneven = graded(differences, labels)
    clustered = spread(*totals(differences, labels))
    assert uneven.effective_clusters == pytest.approx(144 / 48)
    assert p_above(uneven, -0.1) == pytest.approx(float(t_tail(clustered, -0.1)))
    as_many = uneven.model_copy(update={"effective_clusters": None})
    assert p_above(as_many, -0.1) < p_above(uneven, -0.1)
    assert p_above(as_many, -0.1) == p_above(as_many.model_copy(update={"effective_clusters": 5.0}), -0.1)
