"""Rules on slices: the same rules, held against the figures of some of the items, so that no part carries another.

What they do to the level: `case.Level.of_slices`.
"""

from __future__ import annotations

from evals.gate.case import Case, counted
from evals.gate.rules import Beats, NotWorse, Rule
from evals.statistics.thin import THIN
from lifecycle.report import Report, Where, words_of
from lifecycle.verdict import Check, Ruling


def figures_in(report: Report, where: Where | None) -> Report:
    """The report of the slice's items; of a slice that it does not have, one in which nothing was compared."""
    part = report.slice(where) if where else None
    if part:
        return report.within(part)
    return report.model_copy(update={"comparisons": ()}) if where else report


def on_slice(rule: Rule, case: Case) -> list[Check]:
    """The rule's checks on the slice's items. Of a slice that is thin, or lacks the deciding figure, none decides."""
    assert case.where is not None
    place = words_of(case.where)
    if lacking := _lacking(case):
        return [Check(rule=f"{rule.rule} in {place}", ruling=Ruling.UNDECIDED, detail=lacking, slice=case.where)]
    checks = [
        check.model_copy(update={"rule": f"{check.rule} in {place}", "slice": case.where})
        for check in rule.checks(case)
    ]
    # Where there is nothing to compare with, it does not matter how few the items are.
    nothing = isinstance(rule, Beats | NotWorse) and not rule.claims(case.report, case.arm)
    return checks if nothing or case.slice is None or not case.slice.thin else [_undecided(case, c) for c in checks]


def _lacking(case: Case) -> str:
    if case.slice is None:
        return "no item that was asked lies in this slice"
    metric = case.report.metric
    silent = [arm.arm for arm in (case.arm, *case.rivals) if metric not in arm.metrics]
    return f"no answer of {', '.join(silent)} has {metric} in this slice" if silent else ""


def _undecided(case: Case, check: Check) -> Check:
    assert case.slice is not None
    few = f"the slice is thin: {counted(case.slice.n, case.slice.clusters)}, and under {THIN} nothing is decided"
    return check.model_copy(update={"ruling": Ruling.UNDECIDED, "detail": f"{check.detail}; {few}"})
