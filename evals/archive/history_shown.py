"""A task's history as a table, and as a plot in SVG that stands alone: no script, no font and nothing to fetch."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple
from xml.etree import ElementTree

from evals.archive.history import History, Point
from evals.report.words import Words
from evals.xml_text import xml_text

if TYPE_CHECKING:
    from rich.console import Console

_LEFT, _TOP, _HEIGHT, _STEP, _RIGHT = 56, 44, 240, 96, 24
_LETTER = 7
"""The width of a letter of the title, about."""
_COLOURS = ("#1f6feb", "#b35900", "#1a7f37", "#8250df", "#cf222e", "#57606a")
"""Told apart by those who see colours otherwise too; each arm has a sign of its own beside."""
_SIGNS = ("circle", "square", "diamond", "triangle", "cross", "circle")
_OTHER = "≠ items"
"""Between two reports that cannot be compared."""
ENGLISH = Words()
_STYLE = """
svg { background: Canvas; color: CanvasText; font: 12px system-ui, sans-serif; }
text { fill: currentColor; unicode-bidi: plaintext; } .soft { opacity: .65; }
.grid { stroke: currentColor; opacity: .15; } .move { stroke: currentColor; opacity: .5; stroke-dasharray: 3 3; }
"""


class Look(NamedTuple):
    """Of one point."""

    told: str
    """What is read when one points at it."""
    sign: str


def print_history(made: History, console: Console) -> None:
    from rich.table import Table
    from rich.text import Text

    from lifecycle.commands.terminal import print_table

    table = Table("when", "report", "arm", made.metric, "ruling", "serving then", box=None, padding=(0, 1, 0, 0))
    before: Point | None = None
    for point in made.points:
        if before and before.basis != point.basis:
            table.add_row(*map(Text, ("", "", _OTHER, "", "", "")))
        new = before is None or before.report != point.report
        when, name = (f"{point.at:%Y-%m-%d}", point.report) if new else ("", "")
        low, high = point.figure.low, point.figure.high
        figure = f"{point.figure.value:.3f} {low:.2f}…{high:.2f}"
        version = "" if point.version == point.arm else f"\n{point.version}"
        cells = (when, name, f"{point.arm}{version}", figure, point.word or ("imported" if point.imported else ""),
                 point.serving.replace(", ", "\n") if new else "")  # fmt: skip
        table.add_row(*map(Text, cells))
        before = point
    print_table(table)
    if len({point.basis for point in made.points}) > 1:
        console.print(f"{_OTHER}: other items or scoring than before, so the figures are not compared", highlight=False)
    for move in made.moves:
        console.print(f"{move.at:%Y-%m-%d %H:%M}  {move.alias} → {move.to}", markup=False, highlight=False)
    if made.without:
        console.print(f"{made.without} reports of {made.task} have no such figure", markup=False, highlight=False)


def plot(made: History) -> str:
    """The drawing as a file that stands alone."""
    reports = len({point.report for point in made.points})
    svg = drawing(made, f"{made.task}: {made.metric} over {reports} reports, with 95 % intervals")
    style = ElementTree.Element("style")
    style.text = _STYLE
    svg.insert(1, style)
    ElementTree.indent(svg)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(svg, encoding="unicode") + "\n"


def drawing(made: History, title: str, words: Words = ENGLISH) -> ElementTree.Element:
    """The figure of each arm with its interval, a column a report. Lines join what can be compared; dashes say when the
    alias was moved. It needs the styles of `_STYLE`, or those of the page in which it stands."""
    reports = list(dict.fromkeys(point.report for point in made.points))
    width = max(_LEFT + _STEP * max(len(reports), 1) + _RIGHT, 16 + _LETTER * len(title))
    height = _TOP + _HEIGHT + 70 + 18 * len(made.arms)
    svg = ElementTree.Element(
        "svg", xmlns="http://www.w3.org/2000/svg", viewBox=f"0 0 {width} {height}", width=str(width),
        height=str(height), role="img",
    )  # fmt: skip
    ElementTree.SubElement(svg, "title").text = xml_text(title)
    _text(svg, 8, 20, title)
    low, high = _range(made)

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * _HEIGHT, 1)

    def x(report: str, arm: str) -> float:
        spread = 10 * (made.arms.index(arm) - (len(made.arms) - 1) / 2)
        return _LEFT + _STEP * (reports.index(report) + 0.5) + spread

    for step in range(6):
        value = low + (high - low) * step / 5
        _line(svg, _LEFT, y(value), width - _RIGHT, y(value), {"class": "grid"})
        _text(svg, 8, y(value) + 4, words.figures(f"{value:.2f}"), "soft")
    _columns(svg, made, reports, words)
    for number, arm in enumerate(made.arms):
        points = [point for point in made.points if point.arm == arm]
        colour = _COLOURS[number % len(_COLOURS)]
        group = ElementTree.SubElement(svg, "g", stroke=colour, fill=colour)
        for first, second in pairwise(points):
            if first.basis == second.basis:
                ends = [(x(point.report, arm), y(point.figure.value)) for point in (first, second)]
                _line(group, *ends[0], *ends[1], {})
        for point in points:
            _point(group, point, x(point.report, arm), y, Look(_told(point, words), _SIGNS[number % len(_SIGNS)]))
        at = _TOP + _HEIGHT + 66 + 18 * number
        _sign(group, _SIGNS[number % len(_SIGNS)], 16, at - 4)
        _text(svg, 28, at, arm)
    return svg


def _range(made: History) -> tuple[float, float]:
    ends = [end for point in made.points for end in (point.figure.low, point.figure.high)] or [0.0, 1.0]
    low, high = min(ends), max(ends)
    margin = (high - low) * 0.05 or 0.05
    # Shares end at 0 and 1; other figures go on.
    share = low >= 0 and high <= 1
    return (max(0.0, low - margin), min(1.0, high + margin)) if share else (low - margin, high + margin)


def _columns(svg: ElementTree.Element, made: History, reports: list[str], words: Words) -> None:
    """When each report was, and between them when the alias was moved and where the items changed."""
    whens = {point.report: point for point in made.points}
    for place, report in enumerate(reports):
        middle = _LEFT + _STEP * (place + 0.5)
        point = whens[report]
        _text(svg, middle, _TOP + _HEIGHT + 16, words.figures(f"{point.at:%Y-%m-%d}"), "soft", anchor="middle")
        _text(svg, middle, _TOP + _HEIGHT + 32, report[:8], "soft", anchor="middle")
        last = whens[reports[place - 1]] if place else None
        if last and last.basis != point.basis:
            _text(svg, middle - _STEP / 2, _TOP - 6, words("plot.other_items"), "soft", anchor="middle")
    for place, told in _between(made, reports, whens, words):
        at = _LEFT + _STEP * place
        line = _line(svg, at, _TOP, at, _TOP + _HEIGHT, {"class": "move"})
        ElementTree.SubElement(line, "title").text = xml_text("; ".join(told))
        _text(svg, at, _TOP + _HEIGHT + 48, xml_text(told[-1].rpartition("→ ")[2][:24]), "soft", anchor="middle")


def _between(
    made: History, reports: list[str], whens: dict[str, Point], words: Words
) -> Iterator[tuple[int, list[str]]]:
    """The column before which the alias was moved, and what was told; several moves there are one line."""
    columns: dict[int, list[str]] = {}
    for move in made.moves:
        place = sum(whens[report].at <= move.at for report in reports)
        columns.setdefault(place, []).append(f"{words.figures(f'{move.at:%Y-%m-%d %H:%M}')} {move.alias} → {move.to}")
    yield from sorted(columns.items())


def _told(point: Point, words: Words) -> str:
    figure = point.figure
    values = {
        "arm": point.arm, "version": point.version, "n": figure.n,
        "figure": f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]",
    }  # fmt: skip
    return words(f"plot.{point.word or 'point'}", **values)


def _point(group: ElementTree.Element, point: Point, x: float, y: Callable[[float], float], look: Look) -> None:
    figure = point.figure
    mark = ElementTree.SubElement(group, "g")
    ElementTree.SubElement(mark, "title").text = xml_text(look.told)
    _line(mark, x, y(figure.low), x, y(figure.high), {"stroke-width": "2"})
    _sign(mark, look.sign, x, y(figure.value), hollow=point.word in ("failed", "look"))


def _sign(group: ElementTree.Element, sign: str, x: float, y: float, *, hollow: bool = False) -> None:
    look = {"fill": "Canvas", "stroke-width": "2"} if hollow else {}
    if sign == "circle":
        ElementTree.SubElement(group, "circle", {"cx": f"{x:g}", "cy": f"{y:g}", "r": "4.5"} | look)
        return
    shapes = {
        "square": [(-4, -4), (4, -4), (4, 4), (-4, 4)],
        "diamond": [(0, -6), (5, 0), (0, 6), (-5, 0)],
        "triangle": [(0, -5), (5, 4), (-5, 4)],
        "cross": [
            (-5, -2),
            (-2, -2),
            (-2, -5),
            (2, -5),
            (2, -2),
            (5, -2),
            (5, 2),
            (2, 2),
            (2, 5),
            (-2, 5),
            (-2, 2),
            (-5, 2),
        ],
    }
    points = " ".join(f"{x + dx:g},{y + dy:g}" for dx, dy in shapes[sign])
    ElementTree.SubElement(group, "polygon", {"points": points} | look)


def _line(
    parent: ElementTree.Element, x1: float, y1: float, x2: float, y2: float, look: dict[str, str]
) -> ElementTree.Element:
    ends = {"x1": f"{x1:g}", "y1": f"{y1:g}", "x2": f"{x2:g}", "y2": f"{y2:g}"}
    return ElementTree.SubElement(parent, "line", ends | look)


def _text(parent: ElementTree.Element, x: float, y: float, text: str, kind: str = "", *, anchor: str = "start") -> None:
    look = {"class": kind} if kind else {}
    element = ElementTree.SubElement(parent, "text", {"x": f"{x:g}", "y": f"{y:g}", "text-anchor": anchor} | look)
    element.text = xml_text(text)
