"""One training run from a configuration to a draft version: checks → recipe → golden prompts → publish.

A run's name is the digest of everything that decides its result, so asking twice trains once. Its folder holds
`run.json` only when it is whole; a run that was cut short has none, publishes nothing, and is done again.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lifecycle import conversation
from lifecycle.adapter import GoldenPrompt
from lifecycle.conversation import Conversation
from lifecycle.errors import DabtError
from lifecycle.home import Home
from lifecycle.models import generation, templates
from lifecycle.models.base import BaseFingerprint, fingerprint, resolve_base, sha256_of
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.rows import conversations, forms, turns
from lifecycle.rows.files import read_rows
from lifecycle.store.artifacts import digest_of_folder
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Digest, Frozen, Version, digest_of
from training import golden, tokens
from training.config import TrainJob
from training.data.split import hold_out
from training.fit import require_fit
from training.progress import Silent, Watcher
from training.recipes import lora
from training.settings import run_settings

_RECORD = "run.json"

_DECISIVE = (forms, conversations, turns, conversation, templates, generation, tokens, lora, golden)
"""The code that a run's result follows from: from the row to the rendered text, its tokens and the weights."""


class RunRecord(Frozen):
    """What a whole run left. Written last."""

    run: str
    adapter: Digest
    """Of the folder `adapter/` beside it."""
    base: Digest
    base_name: str
    data_digest: Digest
    code_revision: str
    config: dict[str, Any]
    system: str
    """The system text, as trained."""
    metrics: dict[str, float]
    notes: tuple[str, ...] = ()
    """What a person should know before trusting the result."""
    golden: tuple[GoldenPrompt, ...]
    finished_at: datetime


@dataclass(frozen=True)
class TrainResult:
    """The draft, the run's folder (adapter/, loss.png, log.jsonl, run.json), and whether it was trained just now."""

    version: Version
    folder: Path
    record: RunRecord
    reused: bool


def train(job: TrainJob, home: Home, shelf: Shelf, *, force: bool = False, watch: Watcher | None = None) -> TrainResult:
    """Train what `job` asks for, or reuse the whole run that already did, and publish it as a draft.

    `force` trains again. May be called any number of times in one process, and by several processes at once: two
    that ask for the same run make it once. Raises `InvalidData` with every bad row of all files, `InvalidConfig`,
    `NotFound` for the base, and `AdapterRefused`; in each case nothing is published.
    """
    watch = watch or Silent()
    config = job.config
    watch.stage("reading the rows")
    training, validation = _rows(job)
    base = resolve_base(job.base)
    require_fit(config, base, shelf.max_rank)
    known = fingerprint(base)
    folder = home.runs / run_name(job, known.digest)

    with _alone(folder, watch):
        record = None if force else _whole(folder)
        reused = record is not None
        if record is None:
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            with run_settings():
                record = _make(job, base, known, (training, validation), folder, watch)
            shutil.rmtree(folder / "checkpoints", ignore_errors=True)
            _write(folder / _RECORD, record)
        watch.stage("publishing")
        version = publish(
            folder / "adapter",
            name=config.name,
            base=base,
            prompt=job.prompt,
            provenance=_provenance(record),
            shelf=shelf,
        )
    return TrainResult(version, folder, record, reused)


def _make(
    job: TrainJob,
    base: Path,
    known: BaseFingerprint,
    rows: tuple[Sequence[Conversation], Sequence[Conversation]],
    folder: Path,
    watch: Watcher,
) -> RunRecord:
    """Tokenise, train, and ask the saved adapter for its golden prompts."""
    watch.stage("tokenising")
    config, system = job.config, job.prompt.system
    chat = tokens.ChatTokenizer.load(base, known)
    training, validation = (chat.examples(part, system, config.optimisation.max_length) for part in rows)
    trained = lora.train_lora(config, base, known, chat.stops, (training, validation), folder, watch)
    watch.stage("golden prompts")
    return RunRecord(
        run=folder.name,
        adapter=digest_of_folder(trained.adapter),
        base=known.digest,
        base_name=known.name,
        data_digest=_data_digest(job),
        code_revision=code_revision(),
        # A folder's path says nothing elsewhere; the fingerprint and its name do.
        config=config.model_copy(update={"base": known.name}).model_dump(mode="json"),
        system=system,
        metrics=trained.metrics,
        notes=_notes(*rows, trained.metrics),
        golden=golden.record(base, trained.adapter, validation[: config.golden_prompts]),
        finished_at=datetime.now(UTC),
    )


