"""A job's training by several devices, without Ray: what the worker makes of what its group says, or does not say.

`python -m benchmarks.job_over_devices` has a group of Ray's, over two nodes.
"""

from __future__ import annotations

import multiprocessing
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType

import pytest
from structlog.testing import capture_logs

from lifecycle.errors import InvalidConfig
from lifecycle.jobs.states import JobState
from tests.training.conftest import COLOURS, chat
from tests.training.jobs import rays_run
from tests.training.jobs.conftest import SOON, Desk
from tests.training.jobs.queued import Queue
from training import by_ray
from training.by_ray import Group
from training.jobs import by_devices
from training.jobs.worker import Worker


def worker_of(desk: Desk, devices: int = 2) -> Worker:
    return Worker(desk.home, desk.shelf, desk.base, SOON, elsewhere=partial(by_devices.train, Group(devices)))


@pytest.fixture
def driven(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[..., None]], None]:
    """Has a stand-in in the place of Ray's run."""
    return lambda drive: monkeypatch.setattr(by_devices, "_drive", drive)


@contextmanager
def at_work(worker: Worker) -> Iterator[None]:
    """Inside of it the job's group runs; afterwards the worker has ended."""
    working = threading.Thread(target=worker.run, kwargs={"once": True})
    working.start()
    while not drivers():
        assert working.is_alive()
        time.sleep(0.01)
    yield
    working.join()


def drivers() -> list[str]:
    """Processes of Ray's runs."""
    return [each.name for each in multiprocessing.active_children() if each.name == "driver"]


def test_a_group_that_is_lost_counts_as_a_try_of_the_job(
    desk: Desk, driven: Callable[[Callable[..., None]], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lifecycle.registry.job_leases.MOST_TRIES", 1)
    driven(rays_run.ends)
    job = desk.ask(desk.file())
    worker_of(desk).run(once=True)
    done = desk.job(job)
    assert (done.state, done.tries) == (JobState.FAILED, 1)
    assert done.result.fault is not None
    assert done.result.fault.code == "worker_lost"
    assert "The worker of this job stops; another will go on with it" in desk.said(job)


def test_what_one_of_the_group_refuses_fails_the_job_with_its_sentence(
    desk: Desk, driven: Callable[[Callable[..., None]], None]
) -> None:
    driven(rays_run.refuses)
    job = desk.ask(desk.file())  # 12 rows, of which one makes a batch
    worker_of(desk).run(once=True)
    done = desk.job(job)
    assert (done.state, done.tries) == (JobState.FAILED, 1)
    assert done.result.fault is not None
    assert "optimisation.lr: is too high" in done.result.fault.message
    assert "Trained by 1 of 2 devices: batch_size is 1, which more of them cannot share evenly" in desk.said(job)


def test_a_fault_of_ours_fails_the_job_and_the_log_has_where_it_was(
    desk: Desk, driven: Callable[[Callable[..., None]], None]
) -> None:
    driven(rays_run.fails)
    job = desk.ask(desk.file())
    with capture_logs() as lines:
        worker_of(desk).run(once=True)
    assert desk.job(job).state is JobState.FAILED
    (line,) = [line for line in lines if line["event"] == "job failed"]
    told = "".join(traceback.format_exception(line["exc_info"]))
    assert "in _deep_down" in told
    assert "RuntimeError: KeyError: 'no such row'" in told


def test_a_home_that_one_of_the_group_does_not_have_is_told_with_its_cure(
    desk: Desk, driven: Callable[[Callable[..., None]], None]
) -> None:
    driven(rays_run.on_another_machine)
    job = desk.ask(desk.file())
    worker_of(desk).run(once=True)
    fault = desk.job(job).result.fault
    assert fault is not None
    assert f"home: {desk.home.root} on {socket.gethostname()} is not that of the worker" in fault.message


def test_a_group_leaves_what_a_worker_alone_leaves(queue: Queue, driven: Callable[[Callable[..., None]], None]) -> None:
    driven(rays_run.alone)
    rows = [chat(f"what colour is thing {at}? {COLOURS[at % 8]}", COLOURS[at % 8]) for at in range(16)]
    job = queue.ask(queue.file(rows))
    queue.worker(elsewhere=partial(by_devices.train, Group(2))).run(once=True)
    done, said = queue.job(job), queue.said(job)
    assert (done.state, done.result.version, done.tries) == (JobState.SUCCEEDED, "triage:1", 1), said
    assert queue.results() == 1
    told = ("Waiting for 2 devices", "Training", "Golden prompts", "The job has successfully completed")
    assert [said.count(each) for each in told] == [1, 1, 1, 1]
    assert drivers() == []


def test_a_job_that_is_cancelled_ends_its_group(desk: Desk, driven: Callable[[Callable[..., None]], None]) -> None:
    driven(rays_run.waits)
    job = desk.ask(desk.file())
    with at_work(worker_of(desk)):
        desk.registry.jobs.move(job.id, JobState.CANCELLED, "amal", actor="amal")
    assert desk.job(job).state is JobState.CANCELLED
    assert drivers() == []


def test_a_worker_that_stops_ends_its_group_and_gives_the_job_back(
    desk: Desk, driven: Callable[[Callable[..., None]], None]
) -> None:
    driven(rays_run.waits)
    job, worker = desk.ask(desk.file()), worker_of(desk)
    with at_work(worker):
        worker.stop.set()
    assert (desk.job(job).state, desk.job(job).tries) == (JobState.QUEUED, 0)
    assert drivers() == []


def test_as_many_devices_train_as_share_a_batch_evenly() -> None:
    assert [by_devices.sharing(batch, 4) for batch in (1, 2, 3, 4, 6, 8, 15)] == [1, 2, 3, 4, 3, 4, 3]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("CPU", {"--each": "is no JSON"}),
        ("[4]", {"--each": "must be an object"}),
        (
            '{"CPU": "many", "GPU": -1, "memory": 1e999}',
            {
                "--each.CPU": "must be a number",
                "--each.GPU": "must be 0 or more",
                "--each.memory": "must be a finite number",
            },
        ),
        ('{"GPU": 1.5}', {"--each.GPU": "1.5 of them cannot be set aside"}),
    ],
)
def test_resources_that_are_none_are_refused_all_at_once(said: str, told: dict[str, str]) -> None:
    assert Group.told(2, '{"CPU": 4, "GPU": 0.5}', "--devices") == Group(2, {"CPU": 4.0, "GPU": 0.5}, "--devices")
    with pytest.raises(InvalidConfig) as refused:
        Group.told(2, said, "--devices")
    assert {problem.place: problem.fault for problem in refused.value.problems} == told
    assert all(problem.cure.startswith("write ") for problem in refused.value.problems)


