"""One training run from a configuration to a draft version: checks → recipe → golden prompts → publish.

A run's name is the digest of everything that decides its result, so asking twice trains once. Its folder holds
`run.json` only when it is whole; a run that was cut short has none, publishes nothing, and goes on from where it was:
from its last checkpoint, or from the artifact where that is saved.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from lifecycle import conversation
from lifecycle.errors import InvalidData, Problem
from lifecycle.home import Home
from lifecycle.model_card import FILE as CARD
from lifecycle.model_card import licence_of, model_card
from lifecycle.models import generation, templates
from lifecycle.models.base import fingerprint, resolve_base, sha256_of
from lifecycle.publishing import Provenance, Shelf, publish
from lifecycle.rows import conversations, forms, turns
from lifecycle.rows.files import read_kinds
from lifecycle.rows.kinds import Row
from lifecycle.store.artifacts import digest_of_folder
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Digest, Version, digest_of
from training import again, bfloat16, checkpoints, curves, golden, method, processes, sharding, shortage, tokens, took
from training.config import TrainConfig, TrainJob
from training.data import run_checks
from training.data.answers import order_note, require_answers
from training.data.findings import DataReport
from training.data.split import hold_out
from training.fit import require_fit
from training.method import Method, Task, Trained
from training.mixture import Mixture
from training.progress import Silent, Watcher
from training.records import (
    RunRecord,
    SavedArtifact,
    code_revision,
    keep_artifact,
    keep_record,
    lock_of,
    saved_artifact,
    whole_run,
)
from training.settings import run_settings
from training.tracking.tracker import RunFacts, flat
from training.tracking.trackers import Trackers

_DECISIVE = (forms, conversations, turns, conversation, templates, generation, tokens, method, golden)
"""The code that every run's result follows from, besides its method's: from the row to the text and its tokens."""
Looked = dict[tuple[Digest, int], DataReport]
"""What the data checks found, by the rows that they looked at."""


@dataclass(frozen=True)
class TrainResult:
    """The draft, the run's folder (adapter/ or what else its method leaves, log.jsonl and its curves, run.json), and
    whether it was trained just now.
    """

    version: Version
    folder: Path
    record: RunRecord
    reused: bool
    untracked: tuple[str, ...] = ()
    """Trackers that were given up on the way, and why."""


def train(
    job: TrainJob,
    home: Home,
    shelf: Shelf,
    *,
    force: bool = False,
    same_as: str = "",
    watch: Watcher | None = None,
    notes: tuple[str, ...] = (),
) -> TrainResult:
    """Train what `job` asks for, or reuse the whole run that already did, and publish it as a draft.

    `force` trains again. `same_as` is the name of the run that this must be. `notes` are told in the draft's
    lineage, besides the run's own. May be called any number of times in one process, and by several processes at once:
    two that ask for the same run make it once. Raises `InvalidData` with every bad row of all files, `InvalidConfig`,
    `NotFound` for the base, and `ArtifactRefused`; in each case nothing is published.
    """
    run = _prepared(job, home, shelf, watch)
    if same_as:
        again.require_same(same_as, run.folder.name)
    with shortage.told(run.folder, run.job.config.optimisation), _alone(run), run.trackers:
        record = processes.from_first(partial(_begun, run, force))
        reused = record is not None
        if record is None:
            with run_settings():
                record = _make(run)
        run.task.watch.stage("publishing")
        version = processes.from_first(partial(_publish, run, record, shelf, notes))
    return TrainResult(version, run.folder, record, reused, tuple(run.trackers.notes))


def learn(
    job: TrainJob, home: Home, shelf: Shelf, *, watch: Watcher | None = None, looked: Looked | None = None
) -> tuple[str, SavedArtifact]:
    """`train` without golden prompts and without a draft, which `train` makes of it afterwards, or never.

    The run's name, and what was saved. `looked` are the data checks of runs that were learnt before.
    """
    run = replace(_prepared(job, home, shelf, watch), looked={} if looked is None else looked)
    with shortage.told(run.folder, run.job.config.optimisation), _alone(run), run.trackers:
        record = processes.from_first(partial(_begun, run, False))
        if record is not None:
            return record.run, SavedArtifact(digest=record.artifact, metrics=record.metrics, notes=record.notes)
        with run_settings():
            saved, _ = _learnt(run)
            run.trackers.done(saved.metrics)
            return run.folder.name, saved


@dataclass(frozen=True)
class _Run:
    """A run that may begin: everything about it has been looked at, and nothing has been done."""

    job: TrainJob
    task: Task
    parts: Sequence[Sequence[Row]]
    """Training rows by file."""
    validation: Sequence[Row]
    home: Home
    trackers: Trackers
    """Between the task and who watches it."""
    looked: Looked = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        return self.task.folder


def _prepared(job: TrainJob, home: Home, shelf: Shelf, watch: Watcher | None) -> _Run:
    watch = watch if watch is not None and processes.is_first() else Silent()
    sharding.require_possible(job.config.optimisation)
    watch.stage("reading the rows")
    parts, validation = _rows(job)
    base = processes.from_first(partial(_base, job, home))
    settled, start = processes.from_first(partial(job.config.method.settled, job.folder, base, shelf))
    precision = processes.from_first(partial(bfloat16.settled, job.config.optimisation.precision))
    how = job.config.optimisation.model_copy(update={"precision": precision})
    config = job.config.model_copy(update={"method": settled, "optimisation": how})
    job = replace(job, config=config)
    require_fit(config, base, job.prompt, shelf.max_rank)
    known = processes.from_first(partial(fingerprint, base))
    folder = home.runs / run_name(job, known.digest)
    trackers = Trackers(config.tracking if processes.is_first() else (), watch)
    task = Task(config.name, base, known, job.prompt, config.optimisation, folder, trackers, start)
    return _Run(job, task, parts, validation, home, trackers)


def _base(job: TrainJob, home: Home) -> Path:
    base = resolve_base(job.base)
    return base if job.template is None else templates.with_template(base, job.template, home.cache / "bases")


def _begun(run: _Run, force: bool) -> RunRecord | None:
    """The record of the run where it is whole; else None, and its folder is there."""
    record = None if force else whole_run(run.folder)
    if record is None:
        looked = _looked(run, force)
        if force:
            shutil.rmtree(run.folder, ignore_errors=True)
        run.folder.mkdir(parents=True, exist_ok=True)
        again.keep(run.job, run.folder)
        if looked is not None:
            run_checks.keep(looked, run.folder)
        run.trackers.begin(_facts(run))
    return record


def _looked(run: _Run, force: bool) -> DataReport | None:
    """What the data checks say, told; from the folder, where the run was begun before. Raises `InvalidData`."""
    job, watch = run.job, run.task.watch
    if job.config.data.checks == "off":
        return None
    watch.stage("checking the rows")
    report = None if force else run_checks.known(run.folder)
    rows_are = data_digest(job), job.config.optimisation.seed  # which draws those that are held out
    if report is None and rows_are in run.looked:
        return run.looked[rows_are]
    if report is None:
        rows = [row for part in run.parts for row in part]
        held_out, prompted = job.validation_path is None, bool(job.prompt.system.strip())
        report = run_checks.look(rows, run.validation, run.home, held_out=held_out, prompted=prompted)
    run_checks.require_good(report, job.config.data.checks)
    for line in run_checks.told(report):
        watch.say(line)
    run.looked[rows_are] = report
    return report


def _publish(run: _Run, record: RunRecord, shelf: Shelf, notes: tuple[str, ...]) -> Version:
    """The draft, with its model card in the run's folder."""
    version = publish(
        run.folder / record.kind,
        name=run.job.config.name,
        base=run.task.base,
        prompt=run.job.prompt,
        provenance=_provenance(record, notes),
        shelf=shelf,
        kind=record.kind,
    )
    assert version.spec.artifact is not None
    manifest = shelf.registry.artifact(version.spec.artifact[1])
    run.trackers.done(record.metrics, version=version.ref, artifact=version.spec.artifact[1])
    (run.folder / CARD).write_text(model_card(version, manifest, licence_of(run.task.base)), encoding="utf-8")
    return version


