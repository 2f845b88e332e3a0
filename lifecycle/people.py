"""What people's votes on two arms come to, as a report holds it. `evals/people/tally.py` works it out."""

from __future__ import annotations

from typing import Self

from pydantic import Field

from lifecycle.interval import Interval
from lifecycle.version import Frozen


class FigureAgreement(Frozen):
    """How often a figure of the items, such as a judge's, prefers the answer that a person prefers."""

    agreed: Interval
    """Over all votes; ties are an answer of their own."""
    decided: Interval | None = None
    """Over votes for one side, where the figure takes a side too; None for none."""


class PeopleComparison(Frozen):
    """People's blind votes on the answers of `arm` beside those of `against` of closed campaigns (`rating.py`)."""

    arm: str
    against: str
    campaigns: tuple[str, ...]
    where: dict[str, str] = Field(default_factory=dict)
    """Of which items; empty for all."""
    win_rate: Interval
    """Share of the items that `arm` wins, one half for ties; by the mean of each item's votes."""
    wins: int
    """Votes for `arm`."""
    losses: int
    ties: int
    both_bad: int
    """Votes that neither answer is good; in the win rate, a tie."""
    skipped: int = 0
    settled: int = 0
    """Items that nobody was asked about: equal answers are a tie, an arm that gave none loses. They are in the win
    rate, and in no count of votes."""
    raters: int
    alpha: float | None = None
    """Krippendorff's, nominal, over the four kinds of vote; None where no pair has two votes."""
    people_agreed: Interval | None = None
    """How often two people say the same of a pair; what a figure's agreement is to be held beside."""
    figures: dict[str, FigureAgreement] = Field(default_factory=dict)

    @property
    def votes(self) -> int:
        return self.wins + self.losses + self.ties + self.both_bad

    @property
    def turned(self) -> Self:
        """The same, seen from the other arm."""
        rate = self.win_rate
        swapped = rate.model_copy(update={"value": 1 - rate.value, "low": 1 - rate.high, "high": 1 - rate.low})
        names = {"arm": self.against, "against": self.arm, "wins": self.losses, "losses": self.wins}
        return self.model_copy(update={**names, "win_rate": swapped})
