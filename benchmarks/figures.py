"""What a scenario finds: a figure for each round, its spread, and the bar that it is held against. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure must reach: at least, or at most."""

    at_least: float | None = None
    at_most: float | None = None

    def __post_init__(self) -> None:
        if (self.at_least is None) == (self.at_most is None):
            raise ValueError("a bar is at least something, or at most something")

    def holds(self, value: float) -> bool:
        if self.at_least is not None:
            return value >= self.at_least
        return self.at_most is not None and value <= self.at_most

    def __str__(self) -> str:
        return f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `rounds` are the values of the rounds, `middle` is held against the bar."""

    scenario: str
    what: str
    rounds: tuple[float, ...]
    unit: str = ""
    """Empty for a ratio or a count."""
    bar: Bar | None = None
    left: tuple[float, ...] = ()
    """What the ratios were made of, by round: ours first, as a rule the stock server's second."""
    right: tuple[float, ...] = ()
    note: str = ""

    def __post_init__(self) -> None:
        if not self.rounds:
            raise ValueError(f"{self.scenario}, {self.what}: no round was measured")

    @property
    def middle(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def spread(self) -> tuple[float, float]:
        """The lowest and the highest round."""
        return min(self.rounds), max(self.rounds)

    @property
    def passed(self) -> bool | None:
        """None where there is no bar."""
        return None if self.bar is None else self.bar.holds(self.middle)

    def record(self) -> dict[str, Any]:
        """For the JSON file: everything, and what follows from it."""
        return {
            "scenario": self.scenario,
            "what": self.what,
            "unit": self.unit,
            "median": self.middle,
            "low": self.spread[0],
            "high": self.spread[1],
            "bar": None if self.bar is None else str(self.bar),
            "passed": self.passed,
            "rounds": list(self.rounds),
            "left": list(self.left),
            "right": list(self.right),
            "note": self.note,
        }


def ratio(
    scenario: str, what: str, left: Sequence[float], right: Sequence[float], bar: Bar | None = None, note: str = ""
) -> Figure:
    """`left` over `right`, round by round: what slows the machine for a while slows both of a round.

    Raises `ValueError` when a round is missing on one side.
    """
    rounds = tuple(ours / theirs for ours, theirs in zip(left, right, strict=True))
    return Figure(scenario, what, rounds, "", bar, tuple(left), tuple(right), note)
