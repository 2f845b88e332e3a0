"""A store that is away or hangs while a worker trains for real. `test_worker.py` kills the worker besides."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import Unavailable
from lifecycle.jobs.states import JobState
from tests.training.jobs.queued import ALL, Queue

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("libraries", "undrawn"),
]  # imports torch and trains

AWAY = "The store, the registry or the service is away: the job waits, and goes on by itself"


def test_a_run_whose_store_is_away_now_and_then_waits_and_is_trained_once(
    queue: Queue, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = queue.ask(queue.file(colours(48))), queue.worker()
    worker.validate()
    shutil.rmtree(queue.home.root / "jobs")  # as on another machine: its file is to be fetched
    # Every try puts the model, the checkpoints of three epochs, and the figures; what is there is not put twice.
    away = {"get": [1], "put": [1, 4, 9]}
    left = []

    def sometimes_away(method: str) -> None:
        plain, asked = getattr(queue.shelf.store, method), []

        def answer(*args: Any) -> Any:
            asked.append(args)
            if len(asked) in away[method]:
                left.append((method, len(queue.registry.versions()), queue.results()))
                raise Unavailable("the store cannot be reached")
            return plain(*args)

        monkeypatch.setattr(queue.shelf.store, method, answer)

    for method in away:
        sometimes_away(method)
    worker.run(once=True)
    done = queue.job(job)
    assert (done.state, done.tries, done.result.fault) == (JobState.SUCCEEDED, 1, None)
    # Its file; the model; the second checkpoint; the figures.
    assert left == [("get", 0, 0), ("put", 0, 0), ("put", 2, 0), ("put", 3, 0)]
    assert (len(queue.registry.versions("triage")), queue.results()) == (3, 1)
    said = queue.said(job)
    assert (said.count(AWAY), said.count("Training")) == (1, 1)
    told = [event.data for event in queue.registry.jobs.events(job.id, None, ALL).items if event.data]
    assert sum("base_valid_loss" in data for data in told) == 1
    steps = [data["step"] for data in told if "step" in data]
    assert len(steps) == len(set(steps)) + 4  # each once, but for the ends of epochs, which have a validation too


def test_a_store_that_hangs_keeps_the_job_with_its_worker_which_goes_on_when_it_answers(
    queue: Queue, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker, other = queue.ask(queue.file(colours(48))), queue.worker(), queue.worker(clock=lambda: 0.0)
    plain, hung = queue.shelf.store.put, []

    def hangs(folder: Path) -> Any:
        if not hung:
            (before,) = other.shelf.registry.leases.held([job.base]).values()
            while other.shelf.registry.leases.held([job.base])[job.id] == before:
                pass  # its worker goes on giving signs of life
            hung.append((queue.registry.versions(), other._take(), queue.job(job).state))
            raise Unavailable("the store has not answered in time")
        return plain(folder)

    monkeypatch.setattr(queue.shelf.store, "put", hangs)
    worker.run(once=True)
    assert hung == [([], None, JobState.FINISHING)]
    assert (queue.job(job).state, queue.job(job).tries) == (JobState.SUCCEEDED, 1)
    assert (len(queue.registry.versions("triage")), queue.results()) == (3, 1)
