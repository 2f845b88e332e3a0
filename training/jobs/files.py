"""A job's files beside its worker, and whether they can be trained on: read once, looked at by the checks, counted.

What is wrong becomes the job's error, line by line. What is only doubtful is told in its events.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lifecycle.errors import InvalidInput, NotFound
from lifecycle.jobs.nouns import Job, JobEvent, JobFault, TrainedBy
from lifecycle.publishing import Shelf
from lifecycle.rows.files import Reading, read_kinds
from lifecycle.rows.kinds import Kinds, Row
from training.data.checks import check
from training.data.findings import Finding
from training.jobs.plan import METHODS, JobFiles
from training.methods import method_class

LEAST_ROWS = 10
_TOLD = 20
"""Findings in one error."""
_PLACES = 5
"""Places of a finding."""
_PARAMS = ("training_file", "validation_file")


def fetch(job: Job, folder: Path, shelf: Shelf) -> JobFiles:
    """Into `folder`, called by their ids and by what their senders called them at the end: a reader goes by that.

    Raises `NotFound` for one that is gone, and what the store raises.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = [_fetched(job, id_, folder, shelf) for id_ in (job.request.training_file, job.request.validation_file)]
    assert paths[0] is not None
    return JobFiles(paths[0], paths[1])


def _fetched(job: Job, id_: str | None, folder: Path, shelf: Shelf) -> Path | None:
    if id_ is None:
        return None
    there = [path for path in folder.glob(f"{id_}*") if not path.name.endswith(".part")]
    if there:
        return there[0]  # a file is never changed
    file = shelf.registry.files.read_by(id_, job.id)
    name = id_ + "".join(Path(file.filename).suffixes[-2:]).lower()
    source = shelf.store.get(file.digest) / id_
    part = folder / f"{name}.part"
    part.unlink(missing_ok=True)
    try:
        os.link(source, part)
    except OSError:
        shutil.copyfile(source, part)
    part.replace(folder / name)
    return folder / name


def rows_of(method: TrainedBy) -> Kinds:
    return method_class(METHODS[method]).rows


def rows_in(path: Path) -> int:
    """Of a job whose hyperparameters were not settled when its files were looked at: an older worker did that."""
    return sum(1 for _ in Reading(path))


@dataclass(frozen=True)
class Looked:
    """What one reading of a job's files gave."""

    fault: JobFault | None = None
    """Why it cannot be trained."""
    events: tuple[JobEvent, ...] = ()
    """What is doubtful."""
    rows: int = 0
    """Of the training file."""


def look(job: Job, files: JobFiles) -> Looked:
    """Each file is read once."""
    kinds = rows_of(job.request.method)
    read: list[tuple[Row, ...]] = []
    for param, path in zip(_PARAMS, (files.train, files.validation), strict=True):
        if path is None:
            continue
        try:
            (rows,) = read_kinds(kinds, path)
        except InvalidInput as error:
            return Looked(fault_of(error, files, param))
        if param == _PARAMS[0] and len(rows) < LEAST_ROWS:
            said = f"{path.name} has {len(rows)} examples, and {LEAST_ROWS} are needed at least"
            return Looked(JobFault(code="invalid_n_examples", message=said, param=param))
        read.append(rows)
    training, *validation = read
    report = check(training, {"validation": validation[0]} if validation else {})
    told = {level: list(_told(report.of(level), files)) for level in ("error", "warning")}
    events = tuple(JobEvent(level="warn", message=line) for line in told["warning"])
    if told["error"]:
        lines = "\n".join(["The data checks found errors:", *told["error"][:_TOLD]])
        return Looked(JobFault(code="invalid_training_file", message=lines, param=_PARAMS[0]), events)
    return Looked(None, events, len(training))


def fault_of(error: InvalidInput | NotFound, files: JobFiles, param: str | None) -> JobFault:
    """With lines and fields, and without this machine's folders."""
    code = error.code if param is None else f"invalid_{param}"
    problems = error.problems if isinstance(error, InvalidInput) else ()
    lines = [str(problem) for problem in problems[:_TOLD]]
    if len(problems) > _TOLD:
        lines.append(f"and {len(problems) - _TOLD} more")
    head = error.summary if isinstance(error, InvalidInput) else str(error)
    return JobFault(code=code, message=_bare("\n".join([head, *lines]), files), param=param)


def _told(findings: Iterable[Finding], files: JobFiles) -> Iterator[str]:
    for finding in findings:
        places = ", ".join(finding.places[:_PLACES])
        more = f" and {finding.count - _PLACES} more" if finding.count > _PLACES else ""
        parts = (f"{finding.check}: {finding.message}", f"({places}{more})" if places else "", finding.cure)
        yield _bare(" ".join(part for part in parts if part), files)


def _bare(text: str, files: JobFiles) -> str:
    return text.replace(f"{files.train.parent}{os.sep}", "")
