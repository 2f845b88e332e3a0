"""What workers do with the registry's jobs: take one, show that they are alive, say how it went (`jobs/nouns.py`).

All of it asks whether the worker still has the job, in the transaction that makes the change: one that was thought dead
and was not changes nothing any more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select, update

from lifecycle.errors import LeaseLost
from lifecycle.jobs.nouns import (
    Hyperparameters,
    Job,
    JobCheckpoint,
    JobEvaluation,
    JobEvent,
    JobFault,
    JobProgress,
    JobResult,
    KeptRun,
    Level,
    TunedModel,
    UploadedFile,
)
from lifecycle.jobs.states import ENDED, HELD, WAITING, JobState
from lifecycle.registry import audit, file_book, tables, turns
from lifecycle.registry.database import Database
from lifecycle.registry.job_book import row_of, say, shift, to_job

_T = tables.jobs.c
MOST_TRIES = 4
"""Workers that may end while they have a job, before it counts as the job's own fault."""
COMPLETED = "The job has successfully completed"


@dataclass(frozen=True, slots=True)
class JobQueue:
    """How many jobs over one base there is something to do for."""

    waiting: int
    held: int
    """A worker has them."""


class JobLeases:
    """`registry.leases`. `worker` is a name that no other worker has, now or later."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def waiting(self, bases: Sequence[str], state: JobState) -> list[Job]:
        """Oldest first; those over one of these bases."""
        where = (_T.state == state.value) & _T.base.in_(bases)
        with self._database.read() as tx:
            return [to_job(row) for row in tx.execute(select(tables.jobs).where(where).order_by(_T.number))]

    def queues(self, bases: Sequence[str]) -> dict[str, JobQueue]:
        """Of each of these bases."""
        columns = select(_T.base, _T.state, func.count().label("jobs")).where(_T.base.in_(bases))
        query = columns.where(_T.state.in_(sorted(HELD | WAITING))).group_by(_T.base, _T.state)
        waiting: Counter[str] = Counter()
        held: Counter[str] = Counter()
        with self._database.read() as tx:
            for row in tx.execute(query):
                (held if row.state in HELD else waiting)[row.base] += row.jobs
        return {base: JobQueue(waiting[base], held[base]) for base in bases}

    def held(self, bases: Sequence[str]) -> dict[str, tuple[str, int]]:
        """Job's id → its holder and beat, of those that some worker has."""
        columns = select(_T.id, _T.holder, _T.beat)
        where = _T.state.in_(sorted(HELD)) & _T.base.in_(bases)
        with self._database.read() as tx:
            return {row.id: (row.holder, row.beat) for row in tx.execute(columns.where(where))}

    def take(self, worker: str, bases: Sequence[str], lapsed: Mapping[str, tuple[str, int]]) -> Job | None:
        """The job whose turn it is (`turns.py`), or that one of `lapsed` holders has let lapse, if it is still as seen.

        None when there is none. One that has ended too many workers fails.
        """
        where = (_T.state == JobState.QUEUED.value) & _T.base.in_(bases)
        with self._database.read() as tx:
            # The one lock of all writers is not taken for nothing, by every worker, every second.
            if not lapsed and tx.execute(select(_T.id).where(where).limit(1)).first() is None:
                return None
        with self._database.write() as tx:
            for id_, (holder, beat) in lapsed.items():
                row = row_of(tx, id_)
                if row.state not in HELD or (row.holder, row.beat) != (holder, beat):
                    continue
                if row.tries >= MOST_TRIES and row.state == JobState.EVALUATING.value:
                    _evaluated(tx, row, worker, _unevaluated(to_job(row)))
                    continue
                if row.tries >= MOST_TRIES:
                    _end(tx, row, JobState.FAILED, JobResult(fault=_TOO_OFTEN), worker, [])
                    continue
                event = JobEvent(level="warn", message="The worker of this job has gone; another goes on with it")
                return _hold(tx, row, worker, event)
            for id_ in turns.in_order(tx, bases):
                row = row_of(tx, id_)
                if row.tries >= MOST_TRIES:
                    _end(tx, row, JobState.FAILED, JobResult(fault=_TOO_OFTEN), worker, [])
                    continue
                shift(tx, row, JobState.RUNNING, worker, [], turn=turns.next_turn(tx))
                return _hold(tx, row, worker, JobEvent(message="Fine-tuning job started"))
            return None

    def beat(self, id_: str, worker: str, progress: JobProgress | None) -> None:
        """Still alive, and so far; None where that is not known. Raises `LeaseLost` when the job is this worker's no
        more."""
        with self._database.write() as tx:
            row = _mine(tx, id_, worker)
            values: dict[str, Any] = {"beat": row.beat + 1}
            if progress is not None:
                progress = progress.model_copy(update={"kept": to_job(row).progress.kept})
                values["progress"] = progress.model_dump(mode="json", exclude_none=True)
            tx.execute(update(tables.jobs).where(_T.id == id_).values(values))

    def keep(self, id_: str, worker: str, kept: KeptRun) -> KeptRun | None:
        """Whoever takes the job next goes on from this; what it would have gone on from before. Raises `LeaseLost`."""
        with self._database.write() as tx:
            progress = to_job(_mine(tx, id_, worker)).progress
            _keep(tx, id_, progress, kept)
            return progress.kept

    def kept_of_ended(self) -> list[tuple[str, KeptRun]]:
        """What is kept of jobs that have ended, and nobody goes on from."""
        where = _T.state.in_(sorted(ENDED)) & _T.progress["kept"].as_string().is_not(None)
        with self._database.read() as tx:
            jobs = [to_job(row) for row in tx.execute(select(tables.jobs).where(where))]
        return [(job.id, job.progress.kept) for job in jobs if job.progress.kept is not None]

    def let_go(self, id_: str, kept: KeptRun) -> None:
        """Its bytes are gone."""
        with self._database.write() as tx:
            progress = to_job(row_of(tx, id_)).progress
            if progress.kept == kept:
                _keep(tx, id_, progress, None)

    def tell(self, id_: str, worker: str, events: Iterable[JobEvent]) -> None:
        with self._database.write() as tx:
            _mine(tx, id_, worker)
            say(tx, id_, events)

    def told(self, id_: str) -> dict[str, int]:
        """Of each figure that its events have told, the last step; 0 of one that belongs to none."""
        events = tables.job_events.c
        query = select(events.data).where((events.job == id_) & events.data.is_not(None)).order_by(events.number)
        told: dict[str, int] = {}
        with self._database.read() as tx:
            for (data,) in tx.execute(query):
                step = int((data or {}).get("step", 0))
                told.update({name: max(step, told.get(name, 0)) for name in data or {}})
        return told

    def validated(
        self,
        id_: str,
        fault: JobFault | None,
        worker: str,
        events: Sequence[JobEvent] = (),
        hyper: Hyperparameters | None = None,
    ) -> bool:
        """What came of looking at its files, with a number for every `auto`, so that nobody reads them again for that.

        No lease is needed. False when somebody has moved it meanwhile.
        """
        with self._database.write() as tx:
            row = row_of(tx, id_)
            if row.state != JobState.VALIDATING.value:
                return False
            if fault is not None:
                _end(tx, row, JobState.FAILED, JobResult(fault=fault), worker, events)
            else:
                said = JobEvent(message="Files validated, moving job to queued state")
                progress = JobProgress(hyperparameters=hyper).model_dump(mode="json")
                shift(tx, row, JobState.QUEUED, worker, [*events, said], progress=progress)
            return True

    def seal(self, id_: str, worker: str) -> None:
        """Its weights are made: from here it cannot be cancelled. Raises `LeaseLost`."""
        with self._database.write() as tx:
            row = _mine(tx, id_, worker)
            if row.state != JobState.FINISHING.value:
                shift(tx, row, JobState.FINISHING, worker, [])

    def give_back(self, id_: str, worker: str, *, tried: bool) -> None:
        """This worker stops, and the job waits for another; `tried` says that it counts as one of the job's tries.

        One that is being published stays where it is: its lease lapses.
        """
        with self._database.write() as tx:
            row = _mine(tx, id_, worker)
            if row.state == JobState.RUNNING.value:
                said = JobEvent(level="warn", message="The worker of this job stops; another will go on with it")
                # One that its worker left for reasons of its own has not had its turn.
                changes = {} if tried else {"tries": row.tries - 1, "turn": None}
                shift(tx, row, JobState.QUEUED, worker, [said], **changes)

    def succeeded(
        self,
        job: Job,
        worker: str,
        result: JobResult,
        checkpoints: Sequence[JobCheckpoint],
        events: Sequence[JobEvent],
        figures: UploadedFile,
    ) -> None:
        """All of it at once: the result, its file of figures, its checkpoints, and the names that they are called by.

        A job that asks for an evaluation is the worker's until `evaluated`. Raises `LeaseLost`.
        """
        now = datetime.now(UTC)
        with self._database.write() as tx:
            row = _mine(tx, job.id, worker)
            file_book.add(tx, figures, worker)
            for checkpoint in checkpoints:
                tx.execute(insert(tables.job_checkpoints).values(**checkpoint.model_dump()))
            names = [(result.model, result.version), *((each.model, each.version) for each in checkpoints)]
            for name, version in names:
                tuned = TunedModel(name=name, version=version, owner=job.owner, job=job.id)
                tx.execute(insert(tables.tuned_models).values(**tuned.model_dump(), created_at=now))
            to = JobState.EVALUATING if job.evaluation else JobState.SUCCEEDED
            _end(tx, row, to, result, worker, events)

    def evaluated(self, id_: str, worker: str, evaluation: JobEvaluation) -> None:
        """Raises `LeaseLost`."""
        with self._database.write() as tx:
            _evaluated(tx, _mine(tx, id_, worker), worker, evaluation)

    def failed(self, id_: str, worker: str, fault: JobFault) -> None:
        """Raises `LeaseLost`."""
        with self._database.write() as tx:
            _end(tx, _mine(tx, id_, worker), JobState.FAILED, JobResult(fault=fault), worker, [])