def _rows(job: TrainJob) -> tuple[Sequence[Conversation], Sequence[Conversation]]:
    """(training, validation), read together so that the bad rows of both files are reported together."""
    if job.validation_path is None:
        (rows,) = read_rows(job.train_path)
        return hold_out(rows, job.config.data.holdout, job.config.optimisation.seed)
    training, validation = read_rows(job.train_path, job.validation_path)
    return training, validation


def run_name(job: TrainJob, base: Digest) -> str:
    """`triage-0123456789ab`: of everything that decides the adapter's weights and what they are trained behind.

    Where files lie and what they are called is left out, so a moved checkout finds its runs again.
    """
    config = job.config.model_dump(mode="json", exclude={"base", "data", "prompt"})
    code = hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in _DECISIVE))
    parts = {"config": config, "system": job.prompt.system, "base": base, "data": _data_digest(job)}
    return f"{job.config.name}-{digest_of({**parts, 'recipe': code.hexdigest()})[7:19]}"


def _data_digest(job: TrainJob) -> Digest:
    """Of both files' bytes; without a validation file, of the share that is held out."""
    path = job.validation_path
    validation = sha256_of(path) if path else f"{job.config.data.holdout} held out, questions by {LIGHT_1.name}"
    return digest_of({"train": sha256_of(job.train_path), "validation": validation})


def _whole(folder: Path) -> RunRecord | None:
    """The record of a run that ended, if its adapter still has the recorded bytes."""
    with suppress(OSError, ValidationError, DabtError):
        record = RunRecord.model_validate_json((folder / _RECORD).read_text(encoding="utf-8"))
        if digest_of_folder(folder / "adapter") == record.adapter:
            return record
    return None


def _notes(
    training: Sequence[Conversation], validation: Sequence[Conversation], metrics: dict[str, float]
) -> tuple[str, ...]:
    notes = []
    asked = {LIGHT_1.normal(row.question) for row in training}
    if leaked := sum(LIGHT_1.normal(row.question) in asked for row in validation):
        notes.append(
            f"{leaked} of {len(validation)} validation rows are asked in the training rows too: the validation loss "
            "is too good, and `dabt data check --against` names them"
        )
    if metrics["eval_loss"] >= metrics["base_eval_loss"]:
        notes.append("the validation loss is no better than the base's own: nothing useful was learnt")
    return tuple(notes)


def _provenance(record: RunRecord) -> Provenance:
    shared = record.model_dump(include={"run", "data_digest", "code_revision", "config", "metrics"})
    return Provenance(source="training", **shared, golden=record.golden, note="; ".join(record.notes))


def code_revision() -> str:
    """The commit of this code, `+changes` when files under it differ; empty when it is no git checkout."""
    here = Path(__file__).resolve().parent
    try:
        git = ["git", "-C", str(here)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True, timeout=10)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", "."], capture_output=True, text=True, check=True, timeout=10
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return commit.stdout.strip() + ("+changes" if changes.stdout.strip() else "")


def _write(path: Path, record: RunRecord) -> None:
    """All of it or nothing: a reader never sees half a record."""
    part = path.with_suffix(".part")
    part.write_text(record.model_dump_json(indent=2), encoding="utf-8")
    part.replace(path)


@contextmanager
def _alone(folder: Path, watch: Watcher) -> Iterator[None]:
    """Hold the run's lock; the kernel lets go of it when the process ends, however it ends."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            watch.stage("waiting: another process makes this very run")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
