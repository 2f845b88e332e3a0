"""Where kept reports are found: those of the registry, and those that were taken in from other tools, in a folder.

A report is named by the beginning of its digest, by its folder, or by `latest` and `TASK:latest`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import ValidationError

from evals.archive import items
from evals.people.in_report import votes_now
from lifecycle.errors import Corrupt, InvalidInput, NotFound
from lifecycle.report import ArmResult, Report
from lifecycle.verdict import Verdict
from lifecycle.version import Frozen, Ref, VersionSpec

if TYPE_CHECKING:
    from evals.report.evaluation import Evaluation
    from lifecycle.home import Home
    from lifecycle.registry import Registry
    from lifecycle.registry.readable import LeftOut

LATEST = "latest"
Word = Literal["passed", "failed", "undecided", "look"]
"""What a report can be asked for by: the ruling on one of its arms, or that nothing was decided."""
_FEWEST = 4
"""Letters of a digest that name a report."""


@dataclass(frozen=True)
class Kept:
    """A report with what was said of it, and the folder that has its items."""

    report: Report
    verdicts: tuple[Verdict, ...]
    folder: Path

    @property
    def name(self) -> str:
        """Short, as lists show it: the beginning of the digest."""
        return self.report.digest.removeprefix("sha256:")[:12]

    def verdict(self, arm: ArmResult) -> Verdict | None:
        return next((verdict for verdict in self.verdicts if verdict.version_digest == arm.version_digest), None)

    def word(self, arm: ArmResult) -> Word | None:
        """What was decided of the arm; None where it was not judged."""
        verdict = self.verdict(arm)
        if verdict is None:
            return None
        return "look" if verdict.provisional else verdict.ruling.value

    def items(self) -> Iterator[items.Item]:
        """See `items.read`. Raises `NotFound` also for a report of another tool whose file has no items."""
        if (imported := self.report.imported) and not self.has_items:
            raise NotFound(f"{imported.file} of {imported.tool} had no items when it was imported: none is kept")
        return items.read(self.folder)

    @property
    def has_items(self) -> bool:
        return (self.folder / items.FILE).is_file()

    def evaluation(self, policy_of: Callable[[Verdict], str]) -> Evaluation:
        """As it was when it was printed first, but for what its verdicts opened then."""
        from evals.report.evaluation import Evaluation

        policy = policy_of(self.verdicts[0]) if self.verdicts else ""
        return Evaluation(self.report, self.verdicts, policy, None, self.folder)


class Wanted(Frozen):
    """Which reports a list shows. All that is given must hold."""

    task: str | None = None
    version: str | None = None
    """A version (`triage:5`), or a name for all of its versions."""
    since: date | None = None
    until: date | None = None
    """The days themselves are in, as UTC has them."""
    verdict: Word | None = None
    """Of the version that is asked for, or else of any arm."""

    def takes(self, kept: Kept) -> bool:
        report = kept.report
        if self.task is not None and report.task != self.task:
            return False
        day = report.created_at.date()
        if (self.since and day < self.since) or (self.until and day > self.until):
            return False
        arms = [arm for arm in report.arms if self.version is None or _is(arm.ref, self.version)]
        return bool(arms) and (self.verdict is None or self.verdict in {kept.word(arm) for arm in arms})


def _is(ref: str, wanted: str) -> bool:
    return ref == wanted or ref.rpartition(":")[0] == wanted


@dataclass(frozen=True)
class Library:
    registry: Registry
    home: Home

    def reports(self, wanted: Wanted | None = None) -> tuple[list[Kept], list[LeftOut]]:
        """Newest first, and what this release cannot read."""
        return self._reports(wanted or Wanted(), None)

    def newest(self, wanted: Wanted, limit: int) -> tuple[list[Kept], list[LeftOut], int]:
        """The first `limit` of these, and how many more there are. With no filter but the task, no other is read. Days
        stand in the reports alone: with those, every report is read that the other filters leave.
        """
        if wanted == Wanted(task=wanted.task):
            reports, left_out = self._reports(wanted, limit)
            if not left_out:  # in the place of one that cannot be read an older one is among the first
                own = self.registry.listings.count_reports(wanted.task)
                count = own + sum(wanted.takes(kept) for kept in imported(self.home))
                return reports[:limit], left_out, max(count - limit, 0)
        reports, left_out = self._reports(wanted, None)
        return reports[:limit], left_out, max(len(reports) - limit, 0)

    def _reports(self, wanted: Wanted, newest: int | None) -> tuple[list[Kept], list[LeftOut]]:
        listed = self.registry.listings.reports(
            wanted.task, version=wanted.version, judged=wanted.verdict is not None, newest=newest
        )
        own = [self._kept(row.report, row.verdicts) for row in listed.rows]
        every = [*own, *imported(self.home)]
        chosen = [kept for kept in every if wanted.takes(kept)]
        return sorted(chosen, key=_when, reverse=True), list(listed.left_out)

    def find(self, name: str) -> Kept:
        """Raises `NotFound`, `Corrupt` for a folder whose report cannot be read, and `InvalidInput` for a name that
        several reports share."""
        if name and ((path := Path(name)).is_dir() or path.name == "report.json"):
            return self._of_folder(path if path.is_dir() else path.parent)
        if name == LATEST or name.endswith(f":{LATEST}"):
            task = name.removesuffix(LATEST).removesuffix(":") or None
            there, _, _ = self.newest(Wanted(task=task), 1)
            if not there:
                raise NotFound(f"no evaluation{f' of {task}' if task else ''} is kept yet; run `dabt eval`")
            return there[0]
        short = name.removeprefix("sha256:").lower()
        if not re.fullmatch(rf"[0-9a-f]{{{_FEWEST},64}}", short):
            cure = f"write at least {_FEWEST} letters of its digest, its folder, latest, or TASK:latest"
            raise InvalidInput(f"'{name}' names no report; {cure}; `dabt reports list` shows them")
        listed = self.registry.listings.reports(digest=f"sha256:{short}")
        for row in listed.left_out:
            raise NotFound(f"report {row.ref} cannot be read: {row.why}")
        there = [self._kept(row.report, row.verdicts) for row in listed.rows]
        there += [kept for kept in imported(self.home) if kept.name.startswith(short[:12])]
        if len(there) > 1:
            several = ", ".join(kept.name for kept in there)
            raise InvalidInput(f"several reports begin with {short}: {several}; write more of the digest")
        if not there:
            raise NotFound(f"no evaluation {name} is kept; `dabt reports list` shows what there is")
        return there[0]

    def folder_named(self, name: str) -> Path:
        """Of the report with this name: a folder, the name of one under the home, or whatever `find` takes. Raises what
        that raises."""
        for folder in (Path(name), self.home.evaluations / name, imports_of(self.home) / name):
            if name and folder.is_dir():
                return folder
        return self.find(name).folder

    def of_task(self, task: str) -> tuple[list[Kept], list[LeftOut]]:
        """Newest first. Raises `NotFound`, naming the tasks that there are."""
        reports, left_out = self.reports(Wanted(task=task))
        if not reports:
            known = sorted({kept.report.task for kept in self.reports()[0]})
            raise NotFound(f"no evaluation of {task} is kept; there is {', '.join(known) or 'none of any task'}")
        return reports, left_out

    def policy_of(self, verdict: Verdict) -> str:
        """The policy's name where the gate of its name has it, else the beginning of its digest."""
        gate = self.registry.gate(Ref.parse(verdict.ref).name)
        if gate is not None and gate.policy == verdict.policy_digest:
            return gate.policy_name
        return f"policy {verdict.policy_digest.removeprefix('sha256:')[:12]}"

    def shown(self, kept: Kept) -> Evaluation:
        """As it was when it was printed first, with people's votes as they are now."""
        evaluation = kept.evaluation(self.policy_of)
        return replace(evaluation, votes=votes_now(kept.report, kept.verdicts, self.registry, datetime.now(UTC)))

    def spec_of(self, arm: ArmResult) -> VersionSpec | None:
        """The recipe of the arm's version; None for one that this registry does not have."""
        try:
            version = self.registry.version(arm.ref)
        except (NotFound, InvalidInput):
            return None
        return version.spec if version.digest == arm.version_digest else None

    def _kept(self, report: Report, verdicts: tuple[Verdict, ...]) -> Kept:
        from evals.report import folder_of

        return Kept(report, verdicts, folder_of(self.home, report))

    def _of_folder(self, folder: Path) -> Kept:
        """One that another machine may have written."""
        report = _read(folder / "report.json")
        known = self.registry.listings.reports(digest=report.digest).rows
        return Kept(report, known[0].verdicts if known else (), folder)


def imports_of(home: Home) -> Path:
    """Where reports of other tools are: beside our own and not among them."""
    return home.evaluations / "imported"


def imported(home: Home) -> list[Kept]:
    """Those that were taken in from other tools, in the order of their folders. They have no verdicts."""
    return [Kept(_read(path), (), path.parent) for path in sorted(imports_of(home).glob("*/report.json"))]


def _read(path: Path) -> Report:
    try:
        return Report.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise NotFound(f"{path} is not there: the folder is no report's") from error
    except (ValidationError, OSError) as error:
        raise Corrupt(
            f"{path} is no report that this release can read; upgrade, or run the evaluation again"
        ) from error


def _when(kept: Kept) -> datetime:
    return kept.report.created_at
