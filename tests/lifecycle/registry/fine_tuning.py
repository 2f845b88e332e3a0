"""Jobs and files for the tests of their books."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import event

from lifecycle.jobs.nouns import Job, JobRequest, UploadedFile, new_id
from lifecycle.jobs.states import JobState
from lifecycle.version import digest_of

BASE = digest_of("base")
MOMENT = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)


def job_of(owner: str = "amal", **changes: Any) -> Job:
    request = JobRequest(model="tiny", training_file="file-1", seed=1, metadata=changes.pop("metadata", None))
    request = request.model_copy(update={key: changes.pop(key) for key in ("start", "training_file") if key in changes})
    facts = {"state": JobState.VALIDATING, "base": BASE, "name": "triage", "created_at": MOMENT, "request": request}
    return Job.model_validate({"id": new_id("ftjob-"), "owner": owner, **facts, **changes})


def asked(registry: Any, owner: str = "amal", **changes: Any) -> Job:
    """A job that waits."""
    job: Job = registry.jobs.create(job_of(owner, **changes), asked=new_id("asked-"), actor=owner)
    assert registry.leases.validated(job.id, None, "w")
    return job


def file_of(owner: str = "amal", size: int = 1, **changes: Any) -> UploadedFile:
    id_ = new_id("file-")
    facts = {"purpose": "fine-tune", "filename": "a.jsonl", "bytes": size, "digest": digest_of(id_)}
    return UploadedFile.model_validate({"id": id_, "owner": owner, "created_at": datetime.now(UTC), **facts, **changes})


@contextmanager
def statements(registry: Any) -> Iterator[list[tuple[str, Any]]]:
    """What the database is asked meanwhile."""
    heard: list[tuple[str, Any]] = []
    engine = registry._database._engine

    def hear(_c: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith(("SELECT", "INSERT", "UPDATE", "DELETE")) and "pg_" not in statement:
            heard.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", hear)
    yield heard
    event.remove(engine, "before_cursor_execute", hear)
