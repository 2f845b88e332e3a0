"""Intervals drawn over one axis, as the page's SVG has them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from lifecycle.report import Comparison, Interval


@dataclass(frozen=True)
class Line:
    """One interval to draw."""

    label: str
    value: float
    low: float
    high: float
    text: str
    tone: str = ""
    """A CSS class: `up` and `down` for differences that the interval tells from 0."""

    @classmethod
    def of_figure(cls, arm: str, figure: Interval) -> Line:
        return cls(arm, figure.value, figure.low, figure.high, f"{figure.value:.3f}")

    @classmethod
    def of_difference(cls, comparison: Comparison) -> Line:
        tone = "up" if comparison.low > 0 else "down" if comparison.high < 0 else ""
        return cls(
            f"{comparison.arm} − {comparison.against}",
            comparison.delta,
            comparison.low,
            comparison.high,
            f"{comparison.delta:+.3f}",
            tone,
        )


@dataclass(frozen=True)
class Plot:
    """Intervals over a common axis from `low` to `high`. Geometry in units of the SVG's own box."""

    lines: list[Line]
    low: float
    high: float
    left: int = 190
    right: int = 620
    step: int = 26
    rtl: bool = False
    """Labels at the right, where such a page begins; the axis still grows to the right, as its digits do."""

    @property
    def label_x(self) -> int:
        return self.right + 12 if self.rtl else self.left - 12

    @property
    def text_x(self) -> int:
        return self.left - 14 if self.rtl else self.right + 14

    def turned(self, direction: str) -> Plot:
        """For a page that is written in that direction."""
        return replace(self, left=80, right=510, rtl=True) if direction == "rtl" else self

    def fitted(self) -> Plot:
        """The same over the range in use, in tenths, with 0 in it."""
        ends = [0.0, *(end for line in self.lines for end in (line.low, line.high))]
        low, high = int(min(ends) * 10 - 0.999) / 10, int(max(ends) * 10 + 0.999) / 10
        return replace(self, low=low, high=max(high, low + 0.1))

    @property
    def height(self) -> int:
        return self.step * len(self.lines) + 30

    @property
    def ticks(self) -> list[float]:
        """Five or so round values."""
        size = next(size for size in (0.05, 0.1, 0.2, 0.25, 0.5) if (self.high - self.low) / size <= 8)
        first = round(self.low / size)
        count = round((self.high - self.low) / size) + 1
        return [round((first + place) * size, 2) for place in range(count)]

    def x(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, place: int) -> float:
        return place * self.step + self.step / 2
