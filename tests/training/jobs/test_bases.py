"""A worker of a service with several bases takes the jobs of each, and trains them over their own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from lifecycle.jobs.nouns import Job
from lifecycle.jobs.states import JobState
from training.jobs.plan import JobFiles
from training.jobs.worker import Worker


def test_a_worker_of_two_bases_trains_each_job_over_its_own(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, unserved = tmp_path / "other", tmp_path / "unserved"
    for at, base in enumerate((other, unserved)):
        shutil.copytree(desk.base, base)
        (base / "tokenizer.json").write_text(f'{{"at": {at}}}')
    planned: list[Path] = []

    def plan(job: Job, files: JobFiles, base: Path, hyper: Any) -> None:
        planned.append(base)
        raise ValueError("enough")

    monkeypatch.setattr("training.jobs.worker.plan", plan)
    jobs = [desk.ask(desk.file(), base=base) for base in (desk.base, other, unserved)]
    worker = desk.worker(beside=(other,))
    worker._train = lambda *given: Worker._train(worker, *given)
    worker.run(once=True)
    assert planned == [desk.base, other]
    assert [desk.job(job).state for job in jobs] == [JobState.FAILED, JobState.FAILED, JobState.VALIDATING]
