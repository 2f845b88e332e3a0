"""Campaigns of ratings: who is given what, in which order, what a vote is, and what is told; on both databases."""

from __future__ import annotations

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from lifecycle.errors import Conflict, InvalidInput, NotAllowed, NotFound
from lifecycle.rating import LEASE, Ballot, Campaign, Choice, Preferred, RatedArm, RatedItem
from lifecycle.registry import Registry
from lifecycle.registry import rating_tables as rated
from lifecycle.version import digest_of
from tests.lifecycle.conftest import House

pytestmark = pytest.mark.timeout(300)

C, P = Choice, Preferred


class Opened:
    """Campaigns over two or three versions of `triage`, whose answers say nothing of whose they are."""

    def __init__(self, house: House, arms: int = 2) -> None:
        self.house, self.registry = house, house.registry
        self.versions = [house.draft(f"s{number}") for number in range(arms)]
        self.report = house.report_on(*self.versions)
        self.registry.record_report(self.report)
        self.arms = {v.ref: RatedArm(ref=v.ref, version_digest=v.digest) for v in self.versions}

    def campaign(self, name: str = "c", **changes: Any) -> Campaign:
        refs = list(self.arms)
        pairs = [(one, other) for at, one in enumerate(refs) for other in refs[at + 1 :]]
        facts = {"task": "triage", "evaluation": self.report.digest, "arms": self.arms, "pairs": pairs, "votes": 1}
        facts |= {"data_digest": digest_of("items"), "seed": 7, "created_by": "amal"}
        return Campaign.model_validate({"name": name, "created_at": datetime.now(UTC), **facts, **changes})

    def items(self, count: int) -> list[RatedItem]:
        return [
            RatedItem(
                key=f"k{number}",
                name=f"item {number}",
                messages=({"role": "user", "content": f"سؤال {number}"},),
                target=f"target {number}",
                answers={ref: digest_of([number, ref])[7:23] for ref in self.arms},
            )
            for number in range(count)
        ]

    def open(self, items: int | list[RatedItem] = 4, name: str = "c", **changes: Any) -> Campaign:
        rows = self.items(items) if isinstance(items, int) else items
        return self.registry.ratings.create(self.campaign(name, **changes), rows, actor="amal")

    def whose(self, ballot: Ballot) -> tuple[str, str]:
        """Whose answers A and B are: by their texts, which the test knows and a rater does not."""
        number = int(ballot.messages[0]["content"].split()[-1])
        by_text = {digest_of([number, ref])[7:23]: ref for ref in self.arms}
        return by_text[ballot.a], by_text[ballot.b]


@pytest.fixture
def opened(house: House) -> Opened:
    return Opened(house)


def rate_all(registry: Registry, rater: str, choice: Choice = C.A, name: str = "c") -> list[Ballot]:
    ballots = []
    while (ballot := registry.ratings.next(name, rater)) is not None:
        registry.ratings.vote(name, ballot.id, rater, choice)
        ballots.append(ballot)
    return ballots


# -- the queue --------------------------------------------------------------------------------------------------------


def test_a_rater_is_given_every_pair_once_and_each_pair_has_the_votes_that_were_asked_for(opened, registry):
    opened.open(5, votes=2)
    seen = {rater: rate_all(registry, rater) for rater in ("amal", "badr")}
    for ballots in seen.values():
        assert sorted(ballot.messages[0]["content"] for ballot in ballots) == [f"سؤال {n}" for n in range(5)]
    assert registry.ratings.next("c", "dina") is None
    votes = registry.ratings.ratings("c").votes
    assert Counter(Counter(vote.item for vote in votes).values()) == {2: 5}
    assert len({(vote.item, vote.rater) for vote in votes}) == 10


def test_the_same_ballot_comes_again_until_it_is_voted_on(opened, registry):
    opened.open(3)
    first = registry.ratings.next("c", "amal")
    assert registry.ratings.next("c", "amal") == first
    registry.ratings.vote("c", first.id, "amal", C.TIE)
    assert registry.ratings.next("c", "amal").id != first.id


def test_two_raters_at_once_are_never_given_the_same_place(opened, registry):
    opened.open(24)
    with ThreadPoolExecutor(8) as pool:
        given = list(pool.map(lambda n: registry.ratings.next("c", f"r{n}"), range(24)))
    assert len({ballot.messages[0]["content"] for ballot in given}) == 24
    assert registry.ratings.next("c", "late") is None


