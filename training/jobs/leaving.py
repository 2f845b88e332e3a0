"""What a job leaves: its model and the checkpoints of its last epochs under names of OpenAI's form, and its figures.

All of it is written into the registry in one transaction at the end, so that a job has succeeded or left nothing.
"""

from __future__ import annotations

import base64
import csv
import io
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.errors import NotAllowed
from lifecycle.jobs.nouns import Job, JobCheckpoint, JobEvent, JobResult, UploadedFile, new_id
from lifecycle.manifests import Golden, GoldenPrompt
from lifecycle.models.base import fingerprint
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.registry.job_leases import COMPLETED
from lifecycle.states import State
from lifecycle.store.artifacts import digest_of_folder
from training import adapter_folder
from training.golden import by_others
from training.jobs.watching import Epoch, JobWatcher, figures_of

if TYPE_CHECKING:
    from training.run import TrainResult

_COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_mean_token_accuracy",
    "valid_loss": "valid_loss",
    "valid_mean_token_accuracy": "valid_mean_token_accuracy",
}
"""Of the result file, and what stands there by the names that events have."""


def leave(job: Job, result: TrainResult, watch: JobWatcher, shelf: Shelf, base: Path, worker: str) -> None:
    """Raises `LeaseLost` when the job is the worker's no more, and `NotAllowed` for what was deleted for good."""
    if result.version.state is State.RETIRED:
        said = "was deleted, and what is deleted does not come back; ask for the job with another seed"
        raise NotAllowed(f"{result.version.ref}, which an equal job has made, {said}")
    name = model_name(job)
    watch.figures = all_figures(result.folder)
    if watch.trained:
        proved = _proved(watch.epochs(), result, base)
        made = (_checkpoint(job, name, epoch, golden, result, shelf, base) for epoch, golden in proved)
        checkpoints = [checkpoint for checkpoint in made if checkpoint is not None]
        again = []
    else:
        again = watch.again()
        checkpoints = _made_before(job, name, result, shelf)
    figures = _results(job, watch.figures, shelf)
    metrics = result.record.metrics
    learnt = metrics.get("learnt_tokens")
    ended = JobResult(
        model=name,
        version=result.version.ref,
        trained_tokens=None if learnt is None else round(learnt * metrics.get("epochs", 1.0)),
        result_files=(figures.id,),
    )
    events = [
        *again,
        *(JobEvent(message=f"Checkpoint created at step {each.step}") for each in checkpoints),
        JobEvent(message=f"New fine-tuned model created: {name}, which is {result.version.ref}, a draft"),
        *(JobEvent(level="warn", message=note) for note in result.record.notes),
        JobEvent(message=_next(result.version.name, shelf)),
        *([] if job.evaluation else [JobEvent(message=COMPLETED)]),
    ]
    watch.tell()  # once the job has ended nothing more is taken from its worker
    shelf.registry.leases.succeeded(job, worker, ended, checkpoints, events, figures)


def model_name(job: Job) -> str:
    """`ft:base:dabt:suffix:id`, by which OpenAI's clients know it; an empty suffix leaves `::`."""
    asked = job.request
    base = asked.model.split(":")[1] if asked.model.startswith("ft:") else asked.model.replace(":", "-")
    return f"ft:{base}:dabt:{job.name if asked.suffix else ''}:{job.tail}"


def all_figures(run: Path) -> dict[int, dict[str, float]]:
    """All of the run's, whichever workers made it: by step, as `JobWatcher` keeps them."""
    figures: dict[int, dict[str, float]] = {}
    for line in (run / "log.jsonl").read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        figures.setdefault(told["step"], {}).update(figures_of(told["kind"], told))
    return figures


def table(figures: Mapping[int, Mapping[str, float]]) -> str:
    """The figures as CSV, one line for each step that has some."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["step", *_COLUMNS])
    for step in sorted(figures):
        writer.writerow([step, *(figures[step].get(name, "") for name in _COLUMNS.values())])
    return out.getvalue()


def _proved(epochs: Sequence[Epoch], result: TrainResult, base: Path) -> list[tuple[Epoch, Golden]]:
    """Each with golden prompts: the model's own, as its weights answer them. One of them is the model, as a rule."""
    known, told = fingerprint(base), result.record.golden
    for epoch in epochs:
        adapter_folder.tidy(epoch.folder, known)
    model = result.version.spec.adapter
    others = [epoch for epoch in epochs if digest_of_folder(epoch.folder) != model]
    prompts = [prompt for prompt in told if isinstance(prompt, GoldenPrompt)]
    golden = by_others(base, [epoch.folder for epoch in others], prompts)
    of_step = dict(zip((epoch.step for epoch in others), golden, strict=True))
    return [(epoch, of_step.get(epoch.step, told)) for epoch in epochs]


def _checkpoint(
    job: Job, name: str, epoch: Epoch, golden: Golden, result: TrainResult, shelf: Shelf, base: Path
) -> JobCheckpoint | None:
    """None for one that an equal job has made before, and that has expired; and for one that gives no figures where it
    is to prove itself, which is no fault of the model's."""
    if any(prompt.fault for prompt in golden):
        return None
    record = result.record
    version = publish(
        epoch.folder,
        name=job.name,
        base=base,
        prompt=result.version.spec.prompt,
        provenance=Provenance(
            source="checkpoint",
            **record.model_dump(include={"run", "started_from", "data_digest", "code_revision", "config"}),
            metrics=epoch.metrics,
            golden=golden,
            note=f"the checkpoint at step {epoch.step} of {job.id}",
        ),
        shelf=shelf,
    )
    if version.state is State.RETIRED:
        return None
    return JobCheckpoint(
        id=new_id("ftckpt_"),
        job=job.id,
        step=epoch.step,
        model=f"{name}:ckpt-step-{epoch.step}",
        version=version.ref,
        metrics=epoch.metrics,
        created_at=datetime.now(UTC),
    )


def _made_before(job: Job, name: str, result: TrainResult, shelf: Shelf) -> list[JobCheckpoint]:
    """Those of the equal job that made this run, where they have not expired, under this job's names."""
    registry, run = shelf.registry, result.record.run
    there = {v.ref for v in registry.versions(job.name) if v.lineage.run == run and v.state is not State.RETIRED}
    named = {"job": job.id, "created_at": datetime.now(UTC)}
    return [
        each.model_copy(update={**named, "id": new_id("ftckpt_"), "model": f"{name}:ckpt-step-{each.step}"})
        for each in registry.jobs.checkpoints_of(there)
    ]


def _results(job: Job, figures: Mapping[int, Mapping[str, float]], shelf: Shelf) -> UploadedFile:
    """In the store, as OpenAI gives it: the CSV in base64."""
    body = base64.b64encode(table(figures).encode())
    id_ = new_id("file-")
    with shelf.store.scratch() as scratch:
        (scratch / id_).write_bytes(body)
        file = UploadedFile(
            id=id_,
            owner=job.owner,
            purpose="fine-tune-results",
            filename="step_metrics.csv",
            bytes=len(body),
            digest=digest_of_folder(scratch),
            created_at=datetime.now(UTC),
        )
        shelf.registry.files.expect(file)
        shelf.store.put(scratch)
    return file


def _next(name: str, shelf: Shelf) -> str:
    """Which evaluation would open `prod` of the name."""
    gate = shelf.registry.gate(name)
    if gate is None:
        return f"{name} has no gate yet: `dabt gate set {name}` says what its production demands"
    suites = ", ".join(suite.task for suite in gate.suites)
    return f"A passing verdict under the policy {gate.policy_name} on {suites} opens {name}:prod: `dabt eval` gives it"