def _make(run: _Run) -> RunRecord:
    """Train, ask the saved artifact for its golden prompts, and keep the record of all of it."""
    saved, held = _learnt(run)
    return processes.from_first(lambda: _recorded(run, saved, held))


def _learnt(run: _Run) -> tuple[SavedArtifact, Sequence[Any]]:
    """What training left, now or before, and the validation examples."""
    task, how = run.task, run.job.config.method
    task.watch.stage("tokenising")
    *examples, held = _examples(how, task, *run.parts, run.validation)
    training, mixed = _mixed(examples, run.job.config)
    folder = task.folder / how.artifact
    if (saved := processes.from_first(partial(saved_artifact, folder))) is None:
        if processes.is_first():
            shutil.rmtree(folder, ignore_errors=True)
        shortage.require_room(task.base, how.held, shared=task.optimisation.fsdp)
        try:
            with took.timed(task.folder):
                trained = how.train(task, training, held)
        finally:
            if processes.is_first():
                curves.try_to_draw(task.folder, task.name, task.optimisation.best_by or how.measures[0], task.watch.say)
        saved = processes.from_first(lambda: _kept(folder, trained, mixed))
    return saved, held


def _kept(folder: Path, trained: Trained, mixed: Sequence[str]) -> SavedArtifact:
    digest, notes = digest_of_folder(folder), (*mixed, *trained.notes)
    saved = SavedArtifact(digest=digest, metrics=trained.metrics, notes=notes, spent=took.taken(folder.parent))
    keep_artifact(saved, folder.parent)
    shutil.rmtree(folder.parent / checkpoints.FOLDER, ignore_errors=True)
    return saved


