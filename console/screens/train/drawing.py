"""Losses over steps as SVG that the server makes, one line a run: a page shows them without a script, and on paper.

Time runs as the page is read. Lines differ by their strokes as well as by colour; a loss that is no number is a gap.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple
from xml.etree import ElementTree

_LEFT, _TOP, _WIDTH, _HEIGHT, _BELOW = 72.0, 14.0, 600.0, 240.0, 28.0
_TICKS = 5
KINDS = 6
"""Of strokes; so many runs can be told apart (`console.css`)."""


class Line(NamedTuple):
    kind: int
    """Of its stroke, below `KINDS`."""
    points: Sequence[tuple[int, float | None]]
    """Steps in order; None where a loss was measured and was no number."""


def drawing(lines: Sequence[Line], written: Callable[[float], str], *, mirrored: bool, label: str) -> str:
    """`written` says a number in the reader's digits. Empty where there is no point to draw."""
    values = [value for line in lines for _, value in line.points if value is not None]
    if not values:
        return ""
    last = max(step for line in lines for step, value in line.points if value is not None) or 1
    rows, columns = ticks(min(values), max(values)), [tick for tick in ticks(0, last) if tick <= last]
    low, high = rows[0], rows[-1]

    def x(step: float) -> float:
        far = step / last * (_WIDTH - 2 * _LEFT)
        return round(_WIDTH - _LEFT - far if mirrored else _LEFT + far, 1)

    def y(value: float) -> float:
        return round(_TOP + (high - value) / (high - low) * _HEIGHT, 1)

    size = f"0 0 {_WIDTH:g} {_TOP + _HEIGHT + _BELOW:g}"
    svg = ElementTree.Element("svg", {"viewBox": size, "class": "losses", "role": "img", "aria-label": label})
    edge = x(0)
    for tick in rows:
        ends = {"x1": f"{x(0)}", "x2": f"{x(last)}", "y1": f"{y(tick)}", "y2": f"{y(tick)}"}
        ElementTree.SubElement(svg, "line", {"class": "line", **ends})
        place = {"x": f"{edge + (8 if mirrored else -8)}", "y": f"{y(tick) + 4}"}
        _say(svg, written(tick), {**place, "text-anchor": "start" if mirrored else "end", "direction": "ltr"})
    for tick in columns:
        _say(svg, written(tick), {"x": f"{x(tick)}", "y": f"{_TOP + _HEIGHT + 22}", "text-anchor": "middle"})
    for line in lines:
        for part in unbroken(line.points):
            places = [(x(step), y(value)) for step, value in part]
            if len(places) == 1:
                ((across, down),) = places
                at = {"cx": f"{across}", "cy": f"{down}", "r": "3", "class": f"dot run{line.kind}"}
                ElementTree.SubElement(svg, "circle", at)
                continue
            points = " ".join(f"{across},{down}" for across, down in places)
            ElementTree.SubElement(svg, "polyline", {"points": points, "class": f"run{line.kind}"})
    return ElementTree.tostring(svg, encoding="unicode")


def ticks(low: float, high: float) -> list[float]:
    """Round numbers from one at or below `low` to one at or above `high`, about `_TICKS` of them and two at least."""
    step = _round((high - low) / _TICKS) if high > low else _round(abs(high) or 1.0)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(at * step, 12) for at in range(first, max(last, first + 1) + 1)]


def _round(step: float) -> float:
    """1, 2 or 5 times a power of ten, the next above."""
    power = 10.0 ** math.floor(math.log10(step))
    return next(times * power for times in (1, 2, 5, 10) if times * power >= step * (1 - 1e-9))


def unbroken(points: Sequence[tuple[int, float | None]]) -> Iterator[list[tuple[int, float]]]:
    part: list[tuple[int, float]] = []
    for step, value in points:
        if value is not None:
            part.append((step, value))
        elif part:
            yield part
            part = []
    if part:
        yield part


def _say(svg: ElementTree.Element, text: str, place: dict[str, str]) -> None:
    ElementTree.SubElement(svg, "text", place).text = text
