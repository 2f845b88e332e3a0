"""What the report shows of times and costs: rows for tables, sentences, and quality drawn against cost.

One section for all three forms: the HTML page includes `templates/costs.html`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from evals.cost.tradeoff import break_evens, money, pareto, per_request, priced, rounded, times, unknowns
from lifecycle.costs import Cost, Percentiles, Timing
from lifecycle.report import ArmResult, Report

_Part = TypeVar("_Part", Timing, Percentiles, Cost)

LEGEND = (
    "TTFT: seconds from a request's arrival to its first token, by the endpoint's own word. items and tokens / s: "
    "answers over the seconds in which the arm had a request in flight. / 1,000: what 1,000 requests cost, with their "
    "share of what is paid once."
)
NO_PRICES = (
    "Tokens and seconds are measured; costs are not shown, because no prices are known. Write a prices.yaml (currency, "
    "tokens or machine, training, retrieval) and name it: `prices: prices.yaml` in the evaluation, or --prices "
    "prices.yaml."
)
THOUSAND = 1000
_LOG_FROM = 20.0
"""Dearest over cheapest, from which the axis of costs is logarithmic."""
_LETTER, _LINE = 8, 14
"""What a letter of a name and a line of it take in the plot, at most."""


def rows(report: Report) -> dict[str, list[str]]:
    """Cells of each row, in the order of the arms; rows that no arm has are left out."""
    made: dict[str, Callable[[ArmResult], str]] = {
        "p50 seconds": lambda arm: f"{arm.latency_p50:.2f}",
        "p95 seconds": lambda arm: f"{arm.latency_p95:.2f}",
        "p99 seconds": lambda arm: _of(arm.timing, lambda it: f"{it.latency.p99:.2f}"),
        "TTFT p50": lambda arm: _of(_first(arm), lambda it: f"{it.p50:.3f}{_told_by(arm, it)}"),
        "TTFT p95": lambda arm: _of(_first(arm), lambda it: f"{it.p95:.3f}"),
        "TTFT p99": lambda arm: _of(_first(arm), lambda it: f"{it.p99:.3f}"),
        "search seconds": lambda arm: _of(arm.timing, lambda it: f"{it.searched:.3f}" if it.searched else ""),
        "items / s": lambda arm: _of(arm.timing, lambda it: f"{it.items_per_second:.2f}"),
        "tokens / s": lambda arm: _of(arm.timing, lambda it: f"{it.tokens_per_second:.1f}"),
        "prompt tokens": lambda arm: f"{arm.prompt_tokens:.0f}",
        "answer tokens": lambda arm: f"{arm.completion_tokens:.0f}",
        "cached tokens": lambda arm: f"{arm.cached_tokens:.0f}" if arm.cached_tokens else "",
    }
    if prices := report.prices:
        dearest = max((per_request(report, arm) * THOUSAND for arm in priced(report)), default=0.0)
        made |= {
            f"{prices.currency} / 1,000": lambda arm: _of(arm.cost, lambda it: _requests(report, arm, it)),
            "of it: passages": lambda arm: _of(arm.cost, lambda it: _passages(it, dearest)),
            f"{prices.currency} once": lambda arm: _of(arm.cost, lambda it: f"{it.fixed:,.2f}"),
        }
    table = {name: [cell(arm) for arm in report.arms] for name, cell in made.items()}
    return {name: cells for name, cells in table.items() if any(cells)}


def sentences(report: Report) -> list[str]:
    """What the prices come to, pair by pair; without prices, how to name them."""
    prices = report.prices
    if prices is None:
        return [NO_PRICES]
    said = []
    if best := pareto(report):
        line = ", ".join(f"{arm.arm} ({money(THOUSAND * per_request(report, arm), prices.currency)})" for arm in best)
        share = "not shared out: the prices name no `requests`"
        if prices.requests:
            share = f"shared out over {prices.requests:,} requests"
        said.append(f"No arm is better at the same cost or less than: {line}; for 1,000 requests.")
        said.append(f"What is paid once (training, labelling, index, a retrieval service) is {share}.")
    said += [
        f"{even.later} begins dearer than {even.first} and is the cheaper from about {rounded(even.requests)} requests "
        "on."
        for even in break_evens(report)
    ]
    if lacking := unknowns(report.arms):
        said.append(f"Not in the costs: {'; '.join(lacking)}.")
    if prices.unused:
        said.append(f"The prices also name what is no arm here: {', '.join(prices.unused)}.")
    if any(arm.cost and arm.cost.by == "machine" for arm in report.arms):
        busy = next(arm.timing.concurrency for arm in report.arms if arm.timing)
        said.append(
            f"A machine's hours are those that an arm's answers took with {busy} requests in flight; with fewer "
            "callers at once a request costs more (`machine.share`)."
        )
    return said


@dataclass(frozen=True)
class Dot:
    """One arm in the plot, in units of the SVG's box."""

    arm: str
    x: float
    y: float
    left: float
    right: float
    top: float
    bottom: float
    best: bool
    """On the Pareto line."""
    text: str
    label: float = 0.0
    """Where the arm's name stands, in height: beside the dot, or out of the way of another name."""


