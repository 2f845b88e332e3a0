"""Win rates, counts of votes, and how far figures such as a judge's agree with people."""

from __future__ import annotations

import pytest

from evals.people.tally import compared, pairs_in, said_in, units_of, win_rate
from lifecycle.errors import InvalidInput
from lifecycle.intervals import wilson
from lifecycle.rating import Preferred
from tests.evals.people.conftest import ratings_of

P = Preferred


def votes_of(*preferred, rater="r"):
    return [(f"k{n}", "base", "adapter", rater, said) for n, said in enumerate(preferred)]


def test_the_win_rate_is_the_share_of_items_with_ties_and_both_bad_as_halves():
    told = compared(said_in(ratings_of(votes_of(P.SECOND, P.SECOND, P.FIRST, P.TIE, P.BOTH_BAD))), "adapter", "base")
    assert told.win_rate.value == pytest.approx(3 / 5)
    assert (told.wins, told.losses, told.ties, told.both_bad, told.votes, told.raters) == (2, 1, 1, 1, 5, 1)
    assert (told.win_rate.n, told.campaigns) == (5, ("c",))


def test_yes_no_votes_of_independent_items_have_wilsons_interval():
    told = compared(said_in(ratings_of(votes_of(*[P.SECOND] * 17, *[P.FIRST] * 3))), "adapter", "base")
    assert told.win_rate == wilson(17, 20)


def test_items_of_one_cluster_count_as_one():
    clustered = {f"k{n}": {"cluster": f"c{n // 5}"} for n in range(20)}
    said = said_in(ratings_of(votes_of(*[P.SECOND] * 15, *[P.FIRST] * 5), items=clustered))
    told = compared(said, "adapter", "base").win_rate
    alone = wilson(15, 20)
    assert told.clusters == 4
    assert told.high - told.low > alone.high - alone.low


def test_an_item_with_many_votes_counts_once():
    votes = [*votes_of(P.SECOND, P.FIRST), *[("k0", "base", "adapter", f"s{n}", P.SECOND) for n in range(8)]]
    assert compared(said_in(ratings_of(votes)), "adapter", "base").win_rate.value == 0.5


def test_the_other_way_round_is_the_mirror():
    said = said_in(ratings_of(votes_of(P.SECOND, P.SECOND, P.FIRST, P.TIE)))
    there, back = compared(said, "adapter", "base"), compared(said, "base", "adapter")
    turned = there.turned
    assert turned.model_dump(exclude={"win_rate"}) == back.model_dump(exclude={"win_rate"})
    for end in ("value", "low", "high"):
        assert getattr(turned.win_rate, end) == pytest.approx(getattr(back.win_rate, end))


def test_skips_are_counted_and_are_in_no_figure():
    told = compared(said_in(ratings_of(votes_of(P.SECOND, None, None))), "adapter", "base")
    assert (told.skipped, told.votes, told.win_rate.n) == (2, 1, 1)
    assert compared(said_in(ratings_of(votes_of(None))), "adapter", "base") is None
    with pytest.raises(InvalidInput, match="nobody has voted"):
        win_rate([])


def test_what_needed_no_vote_is_in_the_win_rate_and_in_no_count_of_votes():
    settled = [("k8", "base", "adapter", P.TIE), ("k9", "base", "adapter", P.FIRST)]
    told = compared(said_in(ratings_of(votes_of(P.SECOND, P.SECOND), settled=settled)), "adapter", "base")
    assert (told.votes, told.settled, told.win_rate.n) == (2, 2, 4)
    assert told.win_rate.value == pytest.approx(2.5 / 4)
    assert told.alpha is None


def test_a_slice_has_its_own_figures():
    languages = {f"k{n}": {"slices": {"language": "ar" if n < 4 else "latin"}} for n in range(8)}
    said = said_in(ratings_of(votes_of(*[P.FIRST] * 4, *[P.SECOND] * 4), items=languages))
    arabic = compared(said, "adapter", "base", {"language": "ar"})
    assert (arabic.win_rate.value, arabic.win_rate.n, arabic.where) == (0.0, 4, {"language": "ar"})
    assert compared(said, "adapter", "base", {"language": "fr"}) is None


def test_pairs_are_told_the_later_arm_against_the_earlier_one():
    arms = ("base", "rag", "adapter")
    votes = [("k0", "base", "rag", "r", P.TIE), ("k0", "rag", "adapter", "r", P.TIE)]
    assert pairs_in(said_in(ratings_of(votes, arms=arms)), arms) == [("rag", "base"), ("adapter", "rag")]


def test_alpha_is_over_the_four_kinds_of_vote_and_in_order_a_tie_is_half_way():
    votes = [*votes_of(P.FIRST, P.TIE, P.BOTH_BAD), *votes_of(P.FIRST, P.SECOND, P.TIE, rater="s")]
    said = said_in(ratings_of(votes))
    assert list(units_of(said).values()) == [
        {"c/r": 1.0, "c/s": 1.0}, {"c/r": 3.0, "c/s": 2.0}, {"c/r": 4.0, "c/s": 3.0},
    ]  # fmt: skip
    assert [list(of.values()) for of in units_of(said, ordinal=True).values()] == [[3.0, 3.0], [2.0, 1.0], [2.0, 2.0]]
    told = compared(said, "adapter", "base")
    assert told.people_agreed.value == pytest.approx(2 / 3)


def test_a_figures_agreement_with_people_is_told_with_ties_and_without():
    scores = [(0.0, 1.0), (1.0, 0.0), (0.5, 0.5), (0.0, 1.0)]
    items = {f"k{n}": {"scores": {"base": {"wins": b}, "adapter": {"wins": a}}} for n, (b, a) in enumerate(scores)}
    said = said_in(ratings_of(votes_of(P.SECOND, P.SECOND, P.TIE, P.BOTH_BAD), items=items))
    (figure,) = compared(said, "adapter", "base").figures.values()
    assert (figure.agreed.value, figure.agreed.n) == (0.5, 4)
    assert (figure.decided.value, figure.decided.n) == (0.5, 2)
    assert compared(said, "base", "adapter").figures["wins"].agreed.value == 0.5


def test_a_judge_that_compares_with_the_baseline_alone_is_held_beside_people_too():
    """Its figure of the baseline is one half on every item."""
    items = {"k0": {"scores": {"base": {"wins": 0.5}, "adapter": {"wins": 1.0}}}}
    (figure,) = compared(said_in(ratings_of(votes_of(P.SECOND), items=items)), "adapter", "base").figures.values()
    assert (figure.agreed.value, figure.decided.value) == (1.0, 1.0)


def test_arms_that_are_called_otherwise_here_are_told_by_those_names_and_unknown_ones_are_left_out():
    said = said_in(ratings_of(votes_of(P.SECOND)), {"base": "prod", "adapter": "candidate"})
    assert compared(said, "candidate", "prod").win_rate.value == 1.0
    assert said_in(ratings_of(votes_of(P.SECOND)), {"base": "prod"}) == []