def test_who_is_asked_for_two_votes_a_pair_gives_it_to_two_raters_and_not_to_a_third(opened, registry):
    opened.open(1, votes=2)
    first, second = (registry.ratings.next("c", rater) for rater in ("amal", "badr"))
    assert first.messages == second.messages
    assert registry.ratings.next("c", "dina") is None


def test_pairs_with_the_fewest_votes_come_first_and_raters_begin_at_different_places(opened, registry):
    opened.open(40, votes=2)
    begin = {registry.ratings.next("c", rater).messages[0]["content"] for rater in ("amal", "badr", "dina")}
    assert len(begin) == 3
    opened.open(4, name="d", votes=2)
    first = registry.ratings.next("d", "amal")
    registry.ratings.vote("d", first.id, "amal", C.A)
    assert registry.ratings.next("d", "badr").messages != first.messages


def age(registry: Registry, seconds: float) -> None:
    """As if every ballot that waits had been given so long ago."""
    with registry._database.write() as tx:
        tx.execute(update(rated.ballots).values(given_at=datetime.now(UTC) - timedelta(seconds=seconds)))


def test_a_ballot_that_waits_too_long_goes_to_another_and_the_late_vote_is_refused(opened, registry):
    opened.open(1)
    late = registry.ratings.next("c", "amal")
    age(registry, LEASE.total_seconds() - 30)
    assert registry.ratings.next("c", "badr") is None
    age(registry, LEASE.total_seconds() + 30)
    other = registry.ratings.next("c", "badr")
    assert other.messages == late.messages
    with pytest.raises(Conflict, match="waited so long"):
        registry.ratings.vote("c", late.id, "amal", C.A)
    assert registry.ratings.next("c", "amal") is None
    registry.ratings.vote("c", other.id, "badr", C.B)
    assert [vote.rater for vote in registry.ratings.ratings("c").votes] == ["badr"]


def test_a_late_vote_counts_while_nobody_else_was_given_the_pair(opened, registry):
    opened.open(1)
    late = registry.ratings.next("c", "amal")
    age(registry, 10 * LEASE.total_seconds())
    registry.ratings.vote("c", late.id, "amal", C.A)
    assert len(registry.ratings.ratings("c").votes) == 1


def test_a_skip_is_no_vote_and_the_pair_goes_to_others_but_not_to_the_same_rater(opened, registry):
    opened.open(1)
    registry.ratings.vote("c", registry.ratings.next("c", "amal").id, "amal", C.SKIP)
    assert registry.ratings.next("c", "amal") is None
    registry.ratings.vote("c", registry.ratings.next("c", "badr").id, "badr", C.A)
    assert [vote.preferred is None for vote in registry.ratings.ratings("c").votes] == [True, False]
    progress = registry.ratings.progress("c")
    assert (progress.votes, progress.wanted, progress.skipped, progress.raters) == (1, 1, 1, {"badr": 1})


# -- blind ------------------------------------------------------------------------------------------------------------


def test_the_order_of_the_two_answers_is_random_for_each_item_and_rater_and_is_kept(opened, registry):
    opened.open(64, votes=2)
    first, second = opened.arms
    stood = {rater: [opened.whose(ballot) for ballot in rate_all(registry, rater)] for rater in ("amal", "badr")}
    for order in stood.values():
        assert 16 < order.count((first, second)) < 48
    votes = registry.ratings.ratings("c").votes
    by_item = {(vote.item, vote.rater): vote.swapped for vote in votes}
    assert 16 < sum(by_item[f"k{n}", "amal"] != by_item[f"k{n}", "badr"] for n in range(64)) < 48
    campaign = registry.ratings.get("c")
    assert all(v.swapped == campaign.swapped(v.item, v.first, v.second, v.rater) for v in votes)


def test_a_vote_is_for_the_arm_whose_answer_stood_there(opened, registry):
    opened.open(30)
    whose = {}
    while ballot := registry.ratings.next("c", "amal"):
        whose[ballot.messages[0]["content"].split()[-1]] = opened.whose(ballot)[0]
        registry.ratings.vote("c", ballot.id, "amal", C.A)
    votes = registry.ratings.ratings("c").votes
    assert {vote.preferred for vote in votes} == {P.FIRST, P.SECOND}
    for vote in votes:
        assert (vote.first if vote.preferred is P.FIRST else vote.second) == whose[vote.item[1:]]


@pytest.mark.parametrize(("choice", "preferred"), [(C.TIE, P.TIE), (C.BOTH_BAD, P.BOTH_BAD)])
def test_a_tie_and_both_bad_are_what_they_are_however_the_answers_stood(opened, registry, choice, preferred):
    opened.open(12)
    rate_all(registry, "amal", choice)
    assert {vote.preferred for vote in registry.ratings.ratings("c").votes} == {preferred}


