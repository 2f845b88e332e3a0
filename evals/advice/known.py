"""Gathers what is known before training: a stored report with its arms' recipes, and a data report."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from evals.advice.prospect import DataFacts, Prospect
from lifecycle.errors import InvalidData, NotFound
from lifecycle.report import Report
from lifecycle.validation import in_a_line
from lifecycle.version import Ref

if TYPE_CHECKING:
    from lifecycle.registry import Registry


def with_evaluation(known: Prospect, evaluation: str, registry: Registry) -> Prospect:
    """`known`, and the evaluation with its arms' recipes.

    Raises `NotFound` for an evaluation that is not there, and for arms that this registry does not know.
    """
    report = _report(evaluation, registry)
    specs = {arm.arm: registry.version(arm.ref).spec for arm in report.arms}
    gated = any(registry.gate(Ref.parse(arm.ref).name) is not None for arm in report.arms)
    return replace(known, report=report, specs=specs, gated=gated)


def data_facts(path: Path, base: str | None) -> DataFacts:
    """Of a data report, or of rows that are checked now, by `dabt data check` in a process of its own: evaluation and
    training know nothing of each other. Raises `InvalidData` with its words where it cannot read them."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    if path.suffix == ".json" and (known := _read(path.read_text(encoding="utf-8"))):
        return known
    command = [sys.executable, "-m", "dabt", "data", "check", str(path), "--json", *(["--base", base] if base else [])]
    done = subprocess.run(command, capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if (facts := _read(done.stdout)) is None:
        raise InvalidData(f"{path} cannot be checked: {done.stderr.strip() or 'no report came back'}")
    return facts


def _read(text: str) -> DataFacts | None:
    try:
        return DataFacts.model_validate_json(text)
    except ValidationError:
        return None


def _report(evaluation: str, registry: Registry) -> Report:
    """A folder, a file, or the newest of a task."""
    path = Path(evaluation)
    file = path / "report.json" if path.is_dir() else path
    if file.is_file():
        try:
            return Report.model_validate_json(file.read_text(encoding="utf-8"))
        except ValidationError as error:
            raise InvalidData(f"{file} is no report of an evaluation: {in_a_line(error)}") from error
    reports = registry.reports(evaluation)
    if not reports:
        raise NotFound(f"there is no evaluation of '{evaluation}', and no report at {path}: run `dabt eval` first")
    return reports[0]
