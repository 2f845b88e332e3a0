"""Answers that people collect from conversations: who is asked about them, and which campaigns take them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.errors import InvalidInput, NotAllowed
from lifecycle.rating import Campaign, Choice, RatedArm, RatedItem
from tests.lifecycle.conftest import House

pytestmark = pytest.mark.timeout(300)


class Collecting:
    def __init__(self, house: House) -> None:
        self.house, self.book = house, house.registry.ratings
        self.versions = [house.draft(f"s{number}") for number in range(3)]

    def campaign(self, *arms: int, **changes: Any) -> Campaign:
        rated = [self.versions[at] for at in arms or (0, 1)]
        facts = {"task": "conversations", "votes": 1, "seed": 7, "created_by": "amal", "created_at": datetime.now(UTC)}
        arms_ = {it.ref: RatedArm(ref=it.ref, version_digest=it.digest) for it in rated}
        return Campaign.model_validate({"name": "c", "arms": arms_, "pairs": [list(arms_)], **facts, **changes})

    def item(self, number: int, *arms: int, by: str | None = "amal") -> RatedItem:
        answers = {self.versions[at].ref: f"answer {number} {at}" for at in arms or (0, 1)}
        messages = ({"role": "user", "content": f"سؤال {number}"},)
        return RatedItem(key=f"k{number}", name=f"n{number}", messages=messages, answers=answers, collected_by=by)

    def collect(self, number: int, *, by: str | None = "amal", **changes: Any) -> Campaign:
        return self.book.collect(self.campaign(**changes), self.item(number, by=by), actor="amal")


@pytest.fixture
def collecting(house: House) -> Collecting:
    return Collecting(house)


def test_who_has_read_whose_answers_they_are_is_not_asked_about_them(collecting: Collecting) -> None:
    collecting.collect(1, by="amal")
    collecting.collect(2, by="badr")
    collecting.collect(3, by=None)
    asked = {}
    for rater in ("amal", "badr", "dina"):
        asked[rater] = 0
        while (ballot := collecting.book.next("c", rater)) is not None:
            collecting.book.vote("c", ballot.id, rater, Choice.SKIP)
            asked[rater] += 1
    assert asked == {"amal": 2, "badr": 2, "dina": 3}


def test_the_first_pair_opens_the_campaign_and_the_others_come_behind_with_its_settings(collecting: Collecting) -> None:
    first = collecting.collect(1)
    assert collecting.collect(2, votes=9, seed=1) == first
    assert collecting.collect(2, votes=9, seed=1) == first
    progress = collecting.book.progress("c")
    assert (progress.pairs, progress.wanted) == (2, 2)
    trail = [(entry.action, entry.detail.get("item")) for entry in collecting.house.registry.audit("c")]
    assert trail == [("rating.collect", "k2"), ("rating.create", None)]


def test_a_campaign_takes_answers_of_its_own_versions_alone_and_only_while_it_is_open(collecting: Collecting) -> None:
    collecting.collect(1)
    with pytest.raises(InvalidInput, match="choose another name"):
        collecting.book.collect(collecting.campaign(0, 2), collecting.item(2, 0, 2), actor="amal")
    collecting.book.close("c", actor="amal")
    with pytest.raises(NotAllowed, match="is closed"):
        collecting.collect(3)


def test_the_campaign_of_an_evaluation_takes_no_other_answers(collecting: Collecting) -> None:
    report = collecting.house.report_on(*collecting.versions[:2])
    collecting.house.registry.record_report(report)
    items = [collecting.item(1, by=None)]
    collecting.book.create(collecting.campaign(evaluation=report.digest), items, actor="amal")
    with pytest.raises(InvalidInput, match="has the answers of an evaluation"):
        collecting.collect(2)
    assert collecting.book.next("c", "amal") is not None


def test_answers_of_versions_that_are_not_there_or_are_others_are_refused(collecting: Collecting) -> None:
    first, second = collecting.versions[:2]
    digests = {first.ref: second.digest, "x:9": first.digest}
    wrong = {ref: RatedArm(ref=ref, version_digest=digest) for ref, digest in digests.items()}
    with pytest.raises(InvalidInput) as refused:
        collecting.book.collect(collecting.campaign(arms=wrong, pairs=[list(wrong)]), collecting.item(1), actor="amal")
    said = str(refused.value)
    assert f"{first.ref} is {first.digest}, and not {second.digest}" in said
    assert "there is no version x:9" in said
    assert "there is none of x:9" in said
    assert collecting.book.all() == []
