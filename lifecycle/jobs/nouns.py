"""What a fine-tuning job is, what it leaves on its way, and the files that it reads, as the registry holds them.

A worker holds a job by a lease: its own name in `holder`, and `beat`, a number that it raises every few seconds. Nobody
compares clocks: whoever sees the same number for a whole term of his own counting clock takes the job over, in one
statement that asks for that very number (`registry/job_book.py`). So clocks may be wrong, and may jump.

A file is a folder of the artifact store with that one file in it, called by its id, so that no two files share their
bytes and one can be removed. It belongs to the key that sent it, and to keys that were made to share with that one:
`owner` is what `ApiKey.owner` says, so that a new key has nothing of an old one because it is called the same.
"""

from __future__ import annotations

import math
import re
import secrets
import string
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, field_validator

from lifecycle.jobs.states import JobState
from lifecycle.version import Digest, Frozen

Auto = Literal["auto"]
TrainedBy = Literal["supervised", "dpo"]

_ALPHABET = string.ascii_letters + string.digits


def new_id(prefix: str, length: int = 24) -> str:
    """Such as `file-` and letters and digits, which nobody guesses."""
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length))


class UploadedFile(Frozen):
    id: str
    owner: str
    purpose: str
    filename: str
    bytes: int
    digest: Digest
    """Of the folder in the artifact store."""
    created_at: datetime
    expires_at: datetime | None = None


UploadStatus = Literal["pending", "completed", "cancelled", "expired"]


class Upload(Frozen):
    """A file that comes in parts, each a folder of the artifact store as a file is one."""

    id: str
    owner: str
    status: UploadStatus = "pending"
    filename: str
    purpose: str
    bytes: int
    """Of the whole file, as its sender has announced it."""
    expires_after: int | None = None
    """Seconds that the file is kept after it is whole."""
    parts: tuple[str, ...] = ()
    """Those that the file was made of, in order."""
    file: str = ""
    """Its id, once it is whole."""
    created_at: datetime
    expires_at: datetime


class UploadPart(Frozen):
    id: str
    upload: str
    digest: Digest
    bytes: int
    created_at: datetime


class Hyperparameters(Frozen, allow_inf_nan=False):
    """As OpenAI names them; `auto` is ours to choose (`training/jobs/plan.py`)."""

    n_epochs: Auto | int = "auto"
    batch_size: Auto | int = "auto"
    learning_rate_multiplier: Auto | float = "auto"
    beta: Auto | float | None = None
    """Of dpo alone."""
    lora_rank: Auto | int | None = Field(default=None, exclude_if=lambda rank: rank is None)
    """Ours, beside OpenAI's. It is written where somebody asked for one: other releases read the rest."""


class JobRequest(Frozen):
    """What was asked for."""

    model: str
    """As the caller wrote it."""
    start: str = ""
    """The version that training goes on from; empty for the base."""
    training_file: str
    validation_file: str | None = None
    method: TrainedBy = "supervised"
    hyperparameters: Hyperparameters = Hyperparameters()
    suffix: str = ""
    seed: int
    metadata: dict[str, str] | None = None
    integrations: tuple[dict[str, Any], ...] = ()
    key: str = ""
    """The id of the key that asked; the job is also of those that share with it. Empty without keys."""


class JobFault(Frozen):
    """Why a job failed."""

    code: str
    message: str
    param: str | None = None


class KeptRun(Frozen):
    """What a job's run had saved at a step, in the store, so that a worker elsewhere goes on from it."""

    digest: Digest
    run: str
    """Its name, which follows from all that decides its result."""
    step: int


class JobProgress(Frozen):
    """How far it is, as its worker tells with every beat."""

    step: int = 0
    total_steps: int = 0
    estimated_finish: datetime | None = None
    hyperparameters: Hyperparameters | None = None
    """With a number for every `auto`, once its files have been looked at."""
    kept: KeptRun | None = None
    """Beats leave it alone: `registry.leases.keep` writes it."""


EVALUATION = "dabt_eval"
"""The key of a job's metadata that names the evaluation which its model is to pass."""


def evaluation_file(folder: Path, name: str) -> Path | None:
    """Where the evaluation of this name is to lie; None for what is no name: a caller names no path."""
    return folder / f"{name}.yaml" if re.fullmatch(r"[a-zA-Z0-9][a-zA-Z0-9_-]{0,63}", name) else None


class JobEvaluation(Frozen):
    """What came of the evaluation that a job asked for."""

    name: str
    ruling: Literal["passed", "failed", "undecided", "error"]
    """`error`: it could not be run, and there is no verdict."""
    verdict: Digest | None = None
    opens: str = ""
    """Which aliases the verdict opens, or why none; or why there is none."""


class JobResult(Frozen):
    """What it ended with."""

    model: str = ""
    """What callers write: `ft:base:dabt:suffix:id`."""
    version: str = ""
    """The registry's name for it: `triage:3`."""
    trained_tokens: int | None = None
    result_files: tuple[str, ...] = ()
    evaluation: JobEvaluation | None = None
    fault: JobFault | None = None


class Job(Frozen):
    id: str
    owner: str
    state: JobState
    base: Digest
    """Fingerprint of the base that it is trained over: workers that have it take the job."""
    name: str
    """Of the versions that it makes."""
    request: JobRequest
    progress: JobProgress = JobProgress()
    result: JobResult = JobResult()
    created_at: datetime
    finished_at: datetime | None = None
    holder: str = ""
    """The worker that has it now."""
    beat: int = 0
    tries: int = 0
    """How often a worker took it."""

    @property
    def evaluation(self) -> str:
        """The name of the one that it asks for; empty for none."""
        return (self.request.metadata or {}).get(EVALUATION, "")

    @property
    def tail(self) -> str:
        """The last part of its model's name."""
        return self.id[-8:]


Level = Literal["info", "warn", "error"]


class JobEvent(Frozen):
    level: Level = "info"
    message: str
    data: dict[str, Any] | None = None
    """Figures, of an event about those. A loss that is no number any more is None: JSON has no word for it."""
    id: str = Field(default_factory=lambda: new_id("ftevent-"))
    created_at: datetime | None = None

    @field_validator("data")
    @classmethod
    def _in_json(cls, data: dict[str, Any] | None) -> dict[str, Any] | None:
        lost = {name for name, value in (data or {}).items() if isinstance(value, float) and not math.isfinite(value)}
        return data and {name: None if name in lost else value for name, value in data.items()}


class JobCheckpoint(Frozen):
    id: str
    job: str
    step: int
    model: str
    """What callers write to call it."""
    version: str
    metrics: dict[str, float]
    created_at: datetime


class TunedModel(Frozen):
    """A name that OpenAI's clients call a version by, and whose it is."""

    name: str
    version: str
    owner: str
    job: str
