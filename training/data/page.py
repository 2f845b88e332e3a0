"""A data report as one HTML file with nothing to fetch: figures, bars, findings with their rows beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache
from typing import TYPE_CHECKING

from lifecycle.pages import house_style
from lifecycle.rows.kinds import Row
from training.data.content import content
from training.data.findings import DataReport

if TYPE_CHECKING:
    from jinja2 import Template

_SHOWN = 20
"""Places that the page names of each finding."""

_LONGEST = 300
"""Characters of a row that are shown."""

_WORDS = 20_000
"""Rows of the files whose texts are kept for the page."""


class Excerpts:
    """The beginnings of questions by their place, for the page to show beside a finding."""

    def __init__(self) -> None:
        self.by_place: dict[str, str] = {}

    def see(self, row: Row) -> None:
        if len(self.by_place) < _WORDS:
            question = content(row).question
            self.by_place[row.place] = question[:_LONGEST] + "…" * (len(question) > _LONGEST)


def render_page(report: DataReport, title: str, said: Mapping[str, str], cost: Callable[[DataReport], str]) -> str:
    """The page. `said` has excerpts by place. All texts are escaped, and each takes its own direction."""
    return _template().render(
        report=report, title=title, style=house_style(), rows_of=_rows_of(said), shown=_SHOWN, cost=cost(report)
    )


def _rows_of(said: Mapping[str, str]) -> Callable[[str], list[tuple[str, str]]]:
    """The rows that a place names, with what they ask: `a:1 = a:2 (0.90)` names two."""

    def rows(place: str) -> list[tuple[str, str]]:
        return [(word, said[word]) for word in place.split() if word in said]

    return rows


@cache
def _template() -> Template:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("training.data", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("data.html")
