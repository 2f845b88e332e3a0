"""Kept reports as a terminal shows them, within 80 columns: the list, items one by one, and the difference of two."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any
from unicodedata import category

from evals.archive.diff import ArmDiff, ReportDiff
from evals.archive.items import Item, ItemAnswer
from evals.archive.library import Kept
from evals.report.evaluation import MARKS
from lifecycle.report import Interval

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

OF_DIFFS = "Each interval is of 95 % for itself, and a difference decides nothing: the gate does."
_FLIPS = 10
"""Items of each arm that a diff names; how many there are is told too."""


def print_list(reports: Sequence[Kept], console: Console) -> None:
    from rich.text import Text

    from lifecycle.commands.terminal import print_table

    table = _table("report", "when (UTC)", "task", "items", "arms")
    for kept in reports:
        report = kept.report
        what = [report.task]
        if report.provisional:
            what.append("a look")
        if report.imported:
            what.append(f"from {report.imported.tool}")
        arms = "\n".join(arm_line(kept, place) for place in range(len(report.arms)))
        cells = (kept.name, f"{report.created_at:%Y-%m-%d %H:%M}", "\n".join(what), str(report.n_items), arms)
        table.add_row(*map(Text, cells))  # text and no markup: a task's name may hold brackets
    print_table(table)


def arm_line(kept: Kept, place: int) -> str:
    """`✓ adapter toy:1 0.900`; a look's mark is in brackets."""
    arm = kept.report.arms[place]
    verdict = kept.verdict(arm)
    mark = MARKS[verdict.ruling] if verdict else "·"
    mark = f"({mark})" if verdict and verdict.provisional else mark
    ref = "" if arm.ref == arm.arm else f" {arm.ref}"
    return f"{mark} {arm.arm}{ref} {arm.metrics[kept.report.metric].value:.3f}"


def listed(kept: Kept) -> dict[str, Any]:
    """A report in a list, as JSON."""
    report = kept.report
    arms = [
        {"arm": arm.arm, "version": arm.ref, "figure": arm.metrics[report.metric].model_dump(mode="json"),
         "ruling": kept.word(arm), "cost": arm.cost and arm.cost.model_dump(mode="json")}
        for arm in report.arms
    ]  # fmt: skip
    return {
        "report": report.digest,
        "created_at": report.created_at.isoformat(timespec="seconds"),
        "task": report.task,
        "items": report.n_items,
        "metric": report.metric,
        "arms": arms,
        "provisional": list(report.provisional),
        "prices": report.prices and report.prices.model_dump(mode="json"),
        "imported": report.imported.tool if report.imported else None,
        "folder": str(kept.folder) if kept.has_items else None,
    }


def print_item(kept: Kept, item: Item, console: Console) -> None:
    """One item with what every arm made of it. Each text stands on lines of its own, so that Arabic reads right."""
    part = ", ".join(f"{field} {value}" for field, value in item.slices.items())
    _line(console, f"{item.name}  {kept.name}#{item.anchor}", "bold")
    _say(console, "question", item.question)
    _say(console, "target", item.target)
    _say(console, "in", ", ".join(filter(None, [part, item.cluster and f"cluster {item.cluster}"])))
    for arm, answer in item.arms.items():
        _say(console, f"{arm}  {figures_of(answer)}", answer.error or answer.answer)
    console.print()


def figures_of(answer: ItemAnswer) -> str:
    told = [f"{name} {score:.3g}" for name, score in answer.scores.items()]
    told += [f"{name} unscored: {why}" for name, why in answer.unscored.items()]
    return ", ".join(told + (["failed"] if answer.error else []) + (["cut"] if answer.cut else []))


def _say(console: Console, label: str, text: str) -> None:
    if text:
        _line(console, label, "dim")
        _line(console, text)


