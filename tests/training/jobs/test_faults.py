"""What may go wrong while a job is done: its worker is killed, the store or a disk is away, files and bases go.

Training is a stand-in (`conftest.py`); `test_worker.py` kills workers that train for real.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import Unavailable
from lifecycle.jobs.states import HELD, JobState
from lifecycle.registry import tables
from tests.training.jobs.conftest import Desk, Standing

pytestmark = pytest.mark.timeout(300)

S = JobState


def gone_on(desk: Desk) -> Standing:
    """Another worker, which has seen the lost one's lease a whole term ago, does what there is to do."""
    clock = iter(range(0, 10_000, 10))
    other = desk.worker(clock=lambda: float(next(clock)))
    other.lapsed()
    other.run(once=True)
    return other


# -- killed −9 in every state -----------------------------------------------------------------------------------------

WHOLE = {"versions": ["triage:1"], "results": ["fine-tune-results"]}


@pytest.mark.parametrize(
    ("place", "state", "left"),
    [
        ("validating", S.VALIDATING, []),
        ("taken", S.RUNNING, []),
        ("fetched", S.RUNNING, []),
        ("step 2", S.RUNNING, []),
        ("sealed", S.FINISHING, []),
        ("versioned", S.FINISHING, ["triage:1"]),
        ("succeeded", S.SUCCEEDED, ["triage:1"]),
    ],
)
def test_a_worker_killed_in_any_state_leaves_a_job_that_another_ends_once(
    desk: Desk, place: str, state: JobState, left: list[str]
) -> None:
    job = desk.ask(desk.file())
    desk.killed(place)
    assert desk.job(job).state is state
    assert desk.left()["versions"] == left
    gone_on(desk)
    done = desk.job(job)
    assert (done.state, done.holder) == (S.SUCCEEDED, "")
    assert desk.left() == WHOLE
    assert desk.states(job)[-1] == "succeeded"
    assert ("The worker of this job has gone; another goes on with it" in desk.said(job)) is (state in HELD)
    assert list((desk.home.root / "jobs").iterdir()) == []


def test_a_worker_killed_between_two_jobs_leaves_them_waiting(desk: Desk) -> None:
    job = desk.ask(desk.file())
    desk.killed("over", act="validate")
    assert (desk.job(job).state, desk.job(job).holder) == (S.QUEUED, "")
    gone_on(desk)
    assert desk.left() == WHOLE
    assert desk.states(job) == ["queued", "running", "finishing", "succeeded"]


@pytest.mark.parametrize("to", [S.PAUSED, S.CANCELLED])
def test_a_worker_killed_before_it_hears_of_a_pause_or_a_cancel_changes_neither(desk: Desk, to: JobState) -> None:
    job = desk.ask(desk.file())
    desk.killed("step 2", lambda: desk.registry.jobs.move(job.id, to, "amal", actor="amal"))
    assert (desk.job(job).state, desk.job(job).holder) == (to, "")
    gone_on(desk)
    assert desk.job(job).state is to
    assert desk.left() == {"versions": [], "results": []}
    assert (desk.home.root / "jobs" / job.id).exists() is (to is S.PAUSED)
    if to is S.PAUSED:
        desk.registry.jobs.move(job.id, S.QUEUED, "amal", actor="amal")
        gone_on(desk)
        assert desk.left() == WHOLE


def test_a_job_that_ends_every_worker_fails_and_says_so(desk: Desk) -> None:
    job = desk.ask(desk.file())
    for _ in range(4):
        desk.killed("step 1")
        with desk.registry._database.write() as tx:
            tx.execute(tables.jobs.update().values(state="queued", holder=""))
    gone_on(desk)
    fault = desk.job(job).result.fault
    assert (fault.code, "4 workers ended" in fault.message) == ("worker_lost", True)
    assert desk.left() == {"versions": [], "results": []}


# -- the store and the registry are away ------------------------------------------------------------------------------


class Away:
    """Stands before a method, and answers only when it was asked `times` times."""

    def __init__(self, times: int) -> None:
        self.left = times

    def __call__(self, plain: Callable[..., Any]) -> Callable[..., Any]:
        def method(*args: Any, **named: Any) -> Any:
            if self.left > 0:
                self.left -= 1
                raise Unavailable("the store cannot be reached")
            return plain(*args, **named)

        return method