def _recorded(run: _Run, saved: SavedArtifact, held: Sequence[Any]) -> RunRecord:
    job, task, how = run.job, run.task, run.job.config.method
    task.watch.stage("golden prompts")
    rows = [row for part in run.parts for row in part]
    proofs = how.proofs(held)[: job.config.golden_prompts]
    looked = None if job.config.data.checks == "off" else run_checks.known(run.folder)
    record = RunRecord(
        run=task.folder.name,
        kind=how.artifact,
        artifact=saved.digest,
        base=task.known.digest,
        base_name=task.known.name,
        data_digest=data_digest(job),
        code_revision=code_revision(),
        config=_told(run),
        system=task.prompt.system,
        metrics=saved.metrics,
        spent=took.with_teacher(saved.spent, rows),
        notes=(*saved.notes, *_notes(saved.metrics), *order_note(job.answer_schema, rows), *run_checks.notes(looked)),
        started_from="" if task.start is None else task.start.digest,
        golden=how.golden(task, task.folder / how.artifact, proofs),
        finished_at=datetime.now(UTC),
    )
    keep_record(record, task.folder)
    return record


def _told(run: _Run) -> dict[str, Any]:
    """The configuration as records have it. A folder's path says nothing elsewhere; the fingerprint and its name do."""
    named = run.job.pinned.model_copy(update={"base": run.task.known.name})
    return named.model_dump(mode="json", exclude={"tracking"})


def _facts(run: _Run) -> RunFacts:
    known = run.task.known
    facts = {"base": known.name, "base_digest": known.digest, "data_digest": data_digest(run.job)}
    return RunFacts(run.folder.name, run.folder, run.home.root, flat(_told(run)), facts)


def _examples(how: Method, task: Task, *parts: Sequence[Row]) -> tuple[Sequence[Any], ...]:
    """Of each part. Raises `InvalidData` with the bad rows of all of them."""
    made: list[Sequence[Any]] = []
    refused: list[InvalidData] = []
    for rows in parts:
        try:
            made.append(how.examples(task, rows))
        except InvalidData as error:
            refused.append(error)
    if len(refused) > 1:
        problems: list[Problem] = [problem for error in refused for problem in error.problems]
        raise InvalidData("; ".join(str(error).splitlines()[0] for error in refused), problems)
    if refused:
        raise refused[0]
    return tuple(made)


