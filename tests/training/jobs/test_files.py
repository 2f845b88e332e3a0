"""A job's files are read once, by whoever looks at them, and nobody counts their rows again."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.jobs.nouns import Hyperparameters
from lifecycle.jobs.states import JobState
from lifecycle.rows.files import Reading
from tests.training.jobs.conftest import SOON, Desk
from training.jobs import leaving
from training.jobs.worker import Worker


def test_a_worker_reads_each_file_once_before_the_run(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    import training.run

    read: list[str] = []
    plain, trained, result = Reading._values, [], SimpleNamespace(version=SimpleNamespace(ref="triage:1"))
    monkeypatch.setattr(Reading, "_values", lambda self: read.append(self.path.name) or plain(self))
    monkeypatch.setattr(training.run, "train", lambda run, *_, **__: trained.append(run) or result)
    monkeypatch.setattr(leaving, "leave", lambda *_: trained.append("left"))
    file = desk.file(40)
    job = desk.ask(file)
    hand: Any = Worker(desk.home, desk.shelf, desk.base, SOON)
    hand.validate()
    queued = desk.job(job)
    assert queued.state is JobState.QUEUED
    assert queued.progress.hyperparameters == Hyperparameters(n_epochs=3, batch_size=4, learning_rate_multiplier=1.0)
    hand._do(hand._take())
    assert [trained[0].config.optimisation.batch_size, trained[1]] == [4, "left"]
    assert read == [f"{file}.jsonl"]
