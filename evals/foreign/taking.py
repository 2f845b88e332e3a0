"""Takes other tools' result files in: which tool wrote a file, and the folder in which its report is kept."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

from evals.archive.items import FILE, Item
from evals.archive.library import Kept, imports_of
from evals.foreign import lm_eval, nemo
from evals.foreign.run import FaultList, ForeignRun, loaded, unreadable
from lifecycle.config_file import load_mapping, refuse_unusable

if TYPE_CHECKING:
    from lifecycle.home import Home

_NAMES = ("results_*.json", "eval-*.json", "results.yml")


def take_in(paths: Iterable[Path], home: Home, *, metric: str = "") -> list[Kept]:
    """Keeps a report for each task of each file; a folder stands for all result files in it. The same file again is the
    same report.

    Raises `InvalidData` with every path where there is none, every file that is no result file, and every task whose
    figures cannot be used, of all files; nothing is kept then.
    """
    faults = FaultList()
    files = list(chain.from_iterable(faults.without(partial(_files, given)) or () for given in paths))
    runs = list(chain.from_iterable(faults.without(partial(_runs, path)) or () for path in files))
    made = [(run, faults.without(partial(run.report, metric))) for run in runs]
    faults.tell()
    reports = [(run, report) for run, report in made if report is not None]
    kept = []
    for run, report in reports:
        task = re.sub(r"[^\w.-]+", "_", report.task)[:80]
        folder = imports_of(home) / f"{task}-{report.digest.removeprefix('sha256:')[:12]}"
        folder.mkdir(parents=True, exist_ok=True)
        if run.items:
            _write(folder / FILE, run.items)
        # Last: a folder without a report is not listed.
        (folder / "report.json").write_text(report.model_dump_json(indent=2), encoding="utf-8")
        kept.append(Kept(report, (), folder))
    return kept


def _files(given: Path) -> list[Path]:
    if given.is_file():
        return [given]
    found = chain.from_iterable(given.rglob(name) for name in _NAMES) if given.is_dir() else ()
    there = sorted(path for path in found if path.is_file())
    if not there:
        fault = f"no result file is there, neither {', '.join(_NAMES[:-1])} nor {_NAMES[-1]}"
        raise unreadable(str(given), fault, "name such a file, or a folder with some")
    return there


def _runs(path: Path) -> list[ForeignRun]:
    try:
        return list(_read(path))
    except OSError as error:
        raise unreadable(str(path), f"cannot be read: {error.strerror or error}") from error
    except (AttributeError, TypeError, ValueError, KeyError) as error:  # a part of it has another form than the tool's
        raise unreadable(str(path), f"is not in the form that its tool writes: {error}") from error


def _read(path: Path) -> Iterator[ForeignRun]:
    if path.suffix in (".yml", ".yaml"):
        raw = load_mapping(path)
        refuse_unusable(raw, path)
    else:
        raw = loaded(path)
    if lm_eval.is_one(raw):
        return lm_eval.read(path)
    if nemo.is_one(raw):
        return nemo.read(path)
    if nemo.is_older(raw):
        return nemo.read_older(path, raw)
    raise unreadable(str(path), "is no result file of lm-eval or NeMo Evaluator")


def _write(path: Path, items: Iterable[Item]) -> None:
    with path.open("w", encoding="utf-8", errors="replace") as file:
        for item in items:
            file.write(json.dumps(item.model_dump(mode="json"), ensure_ascii=False) + "\n")
