"""A job as a training run: OpenAI's hyperparameters as a configuration, with a number for every `auto`.

`supervised` is trained by the method `lora`, `dpo` by `dpo`; both leave an adapter. What is not asked for is as in a
run of `dabt train`, but that no row is too long before it is so for the base.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from lifecycle.jobs.nouns import Auto, Hyperparameters, Job, TrainedBy
from training.config import TrainJob
from training.optimisation import OptimisationSettings
from training.tracking.wandb import Wandb

METHODS: dict[TrainedBy, str] = {"supervised": "lora", "dpo": "dpo"}
_DEFAULT = OptimisationSettings()
_LONGEST = 4096
"""Tokens of a row, for a base that says nothing smaller."""
_BETA = 0.1
_SAVE_MINUTES = 1.0
"""A job that is paused, or whose worker is lost, has so much to do again at most."""
_FEW = 10
"""A batch of `auto` leaves an epoch so many steps at least, where there are rows for them."""


@dataclass(frozen=True)
class JobFiles:
    """Where the job's rows lie."""

    train: Path
    validation: Path | None = None


def settled(job: Job, rows: int) -> Hyperparameters:
    """What was asked for, with a number for every `auto`."""
    asked = job.request.hyperparameters
    beta = None if job.request.method == "supervised" else _said(asked.beta, _BETA)
    return Hyperparameters(
        n_epochs=int(_said(asked.n_epochs, _DEFAULT.epochs)),
        batch_size=int(_said(asked.batch_size, max(1, min(_DEFAULT.batch_size, rows // _FEW)))),
        learning_rate_multiplier=float(_said(asked.learning_rate_multiplier, 1.0)),
        beta=beta,
        lora_rank=job.request.hyperparameters.lora_rank,
    )


def plan(job: Job, files: JobFiles, base: Path, hyper: Hyperparameters) -> TrainJob:
    """The run. Raises `InvalidConfig`."""
    method: dict[str, Any] = {"type": METHODS[job.request.method]}
    if job.request.start:
        method["adapter"] = job.request.start
    if isinstance(hyper.lora_rank, int):
        method["r"] = hyper.lora_rank
    if hyper.beta is not None:
        method["beta"] = hyper.beta
    data = {"train": str(files.train), "checks": "off"}  # `files.py` has looked, and told in the job's own way
    if files.validation is not None:
        data["validation"] = str(files.validation)
    raw: dict[str, Any] = {
        "name": job.name,
        "base": str(base),
        "data": data,
        "method": method,
        "optimisation": {
            "lr": _DEFAULT.lr * float(_said(hyper.learning_rate_multiplier, 1.0)),
            "epochs": hyper.n_epochs,
            "batch_size": hyper.batch_size,
            "seed": job.request.seed,
            "max_length": context_of(base),
            "save_minutes": _SAVE_MINUTES,
        },
    }
    if trackers := told_elsewhere(job)[0]:
        raw["tracking"] = ["tensorboard", *trackers]
    return TrainJob.from_mapping(raw, files.train.parent, source=job.id)


def told_elsewhere(job: Job) -> tuple[list[dict[str, Any]], str]:
    """The job's integrations as trackers, and what to say of them. Where the worker has no key of theirs, the run is
    kept to be sent later."""
    if not job.request.integrations:
        return [], ""
    if find_spec(Wandb.package) is None:
        return [], "This worker has no wandb: nothing is told to Weights & Biases"
    sends = Wandb.can_send()
    trackers = [
        {
            "type": "wandb",
            **{key: value for key, value in asked["wandb"].items() if value},
            "name": asked["wandb"].get("name") or job.id,
            "mode": None if sends else "offline",
        }
        for asked in job.request.integrations
    ]
    trackers = [tracker for at, tracker in enumerate(trackers) if tracker not in trackers[:at]]
    kept = "This worker has no key of Weights & Biases: the run is kept in its folder, for `wandb sync`"
    return trackers, "" if sends else kept


def context_of(base: Path) -> int:
    """Tokens that the base reads at most, as far as it says so."""
    told = json.loads((base / "config.json").read_text(encoding="utf-8")).get("max_position_embeddings")
    return min(told, _LONGEST) if isinstance(told, int) and told >= 8 else _LONGEST


def _said(value: Auto | float | None, otherwise: float) -> float:
    return otherwise if value is None or value == "auto" else float(value)
