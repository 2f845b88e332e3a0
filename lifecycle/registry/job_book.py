"""The registry's queue of fine-tuning jobs (`jobs/nouns.py`) for those who ask for them: `registry.jobs`.

Owners' wishes are here; `job_leases.py` has what workers do. Each move is one transaction by the table of
`jobs/states.py`, and stands in the trail. Events are the job's own account, and no change of the registry.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, func, insert, select, update

from lifecycle.access.keys import ApiKey
from lifecycle.errors import InvalidInput, ModelNotFound, NotFound, Problem
from lifecycle.jobs.nouns import Job, JobCheckpoint, JobEvent, TunedModel
from lifecycle.jobs.states import ENDED, HELD, JOB_MOVES, JobState, move_job
from lifecycle.registry import audit, checkpoint_expiry, cursor, judging, tables, turns
from lifecycle.registry.cursor import Cursor, Page
from lifecycle.registry.database import Database
from lifecycle.registry.readable import valid
from lifecycle.version import Digest

_T = tables.jobs.c
_UNKEPT = ("number", "asked", "again", "turn")
_TOLD = {
    JobState.CANCELLED: "The job has been cancelled",
    JobState.PAUSED: "The job has been paused",
    JobState.QUEUED: "The job has been resumed, and waits for its turn",
}


class JobBook:
    """Safe to share between threads and processes, as the registry is."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, job: Job, *, asked: str, again: str = "", since: datetime | None = None, actor: str) -> Job:
        """Queue it, or return the one that was made of the same request.

        `asked` is the request's digest. It is the same request when the owner used the key `again` before, or, with
        `since`, asked for the very same after that moment: a client that tries again says that it does. Raises
        `InvalidInput` for a key that was used for another request.
        """
        mine = _T.owner == job.owner
        with self._database.write() as tx:
            row = None
            if again:
                row = _newest(tx, mine & (_T.again == again))
            elif since is not None:
                row = _newest(tx, mine & (_T.asked == asked) & (_T.created_at >= since))
            if row is not None and row.asked != asked:
                fault = f"was used for {row.id}, which was asked for with another body"
                raise InvalidInput("The request is not valid:", [Problem("Idempotency-Key", fault, "use a new one")])
            if row is not None:
                return to_job(row)
            columns = {"created_at": job.created_at, "finished_at": job.finished_at, "asked": asked, "again": again}
            row_ = job.model_dump(mode="json", exclude={"created_at", "finished_at"})
            tx.execute(insert(tables.jobs).values(**row_, **columns))
            say(tx, job.id, [JobEvent(message=f"Created fine-tuning job: {job.id}"), JobEvent(message=_VALIDATING)])
            detail = {"model": job.request.model, "training_file": job.request.training_file, "name": job.name}
            audit.append(tx, actor, "job.create", job.id, detail)
        return job

    def get(self, id_: str, owner: str | None) -> Job:
        """`owner` None for anybody's. Raises `NotFound`, also for a job of another owner's."""
        with self._database.read() as tx:
            return to_job(_row(tx, id_, owner))

    def all(
        self, owner: str, at: Cursor, metadata: Mapping[str, str] | None = None, *, bare: bool = False
    ) -> Page[Job]:
        """Newest first; those that have all of this `metadata`, or, with `bare`, none at all."""
        where = _T.owner == owner
        for key, value in (metadata or {}).items():
            where &= _T.request["metadata"][key].as_string() == value
        if bare:
            where &= _T.request["metadata"].as_string().is_(None)
        with self._database.read() as tx:
            page = cursor.rows(tx, tables.jobs, where, at)
        return Page([to_job(row) for row in page.items], page.has_more)

    def under_way(self, owner: str | None, most: int = 50) -> list[Job]:
        """Those that have not ended, newest first; `owner` None for everybody's."""
        where: ColumnElement[bool] = _T.state.not_in(sorted(ENDED))
        if owner is not None:
            where &= _T.owner == owner
        with self._database.read() as tx:
            return [to_job(row) for row in cursor.rows(tx, tables.jobs, where, Cursor(limit=most)).items]

    def unfinished(self, owner: str) -> int:
        query = select(func.count()).where((_T.owner == owner) & _T.state.not_in(sorted(ENDED)))
        with self._database.read() as tx:
            return int(tx.execute(query).scalar_one())

    def move(self, id_: str, to: JobState, owner: str | None, *, actor: str) -> Job:
        """As its owner wishes. Raises `NotFound`, and `JobRefused` for what its state does not allow.

        A worker that has the job finds it moved at its next beat, and lets go of it between two steps.
        """
        with self._database.write() as tx:
            row = _row(tx, id_, owner)
            return shift(tx, row, to, actor, [JobEvent(message=_TOLD[to])])

    def events(self, id_: str, owner: str | None, at: Cursor) -> Page[JobEvent]:
        """Newest first."""
        with self._database.read() as tx:
            _row(tx, id_, owner)
            page = cursor.rows(tx, tables.job_events, tables.job_events.c.job == id_, at)
        return Page([valid(JobEvent, _without(row, "number", "job"), row.id) for row in page.items], page.has_more)

    def checkpoints(self, id_: str, owner: str | None, at: Cursor) -> Page[JobCheckpoint]:
        """Newest first, without those that have expired."""
        table = tables.job_checkpoints
        with self._database.read() as tx:
            _row(tx, id_, owner)
            page = cursor.rows(tx, table, (table.c.job == id_) & table.c.expired_at.is_(None), at)
        rows = [(row, _without(row, "number", "expired_at")) for row in page.items]
        return Page([valid(JobCheckpoint, fields, row.id) for row, fields in rows], page.has_more)

    def checkpoints_of(self, versions: Collection[str]) -> list[JobCheckpoint]:
        """Of any job's, those of these versions that have not expired; the newest of each step, by step."""
        table = tables.job_checkpoints
        where = table.c.version.in_(versions) & table.c.expired_at.is_(None)
        with self._database.read() as tx:
            rows = {row.step: row for row in tx.execute(select(table).where(where).order_by(table.c.number))}
        return [valid(JobCheckpoint, _without(rows[at], "number", "expired_at"), rows[at].id) for at in sorted(rows)]

    def before(self, job: Job) -> int:
        """Jobs over the same base that are taken before this one, which waits, as the queue stands now."""
        with self._database.read() as tx:
            order = turns.in_order(tx, [job.base])
        return order.index(job.id) if job.id in order else 0

    def expire_checkpoints(self, after: timedelta, remove: Callable[[Digest], object], *, actor: str) -> list[Digest]:
        """Those that have lasted so long and that nobody needs: the adapters whose bytes `remove` took."""
        return checkpoint_expiry.expire(self._database, after, remove, actor)

    def tuned(self, name: str) -> TunedModel | None:
        """What a name such as `ft:base:dabt:suffix:id` stands for."""
        table = tables.tuned_models
        with self._database.read() as tx:
            row = tx.execute(select(table).where((table.c.name == name) & table.c.deleted_at.is_(None))).first()
        return None if row is None else _tuned(row)

    def all_tuned(self, owner: str) -> list[TunedModel]:
        """The owner's, in the order in which they were made."""
        table = tables.tuned_models
        query = select(table).where((table.c.owner == owner) & table.c.deleted_at.is_(None))
        with self._database.read() as tx:
            return [_tuned(row) for row in tx.execute(query.order_by(table.c.created_at, table.c.name))]

    def delete_tuned(self, name: str, owner: str, *, actor: str) -> None:
        """Nobody calls it by this name any more, and its version is retired with the last of its names.

        Raises `NotFound`, also for another owner's, and `NotAllowed` while an alias points at the version.
        """
        table = tables.tuned_models
        mine = (table.c.owner == owner) & table.c.deleted_at.is_(None)
        with self._database.write() as tx:
            if (row := tx.execute(select(table).where(mine & (table.c.name == name))).first()) is None:
                raise ModelNotFound(f"The model '{name}' does not exist", place="model")
            others = select(table.c.name).where((table.c.version == row.version) & table.c.deleted_at.is_(None))
            if tx.execute(others.where(table.c.name != name)).first() is None:
                judging.retire(tx, row.version, actor, f"{name} was deleted")
            tx.execute(update(table).where(table.c.name == name).values(deleted_at=datetime.now(UTC)))
            audit.append(tx, actor, "model.delete", name, {"version": row.version})