def test_nothing_that_a_rater_or_the_trail_is_told_names_an_arm_before_the_campaign_is_closed(house, registry):
    opened = Opened(house, arms=3)
    opened.open(6)
    told: list[str] = []
    ballot = registry.ratings.next("c", "amal")
    told.append(ballot.model_dump_json())
    told.append(json.dumps(registry.ratings.vote("c", ballot.id, "amal", C.A)))
    told.append(registry.ratings.undo("c", "amal").model_dump_json())
    for rater, id_ in (("badr", ballot.id), ("amal", "ballot-none")):
        with pytest.raises(NotFound) as caught:
            registry.ratings.vote("c", id_, rater, C.A)
        told.append(str(caught.value))
    registry.ratings.vote("c", ballot.id, "amal", C.B)
    with pytest.raises(Conflict) as twice:
        registry.ratings.vote("c", ballot.id, "amal", C.A)
    told += [str(twice.value), registry.ratings.progress("c").model_dump_json()]
    trail = [entry for entry in registry.audit(limit=20) if entry.action in ("rating.vote", "rating.undo")]
    told += [entry.model_dump_json() for entry in trail]
    assert len(trail) == 3
    names = [*opened.arms, *(v.digest for v in opened.versions), "swapped", "first", "second"]
    assert [name for name in names for text in told if name in text] == []


def test_targets_are_shown_where_the_campaign_says_so_alone(opened, registry):
    opened.open(1)
    assert registry.ratings.next("c", "amal").target is None
    opened.open(1, name="d", show_target=True)
    assert registry.ratings.next("d", "amal").target == "target 0"


def test_a_campaign_that_reveals_says_whose_they_were_after_the_vote_and_takes_no_vote_back(opened, registry):
    opened.open(8, reveal=True)
    while ballot := registry.ratings.next("c", "amal"):
        said = registry.ratings.vote("c", ballot.id, "amal", C.A)
        assert (said["a"], said["b"]) == opened.whose(ballot)
    with pytest.raises(NotAllowed, match="no vote is taken back"):
        registry.ratings.undo("c", "amal")


# -- what needs no vote -----------------------------------------------------------------------------------------------


def test_equal_answers_are_a_tie_and_an_arm_without_an_answer_loses_unasked(opened, registry):
    first, second = opened.arms
    items = opened.items(5)
    answers = [{first: "x", second: " x\n"}, {first: None, second: "x"}, {first: "x", second: None},
               {first: None, second: None}]  # fmt: skip
    items = [item.model_copy(update={"answers": given}) for item, given in zip(items, answers, strict=False)] + items[
        4:
    ]
    opened.open(items)
    ratings = registry.ratings.ratings("c")
    assert {pair.item: pair.preferred for pair in ratings.settled} == {
        "k0": P.TIE, "k1": P.SECOND, "k2": P.FIRST, "k3": P.BOTH_BAD,
    }  # fmt: skip
    assert [ballot.messages[0]["content"] for ballot in rate_all(registry, "amal")] == ["سؤال 4"]
    progress = registry.ratings.progress("c")
    assert (progress.pairs, progress.settled, progress.wanted, progress.votes) == (1, 4, 1, 1)


# -- taking back ------------------------------------------------------------------------------------------------------


def test_undo_takes_the_last_vote_back_and_the_one_before_it_when_it_is_asked_again(opened, registry):
    opened.open(3)
    first = registry.ratings.next("c", "amal")
    registry.ratings.vote("c", first.id, "amal", C.A)
    second = registry.ratings.next("c", "amal")
    registry.ratings.vote("c", second.id, "amal", C.SKIP)
    assert registry.ratings.undo("c", "amal") == second
    assert registry.ratings.next("c", "amal") == second
    assert registry.ratings.undo("c", "amal") == first
    assert registry.ratings.ratings("c").votes == ()
    with pytest.raises(NotFound, match="no vote in c to take back"):
        registry.ratings.undo("c", "amal")
    assert len(rate_all(registry, "amal", C.B)) == 3
    trail = [entry for entry in registry.audit("c") if entry.action == "rating.undo"]
    assert [(entry.actor, entry.detail) for entry in reversed(trail)] == [
        ("amal", {"ballot": second.id, "choice": "skip"}),
        ("amal", {"ballot": first.id, "choice": "a"}),
    ]