_TOO_OFTEN = JobFault(
    code="worker_lost",
    message=(
        f"{MOST_TRIES} workers ended while they trained this job: it needs more memory than there is, as a rule. Lower "
        "batch_size, or shorten the rows"
    ),
)


def _end(
    tx: Connection, row: Row[Any], to: JobState, result: JobResult, worker: str, events: Iterable[JobEvent]
) -> None:
    said = [*events]
    if result.fault is not None:
        said.append(JobEvent(level="error", message=result.fault.message))
    shift(tx, row, to, worker, said, result=result.model_dump(mode="json"))


def _evaluated(tx: Connection, row: Row[Any], worker: str, evaluation: JobEvaluation) -> None:
    result = to_job(row).result.model_copy(update={"evaluation": evaluation})
    level: Level = "info" if evaluation.ruling == "passed" else "warn"
    said = JobEvent(level=level, message=f"Evaluation {evaluation.name}: {evaluation.ruling}; {evaluation.opens}")
    _end(tx, row, JobState.SUCCEEDED, result, worker, [said, JobEvent(message=COMPLETED)])


def _unevaluated(job: Job) -> JobEvaluation:
    why = f"{MOST_TRIES} workers ended while they evaluated; `dabt eval` goes on with it"
    return JobEvaluation(name=job.evaluation, ruling="error", opens=why)


def _keep(tx: Connection, id_: str, progress: JobProgress, kept: KeptRun | None) -> None:
    values = progress.model_copy(update={"kept": kept}).model_dump(mode="json", exclude_none=True)
    tx.execute(update(tables.jobs).where(_T.id == id_).values(progress=values))


def _mine(tx: Connection, id_: str, worker: str) -> Row[Any]:
    row = row_of(tx, id_)
    if row.state not in HELD or row.holder != worker:
        raise LeaseLost(f"{id_} is {row.state}, and held by {row.holder or 'nobody'}: no more by {worker}")
    return row


def _hold(tx: Connection, row: Row[Any], worker: str, event: JobEvent) -> Job:
    values = {"holder": worker, "beat": row.beat + 1, "tries": row.tries + 1}
    tx.execute(update(tables.jobs).where(_T.id == row.id).values(values))
    say(tx, row.id, [event])
    audit.append(tx, worker, "job.take", row.id)
    return to_job(row_of(tx, row.id))
