"""What is said of two arms, by people and by what needed no vote: the win rate, and how far people and figures agree.

An item counts once, however many votes it has: its votes are averaged first. A tie and `both bad` are half a win for
each side, as in Chatbot Arena (Chiang et al. 2024, arXiv 2403.04132). Read `agreement.py` and `strengths.py` next.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from evals.people.agreement import alpha
from evals.statistics.intervals import mean_interval
from lifecycle.errors import InvalidInput
from lifecycle.interval import Interval
from lifecycle.people import FigureAgreement, PeopleComparison
from lifecycle.rating import Preferred, RatedItem, Ratings
from lifecycle.report import Where


@dataclass(frozen=True, slots=True)
class Said:
    """One word on one pair of answers."""

    item: RatedItem
    arm: str
    against: str
    preferred: Preferred | None
    """Of the two as they are named here; None for a skip."""
    rater: str | None
    """None where nobody had to be asked."""
    campaign: str
    scores: Mapping[str, Mapping[str, float]]
    """Of both arms, by their names here."""

    @property
    def cluster(self) -> str:
        """What counts as independent: an item, or what it belongs to."""
        return self.item.cluster or self.item.key

    @property
    def turned(self) -> Said:
        preferred = self.preferred.turned if self.preferred else None
        return Said(self.item, self.against, self.arm, preferred, self.rater, self.campaign, self.scores)


def said_in(ratings: Ratings, names: Mapping[str, str] | None = None) -> list[Said]:
    """Votes, skips and settled pairs. `names`: what arms of the campaign are called here; others are left out."""
    called = {label: label for label in ratings.campaign.arms} if names is None else names
    items = {item.key: item for item in ratings.items}
    rated = [(vote, vote.rater) for vote in ratings.votes] + [(pair, None) for pair in ratings.settled]
    return [
        Said(
            items[word.item],
            called[word.first],
            called[word.second],
            word.preferred,
            rater,
            ratings.campaign.name,
            {called[label]: items[word.item].scores.get(label, {}) for label in (word.first, word.second)},
        )
        for word, rater in rated
        if word.first in called and word.second in called
    ]


def of_pair(said: Iterable[Said], arm: str, against: str) -> list[Said]:
    """What is said of these two, seen from `arm`."""
    words = (word if word.arm == arm else word.turned for word in said if {word.arm, word.against} == {arm, against})
    return list(words)


def pairs_in(said: Iterable[Said], order: Sequence[str]) -> list[tuple[str, str]]:
    """Which arms are compared: in the `order` of the arms, the later one against the earlier."""
    there = {frozenset((word.arm, word.against)) for word in said}
    return [(later, earlier) for earlier, later in combinations(order, 2) if {earlier, later} in there]


def compared(said: Sequence[Said], arm: str, against: str, where: Where | None = None) -> PeopleComparison | None:
    """`arm` against `against`, on all items or on those of a slice; None where nothing is said of them."""
    words = [word for word in of_pair(said, arm, against) if not where or where.items() <= word.item.slices.items()]
    counted = [word for word in words if word.preferred is not None]
    if not counted:
        return None
    votes = [word for word in counted if word.rater is not None]
    counts = Counter(word.preferred for word in votes)
    return PeopleComparison(
        arm=arm,
        against=against,
        campaigns=tuple(dict.fromkeys(word.campaign for word in words)),
        where=where or {},
        win_rate=win_rate(counted),
        wins=counts[Preferred.FIRST],
        losses=counts[Preferred.SECOND],
        ties=counts[Preferred.TIE],
        both_bad=counts[Preferred.BOTH_BAD],
        skipped=len(words) - len(counted),
        settled=len(counted) - len(votes),
        raters=len({(word.campaign, word.rater) for word in votes}),
        alpha=alpha(units_of(votes), "nominal"),
        people_agreed=people_agreed(votes),
        figures=figures_agreed(votes, arm, against),
    )


def win_rate(said: Sequence[Said]) -> Interval:
    """The mean over items of what their words give the arm, with its 95 % interval by clusters.

    Raises `InvalidInput` where nothing is said.
    """
    by_item = _by_item(said)
    if not by_item:
        raise InvalidInput("nobody has voted: there is no win rate")
    values, clusters = [], []
    for words in by_item.values():
        values.append(sum(word.preferred.points for word in words if word.preferred) / len(words))
        clusters.append(words[0].cluster)
    return mean_interval(values, clusters=clusters if len(set(clusters)) < len(clusters) else None)


_NOMINAL = {Preferred.FIRST: 1.0, Preferred.SECOND: 2.0, Preferred.TIE: 3.0, Preferred.BOTH_BAD: 4.0}
_ORDINAL = {Preferred.SECOND: 1.0, Preferred.TIE: 2.0, Preferred.BOTH_BAD: 2.0, Preferred.FIRST: 3.0}

Units = dict[tuple[str, str, str], dict[str, float]]
"""Pair of answers → rater → what they said, as a number."""


def units_of(said: Iterable[Said], *, ordinal: bool = False) -> Units:
    """Votes as `alpha` takes them: four kinds, or in order from the one arm over ties to the other."""
    codes = _ORDINAL if ordinal else _NOMINAL
    units: Units = defaultdict(dict)
    for word in said:
        if word.preferred is not None and word.rater is not None:
            units[word.item.key, word.arm, word.against][f"{word.campaign}/{word.rater}"] = codes[word.preferred]
    return dict(units)


def people_agreed(votes: Sequence[Said]) -> Interval | None:
    """How often two people say the same of one pair; None where no two were asked."""
    values, clusters = [], []
    for words in _by_item(votes).values():
        said = [_side(word.preferred) for word in words]
        for one, other in combinations(said, 2):
            values.append(float(one == other))
            clusters.append(words[0].cluster)
    return mean_interval(values, clusters=clusters) if values else None


def figures_agreed(votes: Sequence[Said], arm: str, against: str) -> dict[str, FigureAgreement]:
    """How often each figure of the items, a judge's among them, prefers what a person prefers.

    A figure prefers the arm for which it is higher. `agreed` takes ties as a third answer, `decided` leaves out votes
    and figures that are ties: setups S1 and S2 of Zheng et al. 2023 (arXiv 2306.05685).
    """
    names = dict.fromkeys(name for word in votes for name in word.scores.get(arm, {}))
    found = {}
    for name in names:
        both = [
            (word, own - other)
            for word in votes
            if (own := word.scores.get(arm, {}).get(name)) is not None
            and (other := word.scores.get(against, {}).get(name)) is not None
        ]
        told = [(word, _side(word.preferred), (gap > 0) - (gap < 0)) for word, gap in both]
        decided = [(word, said, figure) for word, said, figure in told if said and figure]
        if told:
            found[name] = FigureAgreement(agreed=_agreed(told), decided=_agreed(decided) if decided else None)
    return found


def _agreed(told: Sequence[tuple[Said, int, int]]) -> Interval:
    values = [float(said == figure) for _, said, figure in told]
    return mean_interval(values, clusters=[word.cluster for word, _, _ in told])


def _side(preferred: Preferred | None) -> int:
    return {Preferred.FIRST: 1, Preferred.SECOND: -1}.get(preferred or Preferred.TIE, 0)


def _by_item(said: Iterable[Said]) -> dict[str, list[Said]]:
    by_item: dict[str, list[Said]] = defaultdict(list)
    for word in said:
        by_item[word.item.key].append(word)
    return by_item
