"""The data checks inside a run: told before training is spent, kept with the run, and errors stop it.

`checks.py` does the looking, as for `dabt data check`. Read `../run.py` next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from lifecycle.errors import InvalidData, Problem
from lifecycle.home import Home
from lifecycle.rows.kinds import Row
from training.data import advice
from training.data.checks import check, graded
from training.data.findings import DataReport, Finding

FILE = "data.json"
"""In the run's folder: everything that was found, with its places."""

Way = Literal["refuse", "report", "off"]
"""What a run does with errors: stop, tell them and go on, or look for none."""

_SHOWN = 3
"""Places that are told of each finding; the file has more."""


def look(
    training: Sequence[Row], validation: Sequence[Row], home: Home, *, held_out: bool, prompted: bool = False
) -> DataReport:
    """What is found in `training`, and of `validation` in it.

    `held_out` says that the run itself took the validation rows out of the training file. That one stands inside
    another is then no error of the person who brought the file, but a warning about the validation loss. `prompted`
    says that the run names a system text, so that the advice to do so is left out.
    """
    report = check(training, {"validation": validation})
    found = [_ours(finding) if held_out else finding for finding in report.findings]
    found = [finding for finding in found if not (prompted and finding.check == "system text")]
    if not any(home.evaluations.glob("*/report.json")):
        found.append(advice.untried())
    return report.model_copy(update={"findings": graded(found)})


def keep(report: DataReport, folder: Path) -> None:
    """All of it or nothing: a reader never sees half a report."""
    part = folder / f"{FILE}.part"
    part.write_text(report.model_dump_json(indent=2), encoding="utf-8")
    part.replace(folder / FILE)


def known(folder: Path) -> DataReport | None:
    """What a run that was stopped had found."""
    with suppress(OSError, ValidationError):
        return DataReport.model_validate_json((folder / FILE).read_text(encoding="utf-8"))
    return None


def _ours(finding: Finding) -> Finding:
    if finding.level != "error" or "leakage" not in finding.check:
        return finding
    cure = "the validation loss is too good; `dabt data split` keeps such rows on one side"
    return finding.model_copy(update={"level": "warning", "cure": cure})


def require_good(report: DataReport, way: Way) -> None:
    """Raises `InvalidData` with every error, unless the run was told to go on."""
    if way != "refuse" or not (errors := report.of("error")):
        return
    problems = [Problem(each.check, _placed(each), each.cure) for each in errors]
    raise InvalidData("the rows are not trained on as they are (unless `data.checks` is `report`)", problems)


def told(report: DataReport) -> Iterator[str]:
    """Every finding in a line, the gravest first."""
    for finding in report.findings:
        yield f"{finding.level}, {finding.check}: {_placed(finding)}"


def notes(report: DataReport | None) -> tuple[str, ...]:
    """What the version's lineage keeps: errors that were let pass, and warnings, without their places."""
    if report is None:
        return ()
    return tuple(f"{each.check}: {each.message}" for each in (*report.of("error"), *report.of("warning")))


def _placed(finding: Finding) -> str:
    if not finding.places:
        return finding.message
    more = ["…"] * (finding.count > _SHOWN)
    return f"{finding.message} ({', '.join([*finding.places[:_SHOWN], *more])})"
