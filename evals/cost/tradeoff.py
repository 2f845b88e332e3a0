"""Quality against cost: which arms nobody beats at their price, and from how many requests on an arm is the cheaper.

Pure functions of a report.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from lifecycle.costs import Cost
from lifecycle.report import ArmResult, Comparison, Report


@dataclass(frozen=True)
class BreakEven:
    """`later` costs more at the start and less for each request than `first`: it is the cheaper from `requests` on."""

    first: str
    later: str
    requests: int


@dataclass(frozen=True)
class Step:
    """From one arm of the Pareto line to the next: how much better, at how many times the cost."""

    cheaper: ArmResult
    better: ArmResult
    gain: Comparison
    times: float | None
    """None where the cheaper arm costs nothing."""


def priced(report: Report) -> list[ArmResult]:
    """The arms that have a cost, cheapest first."""
    return sorted((arm for arm in report.arms if arm.cost), key=lambda arm: (per_request(report, arm), arm.arm))


def per_request(report: Report, arm: ArmResult) -> float:
    """With its share of what is paid once, where the prices say how many requests come."""
    return _cost(arm).of_request(report.prices.requests if report.prices else None)


def pareto(report: Report) -> list[ArmResult]:
    """Cheapest first: arms to which no other is better at the same cost or less, nor as good at less."""
    line: list[ArmResult] = []
    for arm in sorted(priced(report), key=lambda arm: (per_request(report, arm), -_figure(report, arm))):
        if not line or _figure(report, arm) > _figure(report, line[-1]):
            line.append(arm)
    return line


def steps(report: Report) -> list[Step]:
    """Along the Pareto line."""
    line = pareto(report)
    made = []
    for cheaper, better in pairwise(line):
        gain = report.difference(better.arm, cheaper.arm)
        if gain is not None:
            made.append(Step(cheaper, better, gain, times(report, better, cheaper)))
    return made


def times(report: Report, arm: ArmResult, other: ArmResult) -> float | None:
    """How many times the other's cost the arm's is; None where the other costs nothing."""
    below = per_request(report, other)
    return per_request(report, arm) / below if below else None


def break_evens(report: Report) -> list[BreakEven]:
    """For every two arms whose costs cross, fewest requests first."""
    arms = priced(report)
    pairs = [(first, later) for first in arms for later in arms if first is not later]
    found = [
        BreakEven(first.arm, later.arm, requests)
        for first, later in pairs
        if (requests := _crossing(_cost(first), _cost(later))) is not None
    ]
    return sorted(found, key=lambda even: (even.requests, even.first, even.later))


def money(amount: float, currency: str) -> str:
    """Three digits that count, and no exponent."""
    digits = 0 if amount >= 100 or not amount else max(0, 2 - math.floor(math.log10(amount)))
    return f"{amount:,.{digits}f} {currency}"


def rounded(requests: int) -> str:
    """Two digits, upward: more than that no price of a machine's hour can bear."""
    unit = int(10 ** max(len(str(requests)) - 2, 0))
    return f"{-(-requests // unit) * unit:,}"


def unknowns(arms: Sequence[ArmResult]) -> list[str]:
    """What is in no figure, arm by arm."""
    return [f"{arm.arm}: {word}" for arm in arms if arm.cost for word in arm.cost.unknown]


def _crossing(first: Cost, later: Cost) -> int | None:
    """Requests from which `later` is the cheaper; None when it begins no dearer or never gets there."""
    ahead, saved = later.fixed - first.fixed, first.item - later.item
    return math.floor(ahead / saved) + 1 if ahead > 0 and saved > 0 else None


def _cost(arm: ArmResult) -> Cost:
    assert arm.cost is not None, "only arms with a cost are asked"
    return arm.cost


def _figure(report: Report, arm: ArmResult) -> float:
    return arm.metrics[report.metric].value