@dataclass(frozen=True)
class CostPlot:
    """Quality upward, cost of 1,000 requests to the right; crosses are 95 % intervals."""

    dots: list[Dot]
    line: str
    """Points of the Pareto line, for an SVG `polyline`."""
    across: list[tuple[float, str]]
    up: list[tuple[float, str]]
    currency: str
    logarithmic: bool
    left: int = 60
    right: int = 680
    top: int = 14
    bottom: int = 300

    @classmethod
    def of(cls, report: Report) -> CostPlot | None:
        """None where fewer than two arms have a cost: there is nothing to weigh."""
        arms, prices = priced(report), report.prices
        if prices is None or len(arms) < 2:
            return None
        spans = {arm.arm: _span(report, arm) for arm in arms}
        lowest, dearest = min(low for low, _, _ in spans.values()), max(high for _, _, high in spans.values())
        logarithmic = lowest > 0 and dearest / lowest >= _LOG_FROM
        bounds = (lowest, dearest) if logarithmic else (0.0, dearest or 1.0)
        figures = [arm.metrics[report.metric] for arm in arms]
        floor = math.floor(10 * min(figure.low for figure in figures)) / 10
        ceiling = max(math.ceil(10 * max(figure.high for figure in figures)) / 10, floor + 0.1)

        def x(cost: float) -> float:
            low, high = map(math.log, bounds) if logarithmic else bounds
            share = ((math.log(cost) if logarithmic else cost) - low) / (high - low)
            return round(cls.left + share * (cls.right - cls.left - 90), 1)

        def y(value: float) -> float:
            return round(cls.bottom - (value - floor) / (ceiling - floor) * (cls.bottom - cls.top), 1)

        best = pareto(report)
        dots = []
        for arm, figure in zip(arms, figures, strict=True):
            low, cost, high = spans[arm.arm]
            price = money(cost, prices.currency)
            text = f"{arm.arm}: {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}], {price} for 1,000 requests"
            here = (x(cost), y(figure.value), x(low), x(high), y(figure.high), y(figure.low))
            dots.append(Dot(arm.arm, *here, arm in best, text))
        named = {dot.arm: dot for dot in dots}
        return cls(
            dots=_labelled(dots, cls.top),
            line=" ".join(f"{named[arm.arm].x},{named[arm.arm].y}" for arm in best),
            across=[(x(cost), f"{cost:.3g}") for cost in _ticks(*bounds, logarithmic)],
            up=[(y(value), f"{value:.1f}") for value in _tenths(floor, ceiling)],
            currency=prices.currency,
            logarithmic=logarithmic,
        )


def _labelled(dots: Sequence[Dot], top: float) -> list[Dot]:
    """The same with heights of their names, none over another: upward, and under the dot where the box ends."""
    made: list[Dot] = []
    for dot in dots:
        near = [other for other in made if abs(other.x - dot.x) < _LETTER * max(len(dot.arm), len(other.arm))]
        steps = range(len(near) + 1)
        heights = [*(dot.y - 8 - step * _LINE for step in steps), *(dot.y + 18 + step * _LINE for step in steps)]
        free = (
            height
            for height in heights
            if height >= top + _LINE and all(abs(height - other.label) >= _LINE for other in near)
        )
        made.append(replace(dot, label=round(next(free, dot.y - 8), 1)))
    return made


def _span(report: Report, arm: ArmResult) -> tuple[float, float, float]:
    """Low end, cost and high end of 1,000 requests."""
    assert arm.cost is not None, "only arms with a cost are shown"
    share = per_request(report, arm) - arm.cost.item
    low, value, high = (THOUSAND * (end + share) for end in (arm.cost.low, arm.cost.item, arm.cost.high))
    return low, value, high


def _ticks(low: float, high: float, logarithmic: bool) -> list[float]:
    """Some round values."""
    if logarithmic:
        first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
        values = [part * 10.0**power for power in range(first, last + 1) for part in (1, 2, 5)]
        return [value for value in values if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
    size = 10.0 ** math.floor(math.log10(high))
    size = next(part * size for part in (1.0, 0.5, 0.2, 0.1) if high / (part * size) >= 3)
    return [step * size for step in range(math.floor(high / size + 1e-9) + 1)]


def _tenths(floor: float, ceiling: float) -> list[float]:
    return [step / 10 for step in range(round(floor * 10), round(ceiling * 10) + 1)]


def _first(arm: ArmResult) -> Percentiles | None:
    return arm.timing.first_token if arm.timing else None


def _told_by(arm: ArmResult, first: Percentiles) -> str:
    """How many answers have it, where not all do."""
    return f"\nn={first.n}" if arm.timing and first.n < arm.timing.latency.n else ""


def _requests(report: Report, arm: ArmResult, cost: Cost) -> str:
    """Value, interval, and how many times the baseline's."""
    low, value, high = _span(report, arm)
    baseline = report.result(report.suite.baseline) if report.suite else report.arms[0]
    ratio = times(report, arm, baseline) if baseline.cost and arm is not baseline else None
    parts = [f"{value:.3g}", *([f"{low:.3g}…{high:.3g}"] if cost.low < cost.high else [])]
    return "\n".join([*parts, *([f"{ratio:.2g} x {baseline.arm}"] if ratio else [])])


def _passages(cost: Cost, dearest: float) -> str:
    """Search and prompt tokens of passages, for 1,000 requests."""
    amount = THOUSAND * (cost.search + (cost.passages or 0.0))
    return f"{amount:.3g}" if amount and dearest else ""


def _of(part: _Part | None, cell: Callable[[_Part], str]) -> str:
    return cell(part) if part else ""
