"""Items that were asked several times, as the report shows it: how sure the means are, and what more would buy."""

from __future__ import annotations

import math
from dataclasses import dataclass

from evals.report.evaluation import Evaluation
from lifecycle.repeats import Repeats

HEAD = (
    "",
    "answers per item",
    "standard error",
    "of sampling",
    "twice the answers",
    "endless answers",
    "twice the items",
)
NOTE = (
    "An item counts once, as the mean of its answers. Standard errors: of the figure as it was measured, how much of "
    "its variance is the sampling of answers (the rest is between items), and what it would be with twice the answers "
    "to each item, with any number of them, and with twice the items (Miller 2024). "
    "pass@k: of k answers at least one is right; pass^k: all are; majority: the answer that most of them give."
)


@dataclass(frozen=True)
class RepeatsShown:
    """A table: a row for each arm that samples its answers, and for each difference to the baseline."""

    title: str
    rows: tuple[tuple[str, ...], ...]
    head: tuple[str, ...] = HEAD
    note: str = NOTE


def repeats_shown(evaluation: Evaluation) -> RepeatsShown | None:
    """None where every item was asked once."""
    report = evaluation.report
    rows = [_row(arm.arm, of) for arm in report.arms if (of := arm.metrics[report.metric].repeats)]
    gaps = [gap for arm in report.arms if (gap := evaluation.against_baseline(arm))]
    rows += [_row(f"{gap.arm} − {gap.against}", gap.repeats) for gap in gaps if gap.repeats]
    return RepeatsShown(f"{report.metric} of several answers to an item", tuple(rows)) if rows else None


def _row(name: str, of: Repeats) -> tuple[str, ...]:
    more = (of.se_at(answers=2), of.se_at(answers=math.inf), of.se_at(items=2))
    return (name, str(of.per_item), f"{of.se:.4f}", f"{of.share:.0%}", *(f"{se:.4f}" for se in more))
