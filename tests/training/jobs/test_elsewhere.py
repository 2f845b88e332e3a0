"""A job whose worker's machine is gone is trained on by a worker of another, from what is in the store.

Two homes stand for two machines: all that they share is a PostgreSQL server and a bucket.
"""

from __future__ import annotations

import json
import shutil
import signal
import threading
import uuid
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import LeaseLost, Unavailable
from lifecycle.home import Home
from lifecycle.jobs.nouns import KeptRun
from lifecycle.jobs.states import JobState
from lifecycle.publishing import Shelf
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.upkeep.collection import Rule, collect
from tests.lifecycle.conftest import postgres, postgres_url  # noqa: F401
from tests.lifecycle.store.s3_server import OWNER, running
from tests.training.jobs.conftest import SOON, Desk, Standing
from tests.training.jobs.queued import Queue
from training import checkpoints
from training.jobs import keeping
from training.jobs.keeping import RunKeeper, lay_out

LOST = """
import os, signal, sys
from pathlib import Path
sys.path.insert(0, os.getcwd())
root, base, registry, artifacts, server = sys.argv[1:]
from tests.lifecycle.store.s3_server import OWNER
os.environ.update(
    AWS_ACCESS_KEY_ID=OWNER[0], AWS_SECRET_ACCESS_KEY=OWNER[1], AWS_REGION="us-east-1", AWS_ENDPOINT_URL=server
)
from lifecycle.home import Home
from lifecycle.publishing import Shelf
from training.jobs import worker
from training.jobs.watching import JobWatcher

shelf = Shelf.at(Home(root=Path(root), registry_url=registry, artifacts_url=artifacts), actor="worker")
plain = JobWatcher.step

def step(watch, done, total):
    while done == 13:  # killed once its second epoch is kept
        kept = shelf.registry.jobs.get(watch.job.id, None).progress.kept
        if kept is not None and kept.step == 12:
            os.kill(os.getpid(), signal.SIGKILL)
        watch.stop.wait(0.05)
    plain(watch, done, total)

JobWatcher.step = step
pauses = worker.Pauses(beat=0.5)
home = Home(root=Path(root), registry_url=registry, artifacts_url=artifacts)
worker.Worker(home, shelf, Path(base), pauses).run(once=True)
"""


