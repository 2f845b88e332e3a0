"""Files on their way, there, deleted, expired and gone, by the database's clock; on SQLite and on PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from lifecycle.aliases import Target
from lifecycle.errors import NotFound, Unavailable
from lifecycle.jobs.nouns import JobCheckpoint, JobResult
from lifecycle.jobs.states import JobState
from lifecycle.manifests import AdapterManifest
from lifecycle.registry import alias_stack, checkpoint_expiry, tables
from lifecycle.registry.cursor import Cursor
from lifecycle.states import State
from lifecycle.version import VersionSpec, digest_of
from tests.lifecycle.registry.fine_tuning import BASE, asked, file_of

pytestmark = pytest.mark.timeout(300)

NOW = timedelta()


def ids(files: Any) -> list[str]:
    return [file.id for file in files]


def set_back(registry: Any, id_: str, column: str, by: timedelta) -> None:
    with registry._database.write() as tx:
        values = {column: datetime.now(UTC) - by}
        tx.execute(update(tables.files).where(tables.files.c.id == id_).values(**values))


def test_a_file_is_none_before_its_bytes_have_come_and_counts_for_its_owner_all_the_same(registry):
    file = file_of(size=7)
    assert registry.files.expect(file, most=7)
    assert registry.files.all("amal", Cursor()).items == []
    with pytest.raises(NotFound):
        registry.files.get(file.id, "amal")
    assert registry.files.used("amal") == 7
    assert registry.files.expect(file_of(), most=7) is False
    assert registry.files.left() == []
    registry.files.add(file, actor="amal")
    assert registry.files.get(file.id, "amal") == file
    assert registry.files.used("amal") == 7


@pytest.mark.parametrize("how", ["given up", "never told of again"])
def test_bytes_that_never_came_whole_are_collected_and_free_their_room(registry, how):
    file = file_of(size=7)
    registry.files.expect(file)
    if how == "given up":
        registry.files.give_up(file.id)
    else:
        set_back(registry, file.id, "created_at", timedelta(hours=23, minutes=59))
        assert registry.files.left() == []
        assert registry.files.used("amal") == 7
        set_back(registry, file.id, "created_at", timedelta(hours=24, minutes=1))
    assert ids(registry.files.left()) == [file.id]
    assert registry.files.used("amal") == 0
    registry.files.purged(file.id, actor="w")
    assert registry.files.left() == []
    assert registry.audit(file.id)[0].detail["why"] == "never came"


def test_a_file_that_came_is_not_given_up(registry):
    file = file_of()
    registry.files.expect(file)
    registry.files.add(file, actor="amal")
    registry.files.give_up(file.id)
    set_back(registry, file.id, "created_at", timedelta(days=9))
    assert registry.files.left() == []


def test_an_expired_file_is_gone_at_once_frees_its_room_and_is_told_of_as_expired(registry):
    there, gone = file_of(size=3), file_of(size=5)
    registry.files.add(there.model_copy(update={"expires_at": datetime.now(UTC) + timedelta(hours=1)}), actor="amal")
    registry.files.add(gone.model_copy(update={"expires_at": datetime.now(UTC) - timedelta(hours=1)}), actor="amal")
    assert ids(registry.files.all("amal", Cursor()).items) == [there.id]
    with pytest.raises(NotFound):
        registry.files.delete(gone.id, "amal", actor="amal")
    assert registry.files.used("amal") == 3
    assert ids(registry.files.left()) == [gone.id]
    registry.files.purged(gone.id, actor="worker-1")
    registry.files.purged(gone.id, actor="worker-2")  # who swept at the same time
    purges = [entry for entry in registry.audit(gone.id) if entry.action == "file.purge"]
    assert [(entry.actor, entry.detail) for entry in purges] == [("worker-1", {"why": "expired", "bytes": 5})]


def test_whether_a_file_has_expired_is_asked_of_the_server_and_not_of_a_workers_clock(
    registry, registry_url, monkeypatch
):
    file = file_of()
    registry.files.add(file.model_copy(update={"expires_at": file.created_at + timedelta(hours=1)}), actor="amal")

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=365)

    monkeypatch.setattr("lifecycle.registry.database.datetime", Ahead)
    there = registry.files.all("amal", Cursor()).items
    # One machine has one clock: a file of SQLite is no other machine's.
    assert len(there) == (0 if registry_url.startswith("sqlite") else 1)


def test_a_file_that_any_unfinished_job_reads_is_kept_and_its_owner_has_the_room(registry):
    files = [file_of(size=2) for _ in range(3)]
    for file in files:
        registry.files.add(file, actor="amal")
    job = asked(registry, training_file=files[0].id)
    for file in files:
        registry.files.delete(file.id, "amal", actor="amal")
    assert ids(registry.files.left()) == ids(files[1:])
    assert registry.files.read_by(files[0].id, job.id).id == files[0].id
    assert registry.files.used("amal") == 0
    registry.jobs.move(job.id, JobState.PAUSED, None, actor="amal")
    assert ids(registry.files.left()) == ids(files[1:])
    registry.jobs.move(job.id, JobState.CANCELLED, None, actor="amal")
    assert ids(registry.files.left()) == ids(files)


# -- checkpoints ------------------------------------------------------------------------------------------------------


def adapter_of(registry: Any, name: str) -> str:
    """Known to the registry; nobody reads its bytes here."""
    facts = {"base_name": "tiny", "parameters": 8, "bytes": 8, "rank": 4, "alpha": 8.0, "scale": 2.0}
    manifest = AdapterManifest(
        digest=digest_of(name), base=BASE, created_at=datetime.now(UTC), target_modules=(), **facts
    )
    registry.add_artifact(manifest)
    return manifest.digest


def trained(registry: Any, *adapters: str) -> tuple[Any, list[Any]]:
    """A job whose model is the last adapter's version, with a checkpoint of each."""
    job = asked(registry)
    registry.leases.take("w", [BASE], {})
    specs = [VersionSpec(base=BASE, adapter=adapter_of(registry, name)) for name in adapters]
    versions = [registry.create_version(job.name, spec, actor="w") for spec in specs]
    checkpoints = [
        JobCheckpoint(
            id=f"ftckpt_{job.tail}{step}", job=job.id, step=step, model=f"ft:{job.id}:ckpt-step-{step}",
            version=version.ref, metrics={}, created_at=datetime.now(UTC),
        )
        for step, version in enumerate(versions)
    ]  # fmt: skip
    registry.leases.seal(job.id, "w")
    result = JobResult(model=f"ft:{job.id}", version=versions[-1].ref)
    registry.leases.succeeded(job, "w", result, checkpoints, [], file_of())
    return job, versions