def _tuned(row: Row[Any]) -> TunedModel:
    return valid(TunedModel, _without(row, "created_at", "deleted_at"), row.name)


_VALIDATING = "Validating training file"


def say(tx: Connection, job: str, events: Iterable[JobEvent]) -> None:
    """Add to the job's account."""
    now = datetime.now(UTC)
    for event in events:
        row = event.model_dump(exclude={"created_at"})
        tx.execute(insert(tables.job_events).values(job=job, created_at=event.created_at or now, **row))


def shift(tx: Connection, row: Row[Any], to: JobState, actor: str, events: Iterable[JobEvent], **changes: Any) -> Job:
    """Move the job of `row` along the table, with other columns' `changes`. Raises `JobRefused`."""
    now = move_job(row.id, JobState(row.state), to)
    if now in ENDED:
        changes["finished_at"] = datetime.now(UTC)
    if now not in HELD:
        changes["holder"] = ""
    tx.execute(update(tables.jobs).where(_T.id == row.id).values(state=now.value, **changes))
    say(tx, row.id, events)
    audit.append(tx, actor, "job.state", row.id, {"from": row.state, "to": now.value})
    return to_job(_row(tx, row.id, None))


def cancel_all(tx: Connection, key: ApiKey, actor: str) -> None:
    """Those that the key itself asked for and that can be cancelled: not what is being published, which takes a moment.

    A job of an earlier release does not say who asked: it counts as the first of the keys that share it.
    """
    said = "The job has been cancelled: the key that asked for it was revoked"
    where = (_T.owner == key.owner) & _T.state.not_in(sorted(ENDED))
    for row in list(tx.execute(select(tables.jobs).where(where).order_by(_T.number))):
        if (row.request.get("key") or row.owner) != key.id:
            continue
        if JobState.CANCELLED in JOB_MOVES[JobState(row.state)]:
            shift(tx, row, JobState.CANCELLED, actor, [JobEvent(level="warn", message=said)])


def row_of(tx: Connection, id_: str) -> Row[Any]:
    return _row(tx, id_, None)


def to_job(row: Row[Any]) -> Job:
    return valid(Job, _without(row, *_UNKEPT), row.id)


def _newest(tx: Connection, where: ColumnElement[bool]) -> Row[Any] | None:
    return tx.execute(select(tables.jobs).where(where).order_by(_T.number.desc()).limit(1)).first()


def _row(tx: Connection, id_: str, owner: str | None) -> Row[Any]:
    row = _newest(tx, _T.id == id_)
    if row is None or (owner is not None and row.owner != owner):
        raise NotFound(f"Could not find fine tune: {id_}", place="fine_tuning_job_id")
    return row


def _without(row: Row[Any], *columns: str) -> dict[str, Any]:
    return {key: value for key, value in row._mapping.items() if key not in columns}