@pytest.mark.e2e
@pytest.mark.timeout(300)
@pytest.mark.usefixtures("libraries", "undrawn")
def test_the_job_of_a_killed_worker_goes_on_at_another_machine_and_ends_in_equal_weights(
    queue: Queue,
    colours: Any,
    in_child: Callable[..., int],
    postgres_url: str,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import s3fs

    rows = colours(48)
    never_stopped = queue.ask(queue.file(rows))
    queue.worker().run(once=True)
    wanted = queue.registry.version(queue.job(never_stopped).result.version).spec.adapter

    with running() as server:
        s3fs.S3FileSystem.clear_instance_cache()
        s3fs.S3FileSystem(key=OWNER[0], secret=OWNER[1], endpoint_url=server).mkdir(bucket := f"b-{uuid.uuid4().hex}")
        told = {"ACCESS_KEY_ID": OWNER[0], "SECRET_ACCESS_KEY": OWNER[1], "ENDPOINT_URL": server, "REGION": "us-east-1"}
        for name, value in told.items():
            monkeypatch.setenv(f"AWS_{name}", value)
        shared = {"registry_url": postgres_url, "artifacts_url": f"s3://{bucket}/dabt"}
        lost, other = (Home(root=tmp_path / name, **shared) for name in ("lost", "other"))
        there = Queue(other, queue.base, Shelf.at(other, actor="worker"))
        job = there.ask(there.file(rows))
        assert in_child(LOST, lost.root, queue.base, *shared.values(), server) == -signal.SIGKILL
        kept = there.job(job).progress.kept
        assert kept is not None
        assert (there.job(job).state, kept.step) == (JobState.RUNNING, 12)
        shutil.rmtree(lost.root)  # the machine is gone
        clock = iter(range(0, 10_000, 10))
        worker = there.worker(clock=lambda: float(next(clock)), pauses=replace(SOON, beat=0.5))
        worker.lapsed()  # it has seen the other's lease before
        worker.run(once=True)
        done = there.job(job)
        assert (done.state, done.tries) == (JobState.SUCCEEDED, 2)
        assert "Training, on from checkpoint-12" in there.said(job)
        assert there.registry.version(done.result.version).spec.adapter == wanted
        # The checkpoints of epochs before the loss are there too, and nothing is left of what was kept.
        assert len(there.registry.versions("triage")) == len(queue.registry.versions("triage")) == 3
        assert done.progress.kept is None
        assert not there.shelf.store.has(kept.digest)
        there.registry.close()
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.e2e
def test_a_worker_hears_of_a_job_at_once_where_the_registry_gives_hints(desk: Desk, postgres_url: str) -> None:  # noqa: F811
    home = desk.home.model_copy(update={"registry_url": postgres_url})
    with Registry.open(postgres_url) as registry:
        there = Desk(home, desk.base, replace(desk.shelf, registry=registry))
        worker = Standing(home, there.shelf, desk.base, replace(SOON, poll=3600.0))
        working = threading.Thread(target=worker.run, daemon=True)
        working.start()
        job = there.ask(there.file())
        while there.job(job).state is not JobState.SUCCEEDED:
            assert working.is_alive()
        worker.stop.set()
        worker.look_soon()
        working.join(timeout=60)
        assert not working.is_alive()


# -- what is kept and let go, without a training -----------------------------------------------------------------------


def far(desk: Desk) -> Shelf:
    return replace(desk.shelf, store=ArtifactStore(f"memory://{uuid.uuid4().hex}", desk.home.cache))


def checkpoint(run: Path, step: int, best: int) -> Path:
    made = run / checkpoints.FOLDER / f"checkpoint-{step}"
    made.mkdir(parents=True)
    (made / "model.safetensors").write_text(f"weights at {step}")
    state = {"best_model_checkpoint": f"/elsewhere/checkpoints/checkpoint-{best}", "global_step": step}
    (made / "trainer_state.json").write_text(json.dumps(state))
    (made / "complete").touch()
    return made


def running_job(desk: Desk) -> tuple[Any, Any]:
    job, worker = desk.ask(desk.file()), desk.worker()
    worker.validate()
    taken = worker._take()
    assert taken.id == job.id
    return taken, worker


def test_the_newest_is_kept_with_the_best_and_what_was_kept_before_is_removed(desk: Desk) -> None:
    job, worker = running_job(desk)
    shelf, folder, run = far(desk), desk.home.root / "jobs" / job.id, desk.home.runs / "triage-1"
    kept: list[Any] = []
    run.mkdir(parents=True)
    (run / "log.jsonl").write_text("{}\n")
    (run / "took.json").write_text(json.dumps({"seconds": 7.0, "began": (run / "log.jsonl").stat().st_mtime - 3}))
    with RunKeeper(job, folder, shelf, worker.name) as keeper:
        for step in (2, 4, 6):
            keeper.saved(step, checkpoint(run, step, best=2))
            while (now := desk.job(job).progress.kept) in (None, *kept[-1:]):
                pass
            kept.append(now)
    assert [each.step for each in kept] == [2, 4, 6]
    assert [shelf.store.has(each.digest) for each in kept] == [False, False, True]
    assert not list(folder.glob("kept-*")), "pictures that are put are removed"
    desk.registry.leases.beat(job.id, worker.name, desk.job(job).progress.model_copy(update={"step": 6, "kept": None}))
    assert desk.job(job).progress.kept == kept[-1], "a beat does not lose it"
    collect(desk.registry, shelf.store, Rule(grace=timedelta(0)), actor="test")
    assert shelf.store.has(kept[-1].digest), "an unfinished job needs it"
    shutil.rmtree(run)
    said: list[str] = []
    lay_out(desk.job(job), desk.home, folder, shelf, said.append)
    there = sorted(path.name for path in (run / checkpoints.FOLDER).iterdir())
    assert (there, said) == (["checkpoint-2", "checkpoint-6"], [])
    assert (run / "checkpoints/checkpoint-6/model.safetensors").read_text() == "weights at 6"
    assert json.loads((run / "took.json").read_text()) == {"seconds": pytest.approx(10.0), "began": None}
    desk.registry.jobs.move(job.id, JobState.CANCELLED, "amal", actor="amal")
    keeping.let_go(shelf)
    assert (desk.job(job).progress.kept, shelf.store.has(kept[-1].digest)) == (None, False)


def test_what_this_machine_has_more_of_stays(desk: Desk) -> None:
    job, worker = running_job(desk)
    shelf, folder, run = far(desk), desk.home.root / "jobs" / job.id, desk.home.runs / "triage-1"
    with RunKeeper(job, folder, shelf, worker.name) as keeper:
        keeper.saved(2, checkpoint(run, 2, best=2))
        while desk.job(job).progress.kept is None:
            pass
    checkpoint(run, 4, best=2)
    lay_out(desk.job(job), desk.home, folder, shelf, lambda text: None)
    assert checkpoints.newest(run / checkpoints.FOLDER) == run / "checkpoints/checkpoint-4"
    shutil.rmtree(run / checkpoints.FOLDER)
    (run / "trained.json").write_text("{}")  # its weights are made, and only their proof is missing
    lay_out(desk.job(job), desk.home, folder, shelf, lambda text: None)
    assert not (run / checkpoints.FOLDER).exists()


def test_a_worker_that_has_the_job_no_more_leaves_nothing_in_the_store(desk: Desk) -> None:
    job, worker = running_job(desk)
    shelf, folder, run = far(desk), desk.home.root / "jobs" / job.id, desk.home.runs / "triage-1"
    desk.registry.jobs.move(job.id, JobState.PAUSED, "amal", actor="amal")
    with RunKeeper(job, folder, shelf, worker.name) as keeper:
        keeper.saved(2, checkpoint(run, 2, best=2))
        keeper._thread.join()  # it has no more to do
    assert desk.job(job).progress.kept is None
    assert shelf.store._remote.find(shelf.store._prefix) == []
    with pytest.raises(LeaseLost):
        desk.registry.leases.keep(job.id, worker.name, KeptRun(digest="sha256:" + "0" * 64, run="r", step=1))


def test_a_store_that_is_away_costs_what_is_kept_and_not_the_training(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = running_job(desk)
    shelf, folder, run = far(desk), desk.home.root / "jobs" / job.id, desk.home.runs / "triage-1"
    plain, tries = shelf.store.put, []

    def put(made: Path) -> Any:
        tries.append(made)
        if len(tries) == 1:
            raise Unavailable("the store cannot be reached")
        return plain(made)

    monkeypatch.setattr(shelf.store, "put", put)
    with RunKeeper(job, folder, shelf, worker.name) as keeper:
        keeper.saved(2, checkpoint(run, 2, best=2))
        while not tries:
            pass
        keeper.saved(4, checkpoint(run, 4, best=2))
        while (kept := desk.job(job).progress.kept) is None:
            pass
    assert (kept.step, len(tries)) == (4, 2)


def test_what_is_kept_and_gone_begins_again_and_says_so(desk: Desk) -> None:
    job, worker = running_job(desk)
    shelf, folder = far(desk), desk.home.root / "jobs" / job.id
    gone = KeptRun(digest="sha256:" + "0" * 64, run="triage-1", step=2)
    desk.registry.leases.keep(job.id, worker.name, gone)
    said: list[str] = []
    lay_out(desk.job(job), desk.home, folder, shelf, said.append)
    assert said == ["What was kept of the training is gone, so it begins again"]


def test_a_run_whose_folder_has_moved_ends_with_its_best_weights(tmp_path: Path) -> None:
    best, last = checkpoint(tmp_path, 2, best=2), checkpoint(tmp_path, 4, best=2)

    class Trainer:
        class args:  # noqa: N801
            num_train_epochs, max_steps = 1, -1

        def train(self, resume_from_checkpoint: str) -> None:
            state = json.loads((Path(resume_from_checkpoint) / "trainer_state.json").read_text())
            self.best = state["best_model_checkpoint"]

    state = json.loads((last / "trainer_state.json").read_text())
    (last / "trainer_state.json").write_text(json.dumps({**state, "epoch": 1.0, "stateful_callbacks": {}}))
    trainer = Trainer()
    trainer.order = type("Order", (), {"set_epoch": lambda self, epoch: None})()  # type: ignore[attr-defined]
    checkpoints.train(trainer, last, 4)
    assert trainer.best == str(best)


def test_where_the_store_is_a_folder_nothing_is_kept(desk: Desk) -> None:
    job, worker = running_job(desk)
    with RunKeeper(job, desk.home.root / "jobs" / job.id, desk.shelf, worker.name) as keeper:
        keeper.saved(2, checkpoint(desk.home.runs / "triage-1", 2, best=2))
    assert desk.job(job).progress.kept is None
