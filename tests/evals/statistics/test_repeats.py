"""Several answers to an item: pass@k, the majority, and which part of an error is sampling."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from evals.asking.measure import ItemResult
from evals.statistics.clusters import spread, totals
from evals.statistics.repeats import (
    all_of,
    differences,
    figures_of,
    items_for,
    majority,
    pass_at,
    repeats,
    smallest_difference,
)
from lifecycle.errors import InvalidInput
from lifecycle.repeats import Repeats


def answer(score: float | None, said: str = "", error: str = "") -> ItemResult:
    scores = {} if score is None else {"right": score}
    return ItemResult(
        answer=said, scores=scores, latency=0, prompt_tokens=0, completion_tokens=0, said=said, error=error
    )


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("k", range(1, 6))
def test_pass_at_k_is_the_share_of_all_draws_of_k_answers_with_a_right_one(right: int, k: int) -> None:
    answers = [at < right for at in range(5)]
    draws = list(itertools.combinations(answers, k))
    assert pass_at(k, 5, right) == pytest.approx(sum(map(any, draws)) / len(draws))
    assert all_of(k, 5, right) == pytest.approx(sum(map(all, draws)) / len(draws))


def test_pass_at_k_of_200_answers_is_that_of_the_papers_stable_product() -> None:
    n, right, k = 200, 7, 100
    assert pass_at(k, n, right) == pytest.approx(1 - np.prod(1 - k / np.arange(n - right + 1, n + 1)))


@pytest.mark.parametrize(("k", "n", "right"), [(0, 5, 1), (6, 5, 1), (1, 5, 6), (1, 5, -1)])
def test_what_cannot_be_drawn_is_refused(k: int, n: int, right: int) -> None:
    with pytest.raises(InvalidInput):
        pass_at(k, n, right)


def test_the_majority_has_the_figure_of_what_most_answers_say() -> None:
    right, wrong = answer(1.0, "red"), answer(0.0, "blue")
    assert majority([wrong, right, right], "right") == 1.0
    assert majority([right, wrong, wrong], "right") == 0.0
    assert majority([right, wrong], "right") == 0.5, "answers that are as frequent share the vote"
    assert majority([wrong, answer(0.0, "green"), right, right], "right") == 1.0, "most, and not more than half"


def test_an_answer_that_failed_has_no_vote_and_where_all_failed_the_vote_is_lost() -> None:
    failed = answer(0.0, error="HTTP 500")
    assert majority([failed, failed, answer(1.0, "red")], "right") == 1.0
    assert majority([failed, failed], "right") == 0.0
    assert majority([answer(None, "red")], "right") is None


def test_what_is_shown_are_round_numbers_of_answers_and_all_of_them() -> None:
    item = [answer(float(at < 3), "x") for at in range(7)]
    assert list(figures_of([item, item], "right")) == [
        *("right pass@2", "right pass^2", "right pass@5", "right pass^5", "right pass@7", "right pass^7"),
        "right majority",
    ]
    assert figures_of([item], "right")["right pass@7"] == [1.0]
    graded = [answer(0.3, "x"), answer(0.4, "y")]
    assert figures_of([graded], "right") == {"right majority": [pytest.approx(0.35)]}


def test_pass_at_k_is_of_no_more_answers_than_every_item_has() -> None:
    whole, part = [answer(1.0)] * 5, [answer(1.0)] * 3 + [answer(None)] * 2
    assert "right pass@3" in figures_of([whole, part], "right")
    assert "right pass@5" not in figures_of([whole, part], "right")


# Miller 2024


def test_the_smallest_effects_are_those_of_the_paper() -> None:
    between, within = 1 / 9, 1 / 6
    assert smallest_difference(198, between + 2 * within / 1) == pytest.approx(0.133, abs=5e-4)
    assert smallest_difference(198, between + 2 * within / 10) == pytest.approx(0.076, abs=5e-4)
    assert items_for(0.03, between) == 969


def test_items_and_smallest_difference_are_each_others_inverse() -> None:
    n = items_for(0.05, 0.3)
    assert smallest_difference(n, 0.3) <= 0.05 < smallest_difference(n - 1, 0.3)


def drawn(rng: np.random.Generator, n: int, k: int, cluster: int = 1) -> np.ndarray:
    """Answers of n items (items x answers), whose chances are shared within clusters."""
    chances = np.repeat(rng.beta(2, 2, size=n // cluster), cluster)
    return (rng.random((n, k)) < chances[:, None]).astype(float)


@pytest.mark.parametrize("cluster", [1, 4])
def test_the_standard_error_is_that_of_means_over_many_runs_and_so_is_its_part_of_sampling(cluster: int) -> None:
    """Items and answers drawn anew give the whole error; answers alone, of the same items, the part of sampling."""
    rng = np.random.default_rng(7)
    n, k, runs = 120, 3, 2_000
    labels = [at // cluster for at in range(n)]
    means, told = [], []
    for _ in range(runs):
        answers = drawn(rng, n, k, cluster)
        means.append(answers.mean())
        if len(told) < 200:
            se = float(spread(*totals(list(answers.mean(axis=1)), labels)).se)
            told.append(repeats(answers.tolist(), se))
    chances = np.repeat(rng.beta(2, 2, size=n // cluster), cluster)
    fixed = [(rng.random((n, k)) < chances[:, None]).mean() for _ in range(runs)]
    assert np.mean([of.se for of in told]) == pytest.approx(np.std(means), rel=0.06)
    assert np.mean([of.sampling for of in told]) == pytest.approx(np.std(fixed), rel=0.06)
    assert (told[0].per_item, told[0].answers) == (k, n * k)


def test_what_more_answers_and_more_items_are_said_to_buy_is_what_they_buy() -> None:
    rng = np.random.default_rng(8)

    def of(n: int, k: int) -> Repeats:
        answers = drawn(rng, n, k)
        return repeats(answers.tolist(), float(spread(*totals(list(answers.mean(axis=1)), None)).se))

    small = of(20_000, 2)
    assert small.se_at(answers=4) == pytest.approx(of(20_000, 8).se, rel=0.05)
    assert small.se_at(items=2) == pytest.approx(of(40_000, 2).se, rel=0.05)
    assert small.se_at(answers=math.inf) == pytest.approx(math.sqrt(small.se**2 - small.sampling**2))


def test_k_answers_to_n_items_are_never_k_times_n_items() -> None:
    """Answers that are all alike tell no more than one; taken for items of their own they would halve the error."""
    items = [[float(at % 2)] * 4 for at in range(100)]
    se = float(spread(*totals([item[0] for item in items], None)).se)
    alike = repeats(items, se)
    assert (alike.se, alike.sampling, alike.share) == (se, 0.0, 0.0)
    assert alike.se_at(answers=10) == se
    flat = [value for item in items for value in item]
    assert float(spread(*totals(flat, None)).se) == pytest.approx(se / 2, rel=0.01)


def test_chance_never_makes_more_of_the_error_sampling_than_all_of_it() -> None:
    odd = Repeats(per_item=2, answers=20, se=0.1, sampling=0.12)
    assert odd.share == 1.0
    assert odd.se_at(answers=math.inf) == 0.0
    assert repeats([[1.0], [0.0]], 0.1) is None, "of one answer each nobody can tell"


def test_differences_pair_answers_and_a_greedy_arms_one_answer_stands_for_all() -> None:
    sampled = ItemResult.of([answer(1.0, "a"), answer(0.0, "b"), answer(None, "c")])
    assert differences(sampled, answer(1.0), "right") == [0.0, -1.0]
    assert differences(answer(0.0), sampled, "right") == [-1.0, 0.0]
