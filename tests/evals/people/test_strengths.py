"""Bradley–Terry strengths are the reference's; intervals cover the truth, and heed clusters."""

from __future__ import annotations

import random

import choix
import numpy as np
import pytest

from evals.people.strengths import _fit, strengths
from evals.people.tally import said_in
from lifecycle.errors import InvalidInput
from lifecycle.rating import Preferred
from tests.evals.people.conftest import ratings_of

P = Preferred
ARMS = ("base", "few-shot", "adapter")


def drawn(truth, items, *, seed, arms=ARMS, ties=0.0):
    """One vote on every pair of every item, by the strengths `truth`."""
    rng = random.Random(seed)
    votes = []
    for item in range(items):
        for one in range(len(arms)):
            for other in range(one + 1, len(arms)):
                chance = 1 / (1 + np.exp(truth[other] - truth[one]))
                won = P.TIE if rng.random() < ties else P.FIRST if rng.random() < chance else P.SECOND
                votes.append((f"k{item}", arms[one], arms[other], "r", won))
    return votes


def reference(votes, arms):
    """choix's maximum likelihood, from the same wins and the same half wins to begin with."""
    places = {arm: at for at, arm in enumerate(arms)}
    wins = np.full((len(arms), len(arms)), 0.5)
    np.fill_diagonal(wins, 0.0)
    for _, one, other, _, preferred in votes:
        wins[places[one], places[other]] += preferred.points
        wins[places[other], places[one]] += 1 - preferred.points
    return choix.ilsr_pairwise_dense(wins)


@pytest.mark.parametrize(("seed", "ties"), [(1, 0.0), (2, 0.3), (3, 0.6)])
def test_strengths_are_the_maximum_likelihood_of_another_package(seed, ties):
    votes = drawn((-0.8, 0.1, 0.7), 40, seed=seed, ties=ties)
    found = strengths(said_in(ratings_of(votes, arms=ARMS)), ARMS, seed=1, draws=2)
    assert [arm.log_odds.value for arm in found] == pytest.approx(list(reference(votes, ARMS)), abs=1e-6)


def test_every_draw_is_fitted_as_evalica_fits_it():
    import evalica
    import pandas

    rng = np.random.default_rng(3)
    wins = rng.integers(0, 30, (25, 4, 4)) + 0.5
    wins[:, range(4), range(4)] = 0.0
    for ours, matrix in zip(_fit(wins), wins, strict=True):
        winners, losers = (side.tolist() for side in np.nonzero(matrix))
        theirs = evalica.bradley_terry(
            winners, losers, [evalica.Winner.X] * len(winners), index=pandas.Index(range(4)),
            weights=matrix[winners, losers].tolist(), tolerance=1e-10, limit=10_000,
        ).scores.sort_index()  # fmt: skip
        logs = np.log(theirs.to_numpy())
        assert ours == pytest.approx(logs - logs.mean(), abs=1e-6)


def test_the_chance_of_a_win_of_two_arms_is_their_share_of_wins_with_half_a_win_for_each():
    votes = [(f"k{n}", "base", "adapter", "r", P.SECOND if n < 14 else P.TIE if n < 16 else P.FIRST) for n in range(20)]
    base, adapter = strengths(said_in(ratings_of(votes)), ("base", "adapter"), seed=1, draws=50)
    assert adapter.beats.value == pytest.approx((14 + 1 + 0.5) / (20 + 1), abs=1e-6)
    assert (base.beats.value, base.beats.low, base.beats.high) == (0.5, 0.5, 0.5)
    assert base.log_odds.value == pytest.approx(-adapter.log_odds.value)


def test_an_arm_that_never_lost_has_a_finite_strength():
    votes = [(f"k{n}", "base", "adapter", "r", P.SECOND) for n in range(30)]
    _, adapter = strengths(said_in(ratings_of(votes)), ("base", "adapter"), seed=1, draws=50)
    assert adapter.beats.value == pytest.approx(30.5 / 31, abs=1e-6)
    assert np.isfinite(adapter.log_odds.high)


def test_intervals_hold_the_truth_as_often_as_they_say():
    truth, held = 0.6, 0
    for seed in range(60):
        votes = drawn((0.0, truth), 80, seed=seed, arms=("base", "adapter"))
        _, arm = strengths(said_in(ratings_of(votes)), ("base", "adapter"), seed=seed, draws=200)
        held += arm.beats.low <= 1 / (1 + np.exp(-truth)) <= arm.beats.high
    assert held >= 53  # of 60 at 95 %, fewer have a chance of 1 %


def test_items_of_one_cluster_count_as_one_and_widen_the_interval():
    votes = drawn((-0.5, 0.0, 0.5), 60, seed=5)
    alone = ratings_of(votes, arms=ARMS)
    tied = ratings_of(votes, arms=ARMS, items={f"k{n}": {"cluster": f"c{n // 15}"} for n in range(60)})
    wide, narrow = (strengths(said_in(ratings), ARMS, seed=1, draws=200)[2].beats for ratings in (tied, alone))
    assert (narrow.n, narrow.clusters, wide.n, wide.clusters) == (60, None, 60, 4)
    # Four clusters of random halves: the same votes, other units.
    assert wide.value == pytest.approx(narrow.value)
    same = [(f"k{n}", "base", "adapter", "r", P.SECOND if n < 30 else P.FIRST) for n in range(60)]
    apart = ratings_of(same)
    blocks = ratings_of(same, items={f"k{n}": {"cluster": f"c{n // 15}"} for n in range(60)})
    few, many = (strengths(said_in(r), ("base", "adapter"), seed=1, draws=200)[1].beats for r in (blocks, apart))
    assert few.high - few.low > 1.5 * (many.high - many.low)


def test_the_same_seed_gives_the_same_intervals():
    said = said_in(ratings_of(drawn((-0.5, 0.0, 0.5), 20, seed=5), arms=ARMS))
    assert strengths(said, ARMS, seed=3, draws=40) == strengths(said, ARMS, seed=3, draws=40)
    assert strengths(said, ARMS, seed=3, draws=40) != strengths(said, ARMS, seed=4, draws=40)


def test_an_item_counts_once_however_many_votes_it_has():
    once = [("k0", "base", "adapter", "r", P.SECOND), ("k1", "base", "adapter", "r", P.FIRST)]
    often = [*once, *[("k0", "base", "adapter", f"r{n}", P.SECOND) for n in range(9)]]
    for votes in (once, often):
        _, arm = strengths(said_in(ratings_of(votes)), ("base", "adapter"), seed=1, draws=2)
        assert arm.beats.value == pytest.approx(0.5)


def test_arms_that_were_never_compared_have_no_strength_beside_each_other():
    votes = [("k0", "base", "few-shot", "r", P.FIRST)]
    with pytest.raises(InvalidInput, match="of adapter compares them with base"):
        strengths(said_in(ratings_of(votes, arms=ARMS)), ARMS, seed=1)
    with pytest.raises(InvalidInput, match="nobody has voted"):
        strengths([], ARMS, seed=1)


def test_a_bootstrap_in_parts_is_that_at_once(monkeypatch):
    said = said_in(ratings_of(drawn((-0.5, 0.0, 0.5), 40, seed=4), arms=ARMS))
    whole = strengths(said, ARMS, seed=1, draws=30)
    monkeypatch.setattr("evals.people.strengths._AT_ONCE", 160)
    for part, arm in zip(strengths(said, ARMS, seed=1, draws=30), whole, strict=True):
        assert (part.log_odds.low, part.log_odds.high) == pytest.approx((arm.log_odds.low, arm.log_odds.high))
        assert arm.log_odds.low < arm.log_odds.high
