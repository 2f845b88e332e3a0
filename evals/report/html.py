"""The report as one HTML file with nothing to fetch: figures, intervals drawn, verdicts, examples side by side."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from evals.report import costs
from evals.report.evaluation import OF_SLICES, RULINGS, Evaluation, columns_of, size_of
from evals.report.failures import WORDS, failure_rows
from evals.report.people import OF_PEOPLE, PEOPLE_HEAD, people_notes, people_rows
from evals.report.repeats import repeats_shown
from lifecycle.pages import house_style
from lifecycle.report import Comparison, Example, Interval
from lifecycle.text.scores import parse_object

if TYPE_CHECKING:
    from jinja2 import Template


def render_html(evaluation: Evaluation) -> str:
    """The page. Texts of models and patients are escaped, and each takes its own direction (`dir="auto"`)."""
    report = evaluation.report
    figures = [Line.of_figure(arm.arm, arm.metrics[report.metric]) for arm in report.arms]
    differences = [Line.of_difference(comparison) for comparison in report.comparisons]
    return _template().render(
        e=evaluation,
        style=house_style(),
        report=report,
        figures=Plot(figures, 0.0, 1.0),
        differences=Plot(differences, -1.0, 1.0).fitted(),
        cost_rows=costs.rows(report),
        cost_legend=costs.LEGEND,
        cost_plot=costs.CostPlot.of(report),
        cost_sentences=costs.sentences(report),
        readable=readable,
        failures=failure_rows(evaluation),
        failure_words=WORDS,
        best=_best,
        columns_of=columns_of,
        size_of=size_of,
        of_slices=OF_SLICES,
        people=(PEOPLE_HEAD, people_rows(report), people_notes(report), OF_PEOPLE),
        rulings=RULINGS,
        several=repeats_shown(evaluation),
    )


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

    def fitted(self) -> Plot:
        """The same over the range in use, in tenths, with 0 in it."""
        ends = [0.0, *(end for line in self.lines for end in (line.low, line.high))]
        low, high = int(min(ends) * 10 - 0.999) / 10, int(max(ends) * 10 + 0.999) / 10
        return Plot(self.lines, low, max(high, low + 0.1), self.left, self.right, self.step)

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


def readable(text: str) -> list[tuple[str, str]]:
    """A JSON object as (key, value) pairs, so that Arabic values stand in lines of their own; other text as it is."""
    value = parse_object(text)
    if not value:
        return [("", text)]
    return [
        (key, told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)) for key, told in value.items()
    ]


def _best(example: Example) -> float:
    return max(example.scores.values())


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape

    environment = Environment(
        loader=PackageLoader("evals.report", "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")
