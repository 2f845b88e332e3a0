"""Files, jobs, events and checkpoints as OpenAI's clients know them: every key, with null where there is nothing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from lifecycle.jobs.nouns import Hyperparameters, Job, JobCheckpoint, JobEvent, Upload, UploadedFile, UploadPart
from lifecycle.jobs.states import HELD, JobState

ORGANIZATION = "dabt"
_METRICS = (
    "train_loss",
    "train_mean_token_accuracy",
    "valid_loss",
    "valid_mean_token_accuracy",
    "full_valid_loss",
    "full_valid_mean_token_accuracy",
)


def file_object(file: UploadedFile) -> dict[str, Any]:
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.bytes,
        "created_at": _at(file.created_at),
        "expires_at": _at(file.expires_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "status_details": None,
    }


def upload_object(upload: Upload, file: UploadedFile | None) -> dict[str, Any]:
    """With the `file` that it has become."""
    return {
        "id": upload.id,
        "object": "upload",
        "bytes": upload.bytes,
        "created_at": _at(upload.created_at),
        "expires_at": _at(upload.expires_at),
        "filename": upload.filename,
        "purpose": upload.purpose,
        "status": upload.status,
        "file": None if file is None else file_object(file),
    }


def part_object(part: UploadPart) -> dict[str, Any]:
    return {"id": part.id, "object": "upload.part", "created_at": _at(part.created_at), "upload_id": part.upload}


def job_object(job: Job) -> dict[str, Any]:
    asked, ended, progress = job.request, job.result, job.progress
    hyper = _hyperparameters(progress.hyperparameters or asked.hyperparameters)
    running = job.state in HELD
    state = JobState.RUNNING if running else job.state
    fault = ended.fault
    steps = {"step": progress.step, "total_steps": progress.total_steps} if progress.total_steps else None
    return {
        "id": job.id,
        "object": "fine_tuning.job",
        "created_at": _at(job.created_at),
        "finished_at": _at(job.finished_at),
        "estimated_finish": _at(progress.estimated_finish) if running else None,
        "status": state.value,
        "model": asked.model,
        "fine_tuned_model": ended.model or None,
        "organization_id": ORGANIZATION,
        "training_file": asked.training_file,
        "validation_file": asked.validation_file,
        "result_files": list(ended.result_files),
        "trained_tokens": ended.trained_tokens,
        "seed": asked.seed,
        "hyperparameters": {key: value for key, value in hyper.items() if key != "beta"},
        "method": {"type": asked.method, asked.method: {"hyperparameters": hyper}},
        "metadata": asked.metadata,
        "integrations": list(asked.integrations),
        "user_provided_suffix": asked.suffix or None,
        "error": {"code": fault.code, "message": fault.message, "param": fault.param} if fault else None,
        "dabt": {
            "version": ended.version or None,
            "progress": steps,
            "evaluation": ended.evaluation.model_dump(mode="json") if ended.evaluation else None,
        },
    }


def event_object(event: JobEvent) -> dict[str, Any]:
    return {
        "id": event.id,
        "object": "fine_tuning.job.event",
        "created_at": _at(event.created_at),
        "level": event.level,
        "message": event.message,
        "type": "metrics" if event.data is not None and "step" in event.data else "message",
        "data": event.data or {},
    }


def checkpoint_object(checkpoint: JobCheckpoint) -> dict[str, Any]:
    metrics: dict[str, Any] = {"step": checkpoint.step, **{name: checkpoint.metrics.get(name) for name in _METRICS}}
    return {
        "id": checkpoint.id,
        "object": "fine_tuning.job.checkpoint",
        "created_at": _at(checkpoint.created_at),
        "fine_tuned_model_checkpoint": checkpoint.model,
        "fine_tuning_job_id": checkpoint.job,
        "metrics": metrics,
        "step_number": checkpoint.step,
    }


def list_object(objects: Iterable[dict[str, Any]], has_more: bool, *, ends: bool = False) -> dict[str, Any]:
    """With `ends`, also the ids of its first and last."""
    data: Sequence[dict[str, Any]] = list(objects)
    shown: dict[str, Any] = {"object": "list", "data": data, "has_more": has_more}
    if ends:
        shown |= {"first_id": data[0]["id"] if data else None, "last_id": data[-1]["id"] if data else None}
    return shown


def _hyperparameters(hyper: Hyperparameters) -> dict[str, Any]:
    return hyper.model_dump(mode="json", exclude_none=True)


def _at(moment: datetime | None) -> int | None:
    """Whole seconds since 1970."""
    return None if moment is None else int(moment.timestamp())