def test_undo_takes_nobody_elses_vote_back(opened, registry):
    opened.open(2)
    registry.ratings.vote("c", registry.ratings.next("c", "badr").id, "badr", C.A)
    with pytest.raises(NotFound):
        registry.ratings.undo("c", "amal")
    assert len(registry.ratings.ratings("c").votes) == 1


# -- a campaign's life ------------------------------------------------------------------------------------------------


def test_a_closed_campaign_takes_no_vote_and_the_trail_says_who_did_what(opened, registry):
    opened.open(2)
    ballot = registry.ratings.next("c", "amal")
    registry.ratings.vote("c", ballot.id, "amal", C.A)
    waiting = registry.ratings.next("c", "badr")
    with pytest.raises(NotAllowed, match="dabt rate close c"):
        registry.ratings.note_export("c", 1, actor="amal")
    closed = registry.ratings.close("c", actor="ops", reason="enough")
    assert closed.closed_at is not None
    assert registry.ratings.close("c", actor="ops") == closed
    for refused in (
        lambda: registry.ratings.next("c", "badr"),
        lambda: registry.ratings.vote("c", waiting.id, "badr", C.A),
        lambda: registry.ratings.undo("c", "amal"),
    ):
        with pytest.raises(NotAllowed, match="closed"):
            refused()
    registry.ratings.note_export("c", 1, actor="ops")
    assert [(entry.actor, entry.action, entry.reason) for entry in registry.audit("c")] == [
        ("ops", "rating.export", ""),
        ("ops", "rating.close", "enough"),
        ("amal", "rating.vote", ""),
        ("amal", "rating.create", ""),
    ]


def test_pairs_of_a_version_that_is_retired_are_handed_out_no_more_and_its_votes_stay(house, registry):
    opened = Opened(house, arms=3)
    opened.open(2)
    ballot = registry.ratings.next("c", "amal")
    registry.ratings.vote("c", ballot.id, "amal", C.A)
    gone = opened.versions[2].ref
    registry.retire(gone, "amal", "replaced")
    rate_all(registry, "badr")
    votes = registry.ratings.ratings("c").votes
    assert {vote.item for vote in votes if {vote.first, vote.second} == set(list(opened.arms)[:2])} == {"k0", "k1"}
    assert [v.rater for v in votes if gone in (v.first, v.second)] in ([], ["amal"])
    progress = registry.ratings.progress("c")
    assert (progress.pairs, progress.resting) == (6, 4)
    assert progress.votes == progress.wanted
    with pytest.raises(NotAllowed, match=f"retired: {gone}"):
        opened.open(1, name="d")


def test_a_campaign_that_cannot_be_opened_says_everything_that_is_wrong_and_leaves_nothing(opened, registry):
    opened.open(1)
    arms = {**opened.arms, "triage:1": RatedArm(ref="triage:1", version_digest=digest_of("other"))}
    lame = opened.items(1)[0].model_copy(update={"answers": {"triage:1": "x"}})
    with pytest.raises(InvalidInput) as caught:
        opened.open([lame], arms=arms)
    assert [problem.place for problem in caught.value.problems] == ["name", "arms.triage:1", "item 0"]
    with pytest.raises(NotFound):
        opened.open(1, name="d", evaluation=digest_of("none"))
    with pytest.raises(InvalidInput, match="none to rate"):
        opened.open([], name="d")
    assert [campaign.name for campaign in registry.ratings.all()] == ["c"]


@pytest.mark.parametrize("rater", ["", "  ", "x" * 65, "a\nb"])
def test_a_rater_has_a_name(opened, registry, rater):
    opened.open(1)
    with pytest.raises(InvalidInput, match="no name"):
        registry.ratings.next("c", rater)


def test_a_campaign_that_is_not_there_is_said_to_be_so(registry):
    for ask in (registry.ratings.get, registry.ratings.progress, registry.ratings.ratings):
        with pytest.raises(NotFound, match="dabt rate list"):
            ask("none")


def test_closed_campaigns_on_the_same_items_and_versions_are_found_and_open_ones_are_not(opened, registry):
    opened.open(1)
    digests = [version.digest for version in opened.versions]
    assert registry.ratings.closed_on(digest_of("items"), digests) == []
    registry.ratings.close("c", actor="amal")
    assert [found.campaign.name for found in registry.ratings.closed_on(digest_of("items"), digests)] == ["c"]
    assert registry.ratings.closed_on(digest_of("other items"), digests) == []
    assert registry.ratings.closed_on(digest_of("items"), digests[:1]) == []
