"""What callers ask for: the body of a new job, the page of a list, when a file is to expire."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import Field, StringConstraints, ValidationError, field_validator, model_validator

from lifecycle.errors import InvalidInput, Problem
from lifecycle.jobs.nouns import EVALUATION, Auto, Hyperparameters, JobRequest, evaluation_file
from lifecycle.models.preflight import SERVED_RANKS
from lifecycle.registry.cursor import Cursor
from lifecycle.validation import problems_of
from lifecycle.version import Frozen

_MOST_METADATA = 16
_MOST_INTEGRATIONS = 5
_SOONEST, _LATEST = 3600, 30 * 24 * 3600
"""Seconds after which a file may expire."""

_OURS = "dabt_"
"""Keys of metadata that begin so mean something here."""

Key = Annotated[str, StringConstraints(min_length=1, max_length=64)]
Value = Annotated[str, StringConstraints(max_length=512)]


class _Supervised(Frozen, allow_inf_nan=False):
    n_epochs: Auto | Annotated[int, Field(ge=1, le=50)] = "auto"
    batch_size: Auto | Annotated[int, Field(ge=1, le=256)] = "auto"
    learning_rate_multiplier: Auto | Annotated[float, Field(gt=0, le=500)] = "auto"
    lora_rank: Auto | int | None = None

    @field_validator("lora_rank")
    @classmethod
    def _served_rank(cls, rank: Auto | int | None) -> Auto | int | None:
        if isinstance(rank, int) and rank not in SERVED_RANKS:
            raise ValueError(f"a server's adapter slots have one of the ranks {', '.join(map(str, SERVED_RANKS))}")
        return rank


class _Dpo(_Supervised):
    beta: Auto | Annotated[float, Field(gt=0, le=2)] = "auto"


class _SupervisedMethod(Frozen):
    hyperparameters: _Supervised = _Supervised()


class _DpoMethod(Frozen):
    hyperparameters: _Dpo = _Dpo()


class _Method(Frozen):
    type: Literal["supervised", "dpo"]
    supervised: _SupervisedMethod | None = None
    dpo: _DpoMethod | None = None

    @model_validator(mode="after")
    def _its_own_settings(self) -> _Method:
        other = "dpo" if self.type == "supervised" else "supervised"
        if getattr(self, other) is not None:
            raise ValueError(f"type is {self.type}, and the settings are {other}'s")
        return self


class _Wandb(Frozen):
    project: str = Field(min_length=1)
    name: str | None = None
    entity: str | None = None
    tags: list[str] = Field(default=[], max_length=50)


class _Integration(Frozen):
    type: Literal["wandb"]
    wandb: _Wandb


class _NewJob(Frozen):
    model: str = Field(min_length=1)
    training_file: str = Field(min_length=1)
    validation_file: str | None = None
    suffix: Annotated[str, StringConstraints(max_length=64)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**31)] | None = None
    hyperparameters: _Supervised | None = None
    method: _Method | None = None
    metadata: Annotated[dict[Key, Value], Field(max_length=_MOST_METADATA)] | None = None
    integrations: Annotated[list[_Integration], Field(max_length=_MOST_INTEGRATIONS)] | None = None


def job_request(body: Mapping[str, Any]) -> JobRequest:
    """Raises `InvalidInput` with all that is wrong with it."""
    method = body.get("method")
    if isinstance(method, Mapping) and method.get("type") == "reinforcement":
        fault = "reinforcement is not trained here"
        raise InvalidInput("The request is not valid:", [Problem("method.type", fault, "supervised or dpo")])
    try:
        asked = _NewJob.model_validate(body)
    except ValidationError as error:
        raise InvalidInput("The request is not valid:", problems_of(error, body)) from error
    kind = "supervised" if asked.method is None else asked.method.type
    settings: _Supervised = _Dpo() if kind == "dpo" else asked.hyperparameters or _Supervised()
    if asked.method is not None and (named := getattr(asked.method, kind)) is not None:
        settings = named.hyperparameters
    if kind == "dpo" and asked.hyperparameters is not None:
        fault, cure = "is for supervised jobs", "write method.dpo.hyperparameters"
        raise InvalidInput("The request is not valid:", [Problem("hyperparameters", fault, cure)])
    return JobRequest(
        model=asked.model,
        training_file=asked.training_file,
        validation_file=asked.validation_file,
        method=kind,
        hyperparameters=Hyperparameters.model_validate(settings.model_dump()),
        suffix=asked.suffix or "",
        seed=secrets.randbelow(2**31) if asked.seed is None else asked.seed,
        metadata=asked.metadata or None,
        integrations=tuple(each.model_dump(mode="json") for each in asked.integrations or ()),
    )


def check_rank(asked: JobRequest, most: int) -> None:
    """Raises `InvalidInput` for a rank that the adapters served here may not have."""
    rank = asked.hyperparameters.lora_rank
    if isinstance(rank, int) and rank > most:
        place, fault = f"method.{asked.method}.hyperparameters.lora_rank", f"{rank} is more than {most}"
        problem = Problem(place, f"{fault}, the servers' --max-lora-rank", "lower it, or raise the servers'")
        raise InvalidInput("The request is not valid:", [problem])


def check_evaluation(metadata: Mapping[str, str] | None, evaluations: Path | None) -> None:
    """Raises `InvalidInput` when the metadata asks for one that is not among them, or has another key of ours."""
    problems = []
    for key, value in (metadata or {}).items():
        if not key.startswith(_OURS):
            continue
        place = f"metadata.{key}"
        if key != EVALUATION:
            problems.append(
                Problem(place, "is not known here", f"{EVALUATION}, or a key that does not begin with {_OURS}")
            )
        elif evaluations is None:
            problems.append(
                Problem(place, "this service was started without evaluations", "`dabt serve --evals FOLDER`")
            )
        elif not (named := evaluation_file(evaluations, value)) or not named.is_file():
            there = ", ".join(sorted(path.stem for path in evaluations.glob("*.yaml"))) or "none"
            problems.append(Problem(place, f"there is no evaluation {value!r}", f"one of {there}"))
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def slug(text: str) -> str:
    """Of a suffix or a base's name, what the registry takes as a version's name; empty where nothing of it will do."""
    return re.sub(r"[^a-z0-9_-]+", "-", text.lower()).strip("-_")[:48]


def cursor_of(request: Request, limit: int, most: int = 100) -> Cursor:
    """From `after`, `limit` and `order`. Raises `InvalidInput`."""
    asked = request.query_params
    problems = []
    order = asked.get("order", "desc")
    if order not in ("asc", "desc"):
        problems.append(Problem("order", f"{order!r} is not known", "asc or desc"))
    written = asked.get("limit", str(limit))
    if not (written.isascii() and written.isdecimal() and 1 <= int(written) <= most):
        problems.append(Problem("limit", f"{written!r} is not taken", f"a whole number from 1 to {most}"))
    if problems:
        raise InvalidInput("The list cannot be had like this:", problems)
    return Cursor(asked.get("after") or None, int(written), order == "asc")


def metadata_of(request: Request) -> tuple[dict[str, str], bool]:
    """What `metadata[key]=value` asks for, and whether `metadata=null` does. Raises `InvalidInput`."""
    wanted, bare = {}, False
    for name, value in request.query_params.multi_items():
        if match := re.fullmatch(r"metadata\[(.*)\]", name):
            wanted[match[1]] = value
        elif name == "metadata":
            bare = True
            if value != "null":
                fault = "is neither null nor written as metadata[key]=value"
                raise InvalidInput("The list cannot be had like this:", [Problem("metadata", fault)])
    if wanted and bare:
        fault = "asks for none and for some"
        raise InvalidInput("The list cannot be had like this:", [Problem("metadata", fault, "ask for one of them")])
    return wanted, bare


def expiry_of(fields: Mapping[str, Any], created: datetime) -> datetime | None:
    """When a file made at `created` expires, by `expires_after`'s `anchor` and `seconds`; None without them.

    Raises `InvalidInput`.
    """
    anchor, seconds = fields.get("anchor"), fields.get("seconds")
    if anchor is None and seconds is None:
        return None
    problems = []
    if anchor != "created_at":
        problems.append(Problem("expires_after.anchor", f"{anchor!r} is not taken", "created_at"))
    written = str(seconds)
    if not (written.isascii() and written.isdecimal() and _SOONEST <= int(written) <= _LATEST):
        problems.append(
            Problem("expires_after.seconds", f"{seconds!r} is not taken", f"from {_SOONEST} to {_LATEST} seconds")
        )
    if problems:
        raise InvalidInput("The request is not valid:", problems)
    return created + timedelta(seconds=int(written))
