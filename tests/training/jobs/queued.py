"""A home with a queue of jobs that workers train for real, and the means to ask for them."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lifecycle.home import Home
from lifecycle.jobs.nouns import Hyperparameters, Job, JobRequest, UploadedFile, new_id
from lifecycle.jobs.states import JobState
from lifecycle.models.base import fingerprint
from lifecycle.publishing import Shelf
from lifecycle.registry.cursor import Cursor
from training.jobs.worker import Pauses, Worker

ALL = Cursor(limit=100)
SOON = Pauses(poll=0.01, beat=0.01, lapse=0.05)


@dataclass
class Queue:
    """A home with a queue, its base, and the means to ask for jobs."""

    home: Home
    base: Path
    shelf: Shelf

    @property
    def registry(self) -> Any:
        return self.shelf.registry

    def file(self, rows: list[dict[str, Any]]) -> str:
        with self.shelf.store.scratch() as scratch:
            id_ = new_id("file-")
            (scratch / id_).write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows))
            file = UploadedFile(
                id=id_,
                owner="amal",
                purpose="fine-tune",
                filename="rows.jsonl",
                bytes=1,
                digest=self.shelf.store.put(scratch),
                created_at=datetime.now(UTC),
            )
        self.registry.files.add(file, actor="test")
        return id_

    def ask(self, file: str, **changes: Any) -> Job:
        request = {
            "model": "tiny",
            "training_file": file,
            "suffix": "triage",
            "seed": 3,
            "hyperparameters": Hyperparameters(n_epochs=4, batch_size=8, learning_rate_multiplier=50.0),
            **changes,
        }
        job = Job(
            id=new_id("ftjob-"),
            owner="amal",
            state=JobState.VALIDATING,
            base=fingerprint(self.base).digest,
            name="triage",
            request=JobRequest.model_validate(request),
            created_at=datetime.now(UTC),
        )
        made: Job = self.registry.jobs.create(job, asked=job.id, actor="amal")
        return made

    def worker(self, **changes: Any) -> Worker:
        return replace(Worker(self.home, self.shelf, self.base, SOON), **changes)

    def job(self, job: Job) -> Job:
        got: Job = self.registry.jobs.get(job.id, None)
        return got

    def results(self) -> int:
        """Files of figures that jobs have left."""
        return len(self.registry.files.all("amal", ALL, "fine-tune-results").items)

    def said(self, job: Job) -> list[str]:
        return [event.message for event in self.registry.jobs.events(job.id, None, ALL).items][::-1]
