"""A run done again from its folder alone: the configuration as it was, on the same base and the same rows.

A run's name is made of all that decides its result, so the same name is the same run.
"""

from __future__ import annotations

import json
from pathlib import Path

from lifecycle.errors import InvalidConfig, NotFound, Problem
from training.config import TrainJob

_GIVEN = "given.json"
_NAME = "run"
"""Its key for the run's name, beside those of the configuration."""
_TITLE = "the run cannot be done again"


def keep(job: TrainJob, folder: Path) -> None:
    """Write into the run's folder what the run was told."""
    text = json.dumps({_NAME: folder.name, **job.anywhere()}, indent=2, ensure_ascii=False)
    (folder / _GIVEN).write_text(text + "\n", encoding="utf-8")


def runs_of(rows: Path, runs: Path) -> list[Path]:
    """The folders of those under `runs` that were told to train on files in the folder `rows`."""
    return [given.parent for given in runs.glob(f"*/{_GIVEN}") if _trains_on(rows.resolve(), given)]


def _trains_on(rows: Path, given: Path) -> bool:
    try:
        sources = json.loads(given.read_text(encoding="utf-8"))["data"]["train"]
        return any(Path(source["path"]).is_relative_to(rows) for source in sources)
    except (OSError, ValueError, KeyError, TypeError):
        return False


def job_of(folder: Path) -> TrainJob:
    """What the run in `folder` was told. Raises `NotFound`, and `InvalidConfig` for a folder that has another name than
    the run, and for files that are there no more.
    """
    try:
        raw = dict(json.loads((folder / _GIVEN).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise NotFound(f"{folder} holds no run that can be done again: {_GIVEN} is missing or cut short") from error
    name = raw.pop(_NAME, here := folder.resolve().name)
    if name != here:
        fault = f"the folder was renamed: the run in it is {name}"
        raise InvalidConfig(_TITLE, [Problem(str(folder), fault, f"call the folder {name} again")])
    return TrainJob.from_mapping(raw, folder, source=str(folder))


def require_same(wanted: str, name: str) -> None:
    """Raises `InvalidConfig` where a run would not be the one in the folder that is called `wanted`."""
    if name != wanted:
        fault = f"it would be {name}: its base, its rows, its prompt or the code of its method has changed since"
        cure = "take back what has changed, or train by a configuration, which makes a run of its own"
        raise InvalidConfig(_TITLE, [Problem(wanted, fault, cure)])
