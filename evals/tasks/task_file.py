"""The short task file: rows, and what is not to be taken from their shape.

    data: test.jsonl
    scorers: [normalised, {type: json, unordered: [symptoms]}]
    metric: normalised

Every key but `data` may be left out. The evaluation's own `metric`, `safety`, `cluster` and `slices` win.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import Field

from evals.recipes import File
from evals.scorers.scorer import Scorer
from evals.scorers.table import SCORERS
from evals.solvers.solver import Solver
from evals.solvers.table import SOLVERS
from lifecycle.config_file import load_mapping, validated
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.version import Frozen

_LM_EVALS = re.compile(r"^(output_type|doc_to_text|custom_dataset|dataset_path|group)\s*:", re.MULTILINE)
"""Keys that its task files have."""


class TaskFile(Frozen):
    """What is measured, whichever arms it is measured of."""

    data: File
    """Rows in any form that training reads; the last answer of each is its target."""
    scorers: tuple[Any, ...] = ()
    """Names, or mappings with `type` and the scorer's settings. Without it, by the targets' shape (`by_shape.py`)."""
    solver: Any = "chat"
    """How versions are asked: `chat`, `choices`, `turns`, `tools`; or a mapping: {type: chat, max_tokens: 60}. Where it
    is left out, questions with choices are asked by `choices`."""
    metric: str | None = None
    """Decides. Without it, the first figure of the first scorer."""
    safety: str | None = None
    cluster: str | None = None
    """Field of `meta` that says which rows belong together: they count as one."""
    slices: tuple[str, ...] = Field(default=())
    """Fields of `meta` that part the rows, besides what is worked out of them (`evals/slices.py`)."""

    @classmethod
    def load(cls, path: Path) -> tuple[TaskFile, Solver, tuple[Scorer, ...]]:
        """With the solver and the scorers that it names. Raises `InvalidConfig` with all of its problems."""
        if _LM_EVALS.search(path.read_text(encoding="utf-8", errors="replace")):
            cure = "name the folder that it lies in as task_files, and the task by its own name"
            raise InvalidConfig(f"{path} cannot be used", [Problem(str(path), "is a task file of lm-eval's", cure)])
        file = validated(cls, load_mapping(path), path)
        solver, problems = SOLVERS.read(_anchored(file.solver, path, "documents"), "solver")
        scorers = []
        for number, entry in enumerate(file.scorers):
            scorer, faults = SCORERS.read(_anchored(entry, path, "schema"), f"scorers.{number}")
            problems += faults
            scorers += [scorer] if scorer else []
        if problems:
            placed = [Problem(f"{path}: {problem.place}", problem.fault, problem.cure) for problem in problems]
            raise InvalidConfig(f"{path} cannot be used", placed)
        assert solver is not None
        return file, solver, tuple(scorers)


def _anchored(entry: Any, path: Path, key: str) -> Any:
    """With the file or folder under `key` beside the task file's, as all paths are."""
    if isinstance(entry, dict) and isinstance(entry.get(key), str):
        local = path.parent / entry[key]
        return {**entry, key: str(local)} if local.exists() else entry
    return entry