def _remove(adapter):
    """The store's part is another's to test."""


def test_bytes_that_were_not_removed_are_removed_by_the_next_sweep(registry):
    job, (old, _) = trained(registry, "one", "two")

    def away(adapter):
        raise Unavailable("the store is away")

    with pytest.raises(Unavailable):
        registry.jobs.expire_checkpoints(NOW, away, actor="w")
    assert registry.version(old.ref).state is State.RETIRED
    assert registry.jobs.tuned(f"ft:{job.id}:ckpt-step-0") is None
    removed = []
    assert registry.jobs.expire_checkpoints(NOW, removed.append, actor="w") == removed == [old.spec.adapter]
    assert registry.jobs.expire_checkpoints(NOW, removed.append, actor="w") == []
    trail = [entry.action for entry in registry.audit() if entry.action.startswith("checkpoint")]
    assert trail == ["checkpoint.expire"] * 2


def test_checkpoints_that_are_needed_are_in_nobodys_way(registry, monkeypatch):
    monkeypatch.setattr(checkpoint_expiry, "_AT_ONCE", 1)
    _, (served, old, _) = trained(registry, "one", "two", "three")
    with registry._database.write() as tx:
        alias_stack.push(tx, served.name, "canary", [Target(number=served.number, weight=1.0)], forced=True)
    assert registry.jobs.expire_checkpoints(NOW, _remove, actor="w") == [old.spec.adapter]


def test_checkpoints_expire_with_the_drafts_and_bytes_that_nobody_needs(registry):
    job, (old, best) = trained(registry, "one", "two")
    assert registry.jobs.expire_checkpoints(timedelta(hours=1), _remove, actor="w") == []
    removed = []
    freed = registry.jobs.expire_checkpoints(NOW, removed.append, actor="worker-1")
    assert freed == removed == [old.spec.adapter]
    assert registry.version(old.ref).state is State.RETIRED
    # The job's own model stays, under its own name, though it was a checkpoint too.
    assert registry.version(best.ref).state is State.DRAFT
    assert registry.jobs.tuned(f"ft:{job.id}").version == best.ref
    for step in range(2):
        assert registry.jobs.tuned(f"ft:{job.id}:ckpt-step-{step}") is None
    assert registry.jobs.checkpoints(job.id, None, Cursor()).items == []
    trail = [(entry.actor, entry.action) for entry in registry.audit() if entry.action.startswith("checkpoint")]
    assert trail == [("worker-1", "checkpoint.expire")] * 2
    assert registry.jobs.expire_checkpoints(NOW, _remove, actor="worker-1") == []


def test_what_an_alias_serves_a_job_starts_from_or_somebody_has_evaluated_never_expires(registry):
    job, (served, judged, started, *_) = trained(registry, "one", "two", "three", "four")
    with registry._database.write() as tx:
        alias_stack.push(tx, served.name, "canary", [Target(number=served.number, weight=1.0)], forced=True)
        tx.execute(update(tables.versions).where(tables.versions.c.number == judged.number).values(state="evaluated"))
    running = asked(registry, start=started.ref)
    assert registry.jobs.expire_checkpoints(NOW, _remove, actor="w") == []
    kept = [point.step for point in registry.jobs.checkpoints(job.id, None, Cursor()).items]
    assert kept == [2, 1, 0]
    for version in (served, judged, started):
        assert registry.version(version.ref).state is not State.RETIRED
    registry.jobs.move(running.id, JobState.CANCELLED, None, actor="amal")
    assert registry.jobs.expire_checkpoints(NOW, _remove, actor="w") == [started.spec.adapter]


def test_bytes_that_another_version_shares_stay(registry):
    _, (old, _) = trained(registry, "one", "two")
    other = registry.create_version("billing", VersionSpec(base=old.spec.base, adapter=old.spec.adapter), actor="x")
    assert registry.jobs.expire_checkpoints(NOW, _remove, actor="w") == []
    assert registry.version(old.ref).state is State.RETIRED
    assert registry.version(other.ref).state is State.DRAFT
