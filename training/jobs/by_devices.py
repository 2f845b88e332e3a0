"""A job's training by several devices: a run of Ray Train, whose first worker does what a worker of the queue does.

Ray's run has a process of its own beside the worker (`_drive`); when that ends, however it ends, the cluster ends all
of the group. The worker goes on showing that it is alive, from before the group is there until it is gone. The first of
the group works under the worker's name: it tells, keeps and publishes, and hears from the registry that the job is to
stop. A group that has lost a worker is started again by Ray, and goes on from the last checkpoint. Read
`training/by_ray.py` first.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from multiprocessing import connection
from multiprocessing.pool import ExceptionWithTraceback  # type: ignore[attr-defined]  # typeshed leaves it out
from pathlib import Path
from typing import Any

import structlog

from lifecycle import log_lines
from lifecycle.errors import DabtError, InvalidConfig, Problem
from lifecycle.home import Home
from lifecycle.jobs.nouns import Job, JobEvent
from lifecycle.jobs.states import JobState
from lifecycle.publishing import Shelf
from lifecycle.text.counting import counted
from training import by_ray, processes
from training.by_ray import Group
from training.jobs.plan import JobFiles
from training.jobs.watching import Interrupted
from training.jobs.worker import Lease, Pauses, Worker

log = structlog.get_logger(__name__)

_PATIENCE = 30.0
"""Seconds for Ray's run to be gone, which it is within one or two."""
_LEFT = frozenset({JobState.EVALUATING, JobState.SUCCEEDED})
"""Such a job has all that its training leaves."""
_UNSTOPPED = _LEFT | {JobState.FINISHING}
"""Nothing stops the training of such a job any more."""


@dataclass(frozen=True)
class _Told:
    """What each of the group is told. All paths lie where all of them see them."""

    worker: str
    """The name of the one that holds the job."""
    job: str
    files: JobFiles
    home: Home
    max_rank: int
    bases: tuple[Path, ...]
    pauses: Pauses


def require_devices(group: Group) -> None:
    """Raises `InvalidConfig` where Ray is not installed, or this machine is to be the cluster and has not so many; and
    `Unavailable` where the cluster is not there.
    """
    by_ray.require_ray(group.option)
    with by_ray.cluster(group):
        by_ray.require_places(group)


def train(devices: Group, worker: Worker, job: Job, files: JobFiles, lease: Lease) -> None:
    """Returns when the job has left its model. Raises `Interrupted` when it is to stop, `by_ray.WorkersLost`, and what
    the training raises.
    """
    _, hyper = worker.planned(job, files)
    assert isinstance(hyper.batch_size, int)
    group = replace(devices, workers=sharing(hyper.batch_size, devices.workers))
    if group.workers < devices.workers:
        why = f"batch_size is {hyper.batch_size}, which more of them cannot share evenly"
        lease.warn(f"Trained by {group.workers} of {devices.workers} devices: {why}")
    lease.events.append(JobEvent(message=f"Waiting for {counted(group.workers, 'device')}"))
    told = _Told(
        worker.name, job.id, files, worker.home, worker.shelf.max_rank, (worker.base, *worker.beside), worker.pauses
    )
    context = multiprocessing.get_context("spawn")
    answer, answers = context.Pipe(duplex=False)
    driver = context.Process(target=_drive, args=(told, group, answers), name="driver", daemon=True)
    driver.start()
    answers.close()
    try:
        while not answer.poll(worker.pauses.poll):
            if lease.stop.is_set() and worker.shelf.registry.jobs.get(job.id, None).state not in _UNSTOPPED:
                raise Interrupted(f"{job.id} is to stop")
        _heard(answer)
    finally:
        driver.terminate()
        driver.join(_PATIENCE)
        driver.kill()
        driver.join()


def sharing(batch_size: int, devices: int) -> int:
    """The most of them that can take equal parts of every batch: a caller does not know how many a worker has."""
    return max(count for count in range(1, devices + 1) if batch_size % count == 0)


def _heard(answer: connection.Connection) -> None:
    """Raises what the driver says, where it says something."""
    try:
        said = answer.recv()
    except EOFError:
        raise by_ray.WorkersLost("the process of Ray's run ended without a word") from None
    if said is not None:
        raise said


def _drive(told: _Told, group: Group, answers: connection.Connection) -> None:
    """Ray's run, in a process of its own: it says None, or what is wrong."""
    log_lines.configure(log_lines.told())
    threading.Thread(target=_end_with_the_worker, name="parent-watch", daemon=True).start()
    try:
        with by_ray.cluster(group):
            by_ray.wait_for_room(group, lambda why: log.warning("the job waits", job=told.job, problem=why))
            by_ray.fit(_work, {"told": told}, group, told.files.train.parent)
        answers.send(None)
    except (DabtError, Interrupted) as error:
        answers.send(error)
    except Exception as error:
        said = RuntimeError(f"{type(error).__name__}: {error}")  # its own class need not be known there
        answers.send(ExceptionWithTraceback(said, error.__traceback__))


def _end_with_the_worker() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)


def _work(given: Mapping[str, Any]) -> None:
    """In each of the group."""
    from training import run  # this takes a moment

    told: _Told = given["told"]
    log_lines.configure(log_lines.told())
    if not told.files.train.is_file():
        fault = f"{told.home.root} on {socket.gethostname()} is not that of the worker"
        problem = Problem("home", fault, "have all nodes mount one folder there, or train by one device")
        raise InvalidConfig("several devices need a home that all of them see", [problem])
    with processes.together():
        shelf = processes.in_turn(lambda: Shelf.at(told.home, actor="worker", max_rank=told.max_rank))
        job = processes.from_first(lambda: shelf.registry.jobs.get(told.job, None))
        if job.state in _LEFT:
            return  # the group was lost at its very end
        base, *beside = told.bases
        worker = Worker(told.home, shelf, base, told.pauses, beside=tuple(beside), name=told.worker)
        if processes.is_first():
            worker.train_here(job, told.files)
        else:
            run.train(worker.planned(job, told.files)[0], told.home, shelf)