@pytest.mark.parametrize(
    ("of", "method"),
    [("store", "get"), ("store", "put"), ("leases", "seal"), ("leases", "succeeded"), ("registry", "create_version")],
)
def test_a_job_waits_for_a_store_or_a_registry_that_is_away_and_goes_on_by_itself(
    desk: Desk, of: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = desk.ask(desk.file()), desk.worker()
    worker.validate()
    shutil.rmtree(desk.home.root / "jobs")  # as on another machine: its file has to be fetched again
    there = {"store": desk.shelf.store, "leases": desk.registry.leases, "registry": desk.registry}[of]
    away = Away(6)
    monkeypatch.setattr(there, method, away(getattr(there, method)))
    worker.run(once=True)
    done = desk.job(job)
    assert (away.left, done.state, done.tries) == (0, S.SUCCEEDED, 1)
    assert desk.left() == WHOLE
    told = [line for line in desk.said(job) if "the job waits" in line]
    assert told == ["The store, the registry or the service is away: the job waits, and goes on by itself"]


def test_every_job_that_waits_says_so(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    jobs, worker = [desk.ask(desk.file()) for _ in range(2)], desk.worker()
    worker.validate()
    seal = desk.registry.leases.seal
    for job in jobs:
        monkeypatch.setattr(desk.registry.leases, "seal", Away(2)(seal))
        taken = worker._take()
        assert taken is not None
        worker._do(taken)
        assert desk.job(job).state is S.SUCCEEDED
        assert len([line for line in desk.said(job) if "the job waits" in line]) == 1


def test_a_job_that_waits_for_its_store_can_be_cancelled(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job, worker = desk.ask(desk.file()), desk.worker()
    worker.validate()
    shutil.rmtree(desk.home.root / "jobs")
    asked = threading.Event()

    def get(*_: Any) -> Path:
        asked.set()
        raise Unavailable("the store cannot be reached")

    monkeypatch.setattr(desk.shelf.store, "get", get)
    training = threading.Thread(target=worker.run, kwargs={"once": True})
    training.start()
    assert asked.wait(300)
    desk.registry.jobs.move(job.id, S.CANCELLED, "amal", actor="amal")
    training.join(300)
    assert not training.is_alive()
    assert desk.job(job).state is S.CANCELLED


def test_what_a_job_tells_is_not_lost_while_the_registry_is_away(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job, leases = desk.ask(desk.file()), desk.registry.leases
    monkeypatch.setattr(leases, "tell", Away(3)(leases.tell))
    desk.worker().run(once=True)
    told = [line for line in desk.said(job) if line in ("Training", "Publishing")]
    assert (told[0], told[-1]) == ("Training", "Publishing")


def test_files_of_new_jobs_are_looked_at_again_when_the_store_is_back(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = desk.ask(desk.file()), desk.worker()
    monkeypatch.setattr(desk.shelf.store, "get", Away(3)(desk.shelf.store.get))
    looking = threading.Thread(target=worker._validate)
    looking.start()
    while desk.job(job).state is S.VALIDATING:
        pass
    worker.stop.set()
    looking.join(300)
    assert desk.job(job).state is S.QUEUED


# -- disks, bases, files ----------------------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Any:
    """A filesystem of 2 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(folder)]
    if (mounted := subprocess.run(mount, check=False, capture_output=True)).returncode:
        pytest.skip(f"no filesystem can be mounted here: {mounted.stderr.decode().strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_disk_that_fills_during_training_fails_the_job_by_its_name_and_the_next_one_is_done(
    desk: Desk, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = desk.ask(desk.file()), desk.ask(desk.file())

    def fill(place: str) -> None:
        if place == "step 2":
            with (small / "checkpoint").open("wb") as out:
                for _ in range(3):
                    out.write(b"x" * 2**20)
                    out.flush()

    monkeypatch.setattr(Standing, "at", staticmethod(fill))
    worker = desk.worker()
    worker.validate()
    job = worker._take()
    assert job is not None
    worker._do(job)
    fault = desk.job(first).result.fault
    assert (fault.code, "free some space" in fault.message) == ("disk_full", True)
    assert str(small) not in fault.message
    assert desk.left() == {"versions": [], "results": []}
    assert not (desk.home.root / "jobs" / first.id).exists()
    (small / "checkpoint").unlink()
    monkeypatch.undo()
    worker.run(once=True)
    assert desk.job(second).state is S.SUCCEEDED


@pytest.mark.parametrize(
    "error",
    [
        OSError(28, "No space left on device"),
        OSError(122, "Disk quota exceeded"),
        RuntimeError("I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_is_known_in_whatever_words_a_library_tells_of_it(desk: Desk, error: Exception) -> None:
    job, outer = desk.ask(desk.file()), RuntimeError("the checkpoint could not be written")
    outer.__cause__ = error
    assert desk.worker()._fault(job, outer).code == "disk_full"
    assert desk.worker()._fault(job, RuntimeError("it broke")).code == "server_error"


def test_a_base_that_goes_while_a_job_runs_fails_it_by_its_name(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    job = desk.ask(desk.file())

    def go(place: str) -> None:
        if place == "step 2":
            shutil.rmtree(desk.base)
            raise FileNotFoundError("config.json")

    monkeypatch.setattr(Standing, "at", staticmethod(go))
    worker = desk.worker()
    worker.run(once=True)
    fault = desk.job(job).result.fault
    assert (fault.code, fault.message) == ("base_missing", "the base tiny is not there for the worker any more")
    assert desk.left() == {"versions": [], "results": []}


def test_a_file_that_is_gone_before_its_job_reads_it_fails_the_job_and_says_which(desk: Desk) -> None:
    id_ = desk.file()
    desk.registry.files.delete(id_, "amal", actor="amal")
    desk.worker()._sweep()
    job = desk.ask(id_)  # it was asked for just before the file was deleted
    desk.worker().run(once=True)
    fault = desk.job(job).result.fault
    assert (fault.code, f"the file {id_} of {job.id} is gone" in fault.message) == ("not_found", True)


@pytest.mark.parametrize("how", ["deleted", "expired"])
def test_a_file_that_goes_while_a_job_reads_it_is_kept_for_the_job_and_removed_after_it(
    desk: Desk, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = desk.file()
    digest = desk.registry.files.get(id_, "amal").digest
    job, worker = desk.ask(id_), desk.worker()
    seen: list[bool] = []

    def go(place: str) -> None:
        if place == "taken":
            if how == "deleted":
                desk.registry.files.delete(id_, "amal", actor="amal")
            else:
                with desk.registry._database.write() as tx:
                    past = datetime.now(UTC) - timedelta(seconds=1)
                    tx.execute(tables.files.update().values(expires_at=past))
            worker._sweep()
            seen.append(desk.shelf.store.has(digest))

    monkeypatch.setattr(Standing, "at", staticmethod(go))
    worker.run(once=True)
    assert (seen, desk.job(job).state) == ([True], S.SUCCEEDED)
    assert not desk.shelf.store.has(digest)  # the worker swept once more at its end
    entries = [entry for entry in desk.registry.audit(id_) if entry.action == "file.purge"]
    assert [(entry.actor, entry.detail["why"]) for entry in entries] == [(worker.name, how)]


# -- clocks -----------------------------------------------------------------------------------------------------------


def test_a_worker_whose_clock_is_a_year_off_takes_no_running_job_and_removes_no_file_early(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a lease no moment is compared, and a file's end is asked of the database's clock (on SQLite that is the
    machine's; `test_file_book.py` has PostgreSQL's)."""
    job = desk.ask(desk.file())
    mine = desk.worker()
    mine.validate()
    taken = mine._take()
    assert taken is not None

    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
            return datetime.now(tz) + timedelta(days=365)

    for module in ("lifecycle.registry.job_leases", "lifecycle.registry.job_book"):
        monkeypatch.setattr(f"{module}.datetime", Ahead)
    other = desk.worker(clock=lambda: 1000.0)
    for _ in range(3):
        assert other.lapsed() == {}
        assert other._take() is None
        desk.registry.leases.beat(job.id, mine.name, taken.progress)
    assert desk.job(job).holder == mine.name