def print_diff(diff: ReportDiff, console: Console) -> None:
    from rich.text import Text

    from lifecycle.commands.terminal import show

    _line(console, f"{diff.task}: {diff.before[7:19]} → {diff.after[7:19]}, {diff.arms[0].metric}", "bold")
    _line(console, pairing_of(diff), "" if diff.comparable else "yellow")
    table = _table("arm", "before", "after", "difference", "test", "better", "worse")
    for arm in diff.arms:
        table.add_row(*map(Text, _cells(arm)))
    show(table, console)
    for note in _notes(diff):
        _line(console, note)
    if diff.changes:
        changes = _table("what differs", "before", "after")
        for change in diff.changes:
            changes.add_row(*(Text(cell or "–") for cell in (change.what, change.before, change.after)))
        show(changes, console)
    for arm in diff.arms:
        _print_flips(diff, arm, console)
    if diff.comparable:
        _line(console, OF_DIFFS, "dim")


def _print_flips(diff: ReportDiff, arm: ArmDiff, console: Console) -> None:
    for flip in arm.flips[:_FLIPS]:
        moved = f"{flip.before:.3g} → {flip.after:.3g}"
        _line(console, f"  {name_of(arm)}  {moved}  {flip.name}  {diff.after[7:19]}#{flip.anchor}")
    if len(arm.flips) > _FLIPS:
        _line(console, f"  {name_of(arm)}: and {len(arm.flips) - _FLIPS} more; --json has all of them")


def _line(console: Console, text: str, style: str = "") -> None:
    console.print(printable(text), style=style, markup=False, highlight=False)


def printable(text: str) -> str:
    """Without the control characters by which a text could move a terminal's cursor or change its colours."""
    return "".join("\ufffd" if category(sign) == "Cc" and sign not in "\n\t" else sign for sign in text)


def pairing_of(diff: ReportDiff) -> str:
    """`180 items are in both; only before 12, only after 20`, or why they are not compared."""
    if not diff.comparable:
        return "\n".join(f"not comparable: {reason}" for reason in diff.reasons)
    text = f"{diff.both} items are in both; only before {diff.only_before}, only after {diff.only_after}"
    return text + (f"; {diff.changed} of these have a name of before and other content" if diff.changed else "")


def name_of(arm: ArmDiff) -> str:
    return arm.after_arm if arm.before_arm == arm.after_arm else f"{arm.before_arm} → {arm.after_arm}"


def _notes(diff: ReportDiff) -> list[str]:
    """What a reader must know before believing the figures."""
    notes = []
    if told_by := next((arm.told_by for arm in diff.arms if arm.told_by), ""):
        notes.append(f"  {diff.arms[0].metric} is of all items together: better and worse are by {told_by}")
    for arm in diff.arms:
        if not diff.reasons and arm.why_not:
            notes.append(f"  {name_of(arm)}: not compared: {arm.why_not}")
        if arm.paired and (arm.unscored_before or arm.unscored_after):
            notes.append(
                f"  {name_of(arm)}: in no pair: {arm.unscored_before} unscored before, {arm.unscored_after} after"
            )
        if arm.paired and any(figure and figure.n != arm.paired.n for figure in (arm.before, arm.after)):
            on = f"{arm.before_paired:.3f} → {arm.after_paired:.3f}"
            notes.append(f"  {name_of(arm)}: on the {arm.paired.n} pairs {on}; the table has each whole report")
    notes += [f"  {name_of(arm)}: {arm.cost.said}" for arm in diff.arms if arm.cost]
    told = (("before", diff.arms_only_before), ("after", diff.arms_only_after))
    return notes + [f"only {when}: {', '.join(arms)}" for when, arms in told if arms]


def _cells(arm: ArmDiff) -> tuple[str, ...]:
    before, after = (_figure(figure) for figure in (arm.before, arm.after))
    head = (f"{name_of(arm)}", f"{arm.before_ref}\n{before}", f"{arm.after_ref}\n{after}")
    if arm.paired is None:
        return (*head, "–", "", "", "")
    gap = arm.paired
    difference = f"{gap.delta:+.3f}\n{gap.low:+.2f}…{gap.high:+.2f}"
    test = f"{gap.test}\np {gap.p_value:.2g}, n {gap.n}"
    return (*head, difference, test, str(arm.better), str(arm.worse))


def _figure(figure: Interval | None) -> str:
    return f"{figure.value:.3f}\n{figure.low:.2f}…{figure.high:.2f}" if figure else "–"


def _table(*headings: str) -> Table:
    from rich.table import Table

    return Table(*headings, box=None, padding=(0, 1, 0, 0))
