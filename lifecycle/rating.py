"""Blind ratings by people: a campaign, the items that are rated in it, what a rater sees, and the votes.

`registry/rating_book.py` keeps them and hands them out; `evals/people/` makes campaigns and says what votes come to.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, StringConstraints, model_validator

from lifecycle.version import Digest, Frozen, Name

Rater = Annotated[
    str, StringConstraints(strip_whitespace=True, min_length=1, max_length=64, pattern=r"^[^\x00-\x1f\x7f]+$")
]
"""Who votes, as people call them."""
QUESTION = "Which answer is better?"
LEASE = timedelta(minutes=30)
"""So long a pair waits for the rater who was given it; then another may have it."""


class Choice(StrEnum):
    """What a rater says of the two answers, as they stood before them."""

    A = "a"
    B = "b"
    TIE = "tie"
    BOTH_BAD = "both_bad"
    SKIP = "skip"
    """No vote: the rater cannot tell, or does not want to. The pair goes to others."""


class Preferred(StrEnum):
    """What that means of the two arms of a pair."""

    FIRST = "first"
    SECOND = "second"
    TIE = "tie"
    BOTH_BAD = "both_bad"

    @property
    def points(self) -> float:
        """Of the first arm: a win is 1, a loss 0. Two that are as good, or as bad, share it."""
        return {Preferred.FIRST: 1.0, Preferred.SECOND: 0.0}.get(self, 0.5)

    @property
    def turned(self) -> Preferred:
        """The same, seen from the other arm."""
        return {Preferred.FIRST: Preferred.SECOND, Preferred.SECOND: Preferred.FIRST}.get(self, self)


class RatedArm(Frozen):
    """Whose answers are rated."""

    ref: str
    version_digest: Digest
    deployment: Digest | None = None
    """What it answered on; None where the endpoint did not say."""
    is_base: bool = False
    """The base under its own name, which is no version of the registry's."""


class Campaign(Frozen):
    """What is asked of people, and of whose answers. It never changes but for its end, and for what is collected."""

    name: Name
    task: str
    evaluation: Digest | None = None
    """The report whose answers are rated; None for answers that people collect one conversation at a time."""
    data_digest: Digest | None = None
    """Of that evaluation's items, all of them; None in reports from before gates."""
    arms: dict[str, RatedArm] = Field(min_length=2)
    pairs: tuple[tuple[str, str], ...] = Field(min_length=1)
    """Which arms are compared, on every item."""
    votes: int = Field(default=2, ge=1, le=100)
    """Asked for on each pair of answers, each of another rater."""
    question: str = Field(default=QUESTION, min_length=1, max_length=500)
    show_target: bool = False
    """Whether raters see what would be right."""
    reveal: bool = False
    """Whether a rater is told after each vote whose answers those were. Such a vote cannot be undone."""
    seed: int = Field(ge=0, lt=2**32)
    """Of the order of places and of the queue. Who knows it can tell whose an answer is: no rater is shown it."""
    created_at: datetime
    created_by: str
    closed_at: datetime | None = None

    @model_validator(mode="after")
    def _pairs_are_of_its_arms(self) -> Self:
        named = [frozenset(pair) for pair in self.pairs]
        if len(set(named)) < len(named) or any(len(pair) < 2 for pair in named):
            raise ValueError("a pair is there twice, or compares an arm with itself")
        if unknown := sorted(set().union(*named) - set(self.arms)):
            raise ValueError(f"a pair names {', '.join(unknown)}, which is no arm")
        return self

    def swapped(self, item: str, first: str, second: str, rater: str) -> bool:
        """Whether the second arm's answer stands first before this rater: a coin of the campaign's seed."""
        return bool(self._drawn("order", item, first, second, rater) & 1)

    def place(self, item: str, first: str, second: str) -> int:
        """Where in the shuffled queue the pair stands."""
        return self._drawn("place", item, first, second) % SHUFFLE

    def begins(self, rater: str) -> int:
        """Where in the queue the rater begins, so that no two read the items from one end."""
        return self._drawn("queue", rater) % SHUFFLE

    def _drawn(self, *names: str) -> int:
        text = json.dumps([self.seed, self.name, *names])
        return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


SHUFFLE = 2**31


class RatedItem(Frozen):
    """One item with every arm's answer, as the evaluation kept them."""

    key: str
    name: str
    messages: tuple[dict[str, Any], ...] = Field(min_length=1)
    """What every arm was sent, behind its own prompt."""
    target: str = ""
    cluster: str | None = None
    slices: dict[str, str] = Field(default_factory=dict)
    answers: dict[str, str | None]
    """By arm; None where the request failed."""
    calls_tools: bool = False
    """Some answer calls tools: what is kept of it is for reading alone."""
    scores: dict[str, dict[str, float]] = Field(default_factory=dict)
    """Arm → figure → what it has on this item, to hold beside what people say."""
    collected_by: str | None = None
    """Who has read these answers with their names, and is asked about them no more."""

    def settled(self, first: str, second: str) -> Preferred | None:
        """What need not be asked: an arm that gave no answer loses, equal answers are a tie. None for all else."""
        one, other = self.answers[first], self.answers[second]
        if one is None or other is None:
            return Preferred.BOTH_BAD if one is other else Preferred.FIRST if other is None else Preferred.SECOND
        return Preferred.TIE if one.strip() == other.strip() else None


class Ballot(Frozen):
    """What one rater is given: two answers, and nothing that tells whose they are."""

    id: str
    campaign: Name
    question: str
    messages: tuple[dict[str, Any], ...]
    target: str | None = None
    a: str
    b: str


class Vote(Frozen):
    """One rater's word on one pair, and how it stood before them."""

    item: str
    first: str
    second: str
    rater: Rater
    preferred: Preferred | None
    """None for a skip."""
    swapped: bool
    """Whether the second arm's answer stood first."""
    at: datetime


class Settled(Frozen):
    """A pair that nobody is asked about."""

    item: str
    first: str
    second: str
    preferred: Preferred


class Ratings(Frozen):
    """All that a campaign holds."""

    campaign: Campaign
    items: tuple[RatedItem, ...]
    votes: tuple[Vote, ...]
    settled: tuple[Settled, ...]


class CampaignProgress(Frozen):
    """How far a campaign is, with nothing that tells what anybody said."""

    pairs: int
    """Of answers that people are asked about, on all items."""
    settled: int
    """Pairs that need no vote: equal answers, and those of an arm that gave none."""
    resting: int
    """Pairs that nobody is asked about any more, because a version of theirs is retired."""
    wanted: int
    """Votes that are asked for, without those on resting pairs that lack them."""
    votes: int
    waiting: int
    """Ballots that raters have before them now."""
    skipped: int
    raters: dict[str, int]
    """Votes of each."""
