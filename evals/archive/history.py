"""One task over time: the figure of each arm in each report, what was decided of it, and what served then.

Reports whose items or scoring differ are in one list, and no line joins them: `Point.basis` says which belong together.
`history_shown.py` makes the table and the plot.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from evals.archive.library import Kept
from lifecycle.errors import DabtError
from lifecycle.registry.audit import AuditEntry
from lifecycle.report import Interval, Report
from lifecycle.version import Frozen, Ref

_MOVES = ("alias.move", "alias.force", "alias.rollback")


class Point(Frozen):
    """One arm in one report."""

    report: str
    at: datetime
    arm: str
    version: str
    figure: Interval
    word: str | None
    """passed, failed, undecided or look; None where it was not judged."""
    basis: int
    """Reports with the same number asked the same items and scored alike."""
    imported: bool = False
    serving: str = ""
    """What the alias of the arm's name served then: `triage:3`, or the shares of several."""


class Move(Frozen):
    """The alias was moved."""

    alias: str
    at: datetime
    to: str


class History(Frozen):
    task: str
    metric: str
    points: tuple[Point, ...]
    """Oldest first; in a report in the order of its arms."""
    moves: tuple[Move, ...] = ()
    """From the first report on, oldest first."""
    without: int = 0
    """Reports of the task in which no chosen arm has the figure."""

    @property
    def arms(self) -> list[str]:
        return list(dict.fromkeys(point.arm for point in self.points))


@dataclass(frozen=True)
class Trail:
    """Where an alias pointed, from the registry's trail; oldest first."""

    moves: tuple[Move, ...]

    @classmethod
    def of(cls, entries: Iterable[AuditEntry], alias: str) -> Trail:
        """`entries` newest first, as the registry gives them."""
        moves = [
            Move(alias=alias, at=entry.at, to=_shares(entry.detail.get("to")))
            for entry in entries
            if entry.subject == alias and entry.action in _MOVES
        ]
        return cls(tuple(reversed(moves)))

    def at(self, moment: datetime) -> str:
        return next((move.to for move in reversed(self.moves) if move.at <= moment), "")


def history(
    task: str, reports: Sequence[Kept], trails: dict[str, Trail], *, metric: str = "", arms: Sequence[str] = ()
) -> History:
    """`reports` of the task, newest first, as the library gives them; `trails` by name (`triage`). Pure.

    The figure is that which decides in the newest report, unless named; `arms` are all of them.
    """
    metric = metric or reports[0].report.metric
    bases: list[Report] = []
    points: list[Point] = []
    without = 0
    for kept in reversed(reports):
        report = kept.report
        chosen = [arm for arm in report.arms if metric in arm.metrics and (not arms or arm.arm in arms)]
        without += not chosen
        if not chosen:
            continue
        basis = next((number for number, other in enumerate(bases) if _alike(other, report)), len(bases))
        if basis == len(bases):
            bases.append(report)
        for arm in chosen:
            trail = trails.get(name_of(arm.ref))
            points.append(
                Point(
                    report=kept.name,
                    at=report.created_at,
                    arm=arm.arm,
                    version=arm.ref,
                    figure=arm.metrics[metric],
                    word=kept.word(arm),
                    basis=basis,
                    imported=report.imported is not None,
                    serving=trail.at(report.created_at) if trail and not report.imported else "",
                )
            )
    start = points[0].at if points else None
    moves = sorted((move for trail in trails.values() for move in trail.moves), key=lambda move: move.at)
    since = tuple(move for move in moves if start and move.at >= start)
    return History(task=task, metric=metric, points=tuple(points), moves=since, without=without)


def name_of(ref: str) -> str:
    """Of a version; "" of what is none."""
    try:
        return Ref.parse(ref).name
    except DabtError:
        return ""


def _alike(first: Report, second: Report) -> bool:
    """The same items, scored alike: by the task's digest, or by those of its items and of its scoring."""
    if first.task_digest == second.task_digest:
        return True
    items = [report.suite.data_digest if report.suite else None for report in (first, second)]
    return None not in (first.scoring, items[0]) and (first.scoring, items[0]) == (second.scoring, items[1])


def _shares(to: object) -> str:
    """`triage:3`, or `triage:3 (90%), triage:4 (10%)`."""
    shares = to if isinstance(to, dict) else {}
    if len(shares) == 1:
        return str(next(iter(shares)))
    return ", ".join(f"{ref} ({100 * weight:.4g}%)" for ref, weight in shares.items())
