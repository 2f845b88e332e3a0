"""A home with a queue of jobs, a base that nothing loads, and a worker whose training is a stand-in.

What is real: the registry, the store, the files and their checks, the lease, and whatever is killed, away or full.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lifecycle.home import Home
from lifecycle.jobs.nouns import Hyperparameters, Job, JobCheckpoint, JobRequest, JobResult, UploadedFile, new_id
from lifecycle.jobs.states import JobState
from lifecycle.manifests import AdapterManifest
from lifecycle.models.base import fingerprint
from lifecycle.publishing import Shelf
from lifecycle.registry.cursor import Cursor
from lifecycle.store.artifacts import digest_of_folder
from lifecycle.version import VersionSpec
from tests import blank_registry
from tests.training.jobs.queued import Queue
from training.jobs.plan import JobFiles
from training.jobs.watching import JobWatcher
from training.jobs.worker import Pauses, Worker

ALL = Cursor(limit=100)
SOON = Pauses(poll=0.001, beat=0.005, lapse=0.05, sweep=0.0, longest=0.002)
STEPS = 4


class Standing(Worker):
    """Trains nothing, and does everything else as a worker does, in the same order."""

    at: Callable[[str], object] = staticmethod(lambda place: None)
    """Called at every place that a worker may be lost at."""

    def _looked_at(self, job: Job) -> Any:
        type(self).at("validating")
        return super()._looked_at(job)

    def _until_there(self, job: Job, lease: Any) -> None:
        type(self).at("taken")
        super()._until_there(job, lease)

    def _train(self, job: Job, fetched: JobFiles, lease: Any) -> None:
        type(self).at("fetched")
        watch = JobWatcher(job, self._folder(job), Hyperparameters(), lease.seal, lease.tell, lease.stop, lease.events)
        lease.watch = watch
        watch.stage("training")
        for step in range(1, STEPS + 1):
            type(self).at(f"step {step}")
            watch.step(step, STEPS)
        watch.stage("publishing")
        type(self).at("sealed")
        registry, store = self.shelf.registry, self.shelf.store
        with store.scratch() as made:
            (made / "adapter_model.safetensors").write_text(job.id)
            digest = store.put(made)
        base, now = fingerprint(self.base), datetime.now(UTC)
        manifest = AdapterManifest(
            digest=digest, base=base.digest, base_name=base.name, rank=4, alpha=8.0, scale=2.0,
            parameters=8, bytes=8, target_modules=("q_proj",), created_at=now,
        )  # fmt: skip
        registry.add_artifact(manifest)
        version = registry.create_version(job.name, VersionSpec(base=base.digest, adapter=digest), actor=self.name)
        type(self).at("versioned")
        name = f"ft:tiny:dabt::{job.tail}"
        with store.scratch() as made:
            id_ = new_id("file-")
            (made / id_).write_text("step,train_loss")
            figures = file_of(id_, job.owner, digest_of_folder(made), "fine-tune-results")
            registry.files.expect(figures)
            store.put(made)
        result = JobResult(model=name, version=version.ref, result_files=(id_,))
        checkpoint = JobCheckpoint(
            id=new_id("ftckpt_"), job=job.id, step=STEPS, model=f"{name}:ckpt-step-{STEPS}", version=version.ref,
            metrics={}, created_at=now,
        )  # fmt: skip
        watch.tell()
        registry.leases.succeeded(job, self.name, result, [checkpoint], [], figures)
        type(self).at("succeeded")


def file_of(id_: str, owner: str, digest: str, purpose: str = "fine-tune") -> UploadedFile:
    return UploadedFile(
        id=id_, owner=owner, purpose=purpose, filename="rows.jsonl", bytes=1, digest=digest,
        created_at=datetime.now(UTC),
    )  # fmt: skip


@dataclass
class Desk:
    """Where jobs are asked for and looked at."""

    home: Home
    base: Path
    shelf: Shelf

    @property
    def registry(self) -> Any:
        return self.shelf.registry

    def file(self, count: int = 12, owner: str = "amal") -> str:
        lines = (
            {"messages": [{"role": "user", "content": f"سؤال {n}"}, {"role": "assistant", "content": f"answer {n}"}]}
            for n in range(count)
        )
        with self.shelf.store.scratch() as made:
            id_ = new_id("file-")
            (made / id_).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
            file = file_of(id_, owner, self.shelf.store.put(made))
        self.registry.files.add(file, actor="test")
        return id_

    def ask(
        self, file: str, owner: str = "amal", state: JobState = JobState.VALIDATING, base: Path | None = None
    ) -> Job:
        digest = fingerprint(base or self.base).digest
        job = Job(
            id=new_id("ftjob-"), owner=owner, state=state, base=digest, name="triage",
            request=JobRequest(model="tiny", training_file=file, seed=3), created_at=datetime.now(UTC),
        )  # fmt: skip
        made: Job = self.registry.jobs.create(job, asked=job.id, actor=owner)
        return made

    def worker(self, **changes: Any) -> Standing:
        return Standing(self.home, self.shelf, self.base, SOON, **changes)

    def job(self, job: Job) -> Job:
        got: Job = self.registry.jobs.get(job.id, None)
        return got

    def said(self, job: Job) -> list[str]:
        return [event.message for event in self.registry.jobs.events(job.id, None, ALL).items][::-1]

    def states(self, job: Job) -> list[str]:
        trail = self.registry.audit(job.id, limit=1000)
        return [entry.detail["to"] for entry in reversed(trail) if entry.action == "job.state"]

    def left(self) -> dict[str, Any]:
        """All that a job may leave in the registry."""
        return {
            "versions": [version.ref for version in self.registry.versions()],
            "results": [file.purpose for file in self.registry.files.all("amal", ALL, "fine-tune-results").items],
        }

    def killed(self, place: str, meanwhile: Callable[[], object] = lambda: None, act: str = "run") -> None:
        """A worker in a process of its own, killed −9 at `place`; `meanwhile` is done while it stands there."""
        self.registry.close()
        reads, writes = os.pipe()
        if not (child := os.fork()):
            try:
                self._stand(place, writes, act)
            finally:
                os._exit(1)
        os.close(writes)
        said = os.read(reads, 1)
        os.close(reads)
        try:
            assert said == b"!", f"the worker was never at {place}"
            meanwhile()
        finally:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)

    def _stand(self, place: str, writes: int, act: str) -> None:
        class Lost(Standing):
            @staticmethod
            def at(where: str) -> None:
                if where == place:
                    os.write(writes, b"!")
                    threading.Event().wait()

        hand = Lost(self.home, Shelf.at(self.home, actor="worker"), self.base, SOON)
        if act == "run":
            hand.run(once=True)
        else:
            hand.validate()
        Lost.at("over")


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    root, base = tmp_path / "home", tmp_path / "tiny"
    base.mkdir()
    for name, text in (("config.json", '{"model_type": "llama"}'), ("tokenizer.json", "{}")):
        (base / name).write_text(text)
    (base / "tokenizer_config.json").write_text("{}")
    (base / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    home = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))
    blank_registry.at(root / "registry.db")
    desk = Desk(home, base, Shelf.at(home, actor="worker"))
    yield desk
    desk.registry.close()


@pytest.fixture
def queue(tmp_path: Path, bases: Callable[..., Path]) -> Queue:
    root = tmp_path / "home"
    home = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))
    blank_registry.at(root / "registry.db")
    return Queue(home, bases(), Shelf.at(home, actor="worker"))