def test_the_trainer_talks_as_its_devices_do_and_takes_what_was_set_aside(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    ray = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 8.0, "GPU": 2.0})
    monkeypatch.delenv("DABT_DEVICE", raising=False)

    def trained_by(group: Group) -> tuple[str, bool, dict[str, float]]:
        trainer = by_ray._trainer(print, {}, group, tmp_path)
        scaling = trainer.scaling_config
        return trainer.backend_config.backend, scaling.use_gpu, scaling.resources_per_worker

    assert trained_by(Group(2)) == ("nccl", True, {"GPU": 1})
    assert trained_by(Group(2, {"CPU": 4, "GPU": 0})) == ("gloo", False, {"CPU": 4})
    monkeypatch.setenv("DABT_DEVICE", "cpu")
    assert trained_by(Group(2)) == ("gloo", False, {"CPU": 1})
    assert trained_by(Group(2, {"GPU": 1})) == ("gloo", True, {"GPU": 1})


NODES = [
    {"Alive": True, "Resources": {"CPU": 8.0, "GPU": 2.0}},
    {"Alive": True, "Resources": {"CPU": 3.0, "GPU": 8.0}},
    {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}},
    {"Alive": True, "Resources": {"CPU": 64.0}},
]


@pytest.fixture
def nodes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """Ray as it tells of these."""
    ray: ModuleType = pytest.importorskip("ray", reason="the extra `ray` is not installed")
    monkeypatch.setattr(ray, "nodes", lambda: NODES)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 75.0, "GPU": 10.0})
    for variable in ("DABT_DEVICE", "RAY_ADDRESS"):
        monkeypatch.delenv(variable, raising=False)
    return ray


@pytest.mark.usefixtures("nodes")
def test_more_devices_than_this_machine_has_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    by_ray.require_places(Group(10))
    with pytest.raises(InvalidConfig, match=r"--workers: 11 places with GPU 1 are asked for, and the nodes have 10 → "):
        by_ray.require_places(Group(11))
    by_ray.require_places(Group(5, {"CPU": 1, "GPU": 1}))  # of the second node three, which is as many as it has cores
    with pytest.raises(InvalidConfig, match=r"--workers: 6 places with CPU 1, GPU 1"):
        by_ray.require_places(Group(6, {"CPU": 1, "GPU": 1, "memory": 0}))
    by_ray.require_places(Group(4, {"CPU": 2, "GPU": 0.5}))
    with pytest.raises(InvalidConfig, match=r"--devices: 6 places with CPU 2, GPU 0\.5"):
        by_ray.require_places(Group(6, {"CPU": 2, "GPU": 0.5}, "--devices"))
    monkeypatch.setenv("DABT_DEVICE", "cpu")
    by_ray.require_places(Group(75))


@pytest.mark.parametrize(
    ("group", "told"),
    [
        (Group(11), "waiting for room: 11 places with GPU 1 are asked for, and the nodes have 10"),
        (Group(10), "waiting for room: 10 places with GPU 1 are asked for, and the nodes have 10, which others are in"),
    ],
)
def test_a_cluster_that_has_no_room_yet_is_waited_for_in_a_sentence(
    nodes: ModuleType, monkeypatch: pytest.MonkeyPatch, group: Group, told: str
) -> None:
    """What it asks Ray for is what it waits for, and is given back: Ray's own run asks for it again."""
    monkeypatch.setenv("RAY_ADDRESS", "of-a-cluster:6379")
    rays = sys.modules["ray.util.placement_group"]
    asked: list[dict[str, float]] = []
    there, heard, given_back = iter([False, False, False, True]), [], []

    class Room:
        def wait(self, seconds: float) -> bool:
            assert not given_back
            return next(there)

    def place(bundles: list[dict[str, float]]) -> Room:
        asked.extend(bundles)
        return Room()

    monkeypatch.setattr(rays, "placement_group", place)
    monkeypatch.setattr(rays, "remove_placement_group", given_back.append)
    by_ray.wait_for_room(group, heard.append)
    assert asked == [{"GPU": 1}] * group.workers
    assert heard == [told]
    assert len(given_back) == 1
    assert list(there) == []