def _mixed(parts: Sequence[Sequence[Any]], config: TrainConfig) -> tuple[Sequence[Any], tuple[str, ...]]:
    """The examples of all files, in the shares that the configuration gives them, and what to say of that."""
    if not config.data.weights:
        return [example for part in parts for example in part], ()
    mixture = Mixture(parts, config.data.weights, config.optimisation.seed)
    counts = (
        f"{count:,} of {len(part):,} of {source.path.name}"
        for count, part, source in zip(mixture.counts, parts, config.data.train, strict=True)
    )
    return mixture, (f"an epoch sees {', '.join(counts)}",)


def _rows(job: TrainJob) -> tuple[Sequence[Sequence[Row]], Sequence[Row]]:
    """(training rows by file, validation rows), read together so that all bad rows are reported together."""
    kinds = job.config.method.rows
    if job.validation_path is not None:
        *parts, validation = read_kinds(kinds, *job.train_paths, job.validation_path)
        require_answers(job.answer_schema, *parts, validation)
        return parts, validation
    parts = list(read_kinds(kinds, *job.train_paths))
    require_answers(job.answer_schema, *parts)
    rows = [row for part in parts for row in part]
    kept, held = hold_out(rows, job.config.data.holdout, job.config.optimisation.seed)
    places = {row.place for row in kept}
    return [[row for row in part if row.place in places] for part in parts], held


def run_name(job: TrainJob, base: Digest) -> str:
    """`triage-0123456789ab`: of everything that decides the adapter's weights and what they are trained behind.

    Where files lie and what they are called is left out, so a moved checkout finds its runs again.
    """
    left_out: Any = {
        **dict.fromkeys(("base", "template", "data", "prompt", "tracking"), True),
        "optimisation": {"save_minutes", "fsdp"},
    }
    config = job.config.model_dump(mode="json", exclude=left_out)
    config["optimisation"]["precision"] = bfloat16.settled(job.config.optimisation.precision)
    modules = sorted({*_DECISIVE, *job.config.method.code()}, key=lambda module: module.__name__)
    code = hashlib.sha256(b"".join(Path(str(module.__file__)).read_bytes() for module in modules))
    parts = {"config": config, "system": job.prompt.system, "base": base, "data": data_digest(job)}
    if switches := job.prompt.chat_template_kwargs:
        parts["chat_template_kwargs"] = switches
    return f"{job.config.name}-{digest_of({**parts, 'recipe': code.hexdigest()})[7:19]}"


def data_digest(job: TrainJob) -> Digest:
    """Of all files' bytes and their weights; without a validation file, of the share that is held out."""
    path = job.validation_path
    validation = sha256_of(path) if path else f"{job.config.data.holdout} held out, questions by {LIGHT_1.name}"
    trained: list[Any] = [sha256_of(path) for path in job.train_paths]
    if job.config.data.weights:
        trained = [list(pair) for pair in zip(trained, job.config.data.weights, strict=True)]
    return digest_of({"train": trained[0] if len(trained) == 1 else trained, "validation": validation})


def _notes(metrics: dict[str, float]) -> tuple[str, ...]:
    if metrics["eval_loss"] >= metrics["base_eval_loss"]:
        return ("the validation loss is no better than the base's own: nothing useful was learnt",)
    return ()


def _provenance(record: RunRecord, notes: tuple[str, ...]) -> Provenance:
    shared = {name: getattr(record, name) for name in Provenance.model_fields if name not in ("source", "note")}
    return Provenance(source="training", **shared, note="; ".join((*record.notes, *notes)))


@contextmanager
def _alone(run: _Run) -> Iterator[None]:
    """Hold the run's lock; the kernel lets go of it when the process ends, however it ends.

    Of the processes that make the run together the first holds it, for all.
    """
    if not processes.is_first():
        yield
        return
    folder, watch = run.folder, run.task.watch
    with lock_of(folder).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            watch.stage("waiting: another process makes this very run")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield
