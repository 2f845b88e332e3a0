"""A job's run in the store, as far as it is: so that a worker on another machine goes on where a lost one was.

Where the store is a bucket, what the run has saved is put there beside the training, the newest alone, and the
registry names it before the one before it is removed. Whoever takes the job next, on whichever machine, lays it out
and trains on, to the weights of a run that was never stopped. Where the store is a folder, workers share the home.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from lifecycle.errors import Corrupt, DabtError, LeaseLost, NotFound
from lifecycle.home import Home
from lifecycle.jobs.nouns import Job, KeptRun
from lifecycle.publishing import Shelf
from training import checkpoints, took
from training.records import lock_of, was_trained, whole_run

log = structlog.get_logger(__name__)

_RUN, _EPOCHS = "run", "epochs"
_NEVER_CHANGED = {".safetensors", ".bin", ".pt", ".pth"}
"""Files that are written once, and so need no copy of their own."""
_PATIENCE = 30.0
"""Seconds that a worker which stops waits for what is on its way."""


@dataclass(frozen=True)
class _Snapshot:
    folder: Path
    run: str
    step: int


class RunKeeper:
    """A context around one job's training. What the store or the registry refuses costs a later worker steps, and this
    one nothing."""

    def __init__(self, job: Job, folder: Path, shelf: Shelf, worker: str) -> None:
        """`folder` is the job's own."""
        self._job, self._folder, self._shelf, self._worker = job, folder, shelf, worker
        self._next: _Snapshot | None = None
        self._changed = threading.Condition()
        self._over = False
        self._thread = threading.Thread(target=self._run, name="keeper", daemon=True)

    def __enter__(self) -> RunKeeper:
        if self._shelf.store.far:
            self._thread.start()
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        with self._changed:
            self._over = True
            if kind is None:
                self._next = None  # the run has come to its end
            self._changed.notify()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE)

    def saved(self, step: int, checkpoint: Path) -> None:
        """What the run holds now is to be kept. Returns at once: it is put there by another thread."""
        if not self._thread.is_alive():
            return
        run = checkpoint.parent.parent
        snapshot = _Snapshot(self._folder / f"kept-{step}", run.name, step)
        try:
            _take(run, self._folder, snapshot.folder)
        except OSError as error:  # a full disk, which the training itself will tell of
            log.warning("the run is not kept", job=self._job.id, problem=str(error))
            return
        with self._changed:
            before, self._next = self._next, snapshot
            self._changed.notify()
        if before is not None:
            shutil.rmtree(before.folder, ignore_errors=True)

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._over or self._next is not None)
                snapshot, self._next = self._next, None
            if snapshot is None:
                return
            try:
                self._keep(snapshot)
            except LeaseLost:
                return
            except Exception as error:  # the store is away, perhaps: the next one may find it
                log.warning("the run is not kept", job=self._job.id, step=snapshot.step, problem=str(error))
            finally:
                shutil.rmtree(snapshot.folder, ignore_errors=True)

    def _keep(self, snapshot: _Snapshot) -> None:
        store = self._shelf.store
        kept = KeptRun(digest=store.put(snapshot.folder), run=snapshot.run, step=snapshot.step)
        try:
            before = self._shelf.registry.leases.keep(self._job.id, self._worker, kept)
        except LeaseLost:
            store.remove(kept.digest)  # nobody has heard of it
            raise
        if before is not None and before.digest != kept.digest:
            store.remove(before.digest)


def _take(run: Path, job: Path, into: Path) -> None:
    """A picture of this moment."""
    shutil.rmtree(into, ignore_errors=True)
    there = run / checkpoints.FOLDER
    lasting = {path.name for path in checkpoints.lasting(there)}
    for file in _files(run):
        inside = file.relative_to(run)
        if inside.parts[0] != checkpoints.FOLDER or inside.parts[1] in lasting:
            _link(file, into / _RUN / inside)
    took.keep_so_far(run, into / _RUN)
    for epoch in job.glob("step-*[0-9]"):
        for file in _files(epoch):
            _link(file, into / _EPOCHS / file.relative_to(job))


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in sorted(folder.rglob("*")) if path.is_file())


def _link(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if file.suffix in _NEVER_CHANGED:
        with suppress(OSError):  # another filesystem
            os.link(file, target)
            return
    shutil.copyfile(file, target)


def lay_out(job: Job, home: Home, folder: Path, shelf: Shelf, say: Callable[[str], None]) -> None:
    """What other machines have kept of the job's run, where this one has less of it. Raises `Unavailable`."""
    kept = job.progress.kept
    if kept is None or _here(home.runs / kept.run) >= kept.step:
        return
    try:
        copy = shelf.store.get(kept.digest)
    except (NotFound, Corrupt) as error:
        log.warning("what was kept of the run is gone", job=job.id, problem=str(error))
        say("What was kept of the training is gone, so it begins again")
        return
    run = home.runs / kept.run
    with lock_of(run).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # an equal job makes this very run here, just now
        for source, target in ((copy / _RUN, run), *((path, folder / path.name) for path in _epochs(copy))):
            part = target.with_name(f"{target.name}.part")
            shutil.rmtree(part, ignore_errors=True)
            shutil.copytree(source, part, copy_function=shutil.copyfile)
            shutil.rmtree(target, ignore_errors=True)
            part.rename(target)


def _epochs(copy: Path) -> list[Path]:
    return sorted((copy / _EPOCHS).glob("step-*"))


def _here(run: Path) -> float:
    """Steps that this machine has of the run."""
    if was_trained(run) or whole_run(run) is not None:
        return float("inf")
    steps = (checkpoints.step_of(path) for path in checkpoints.lasting(run / checkpoints.FOLDER))
    return max(steps, default=-1)


def let_go(shelf: Shelf) -> None:
    """What is kept of jobs that have ended. Bytes go before the row says so. Raises `Unavailable`."""
    for id_, kept in shelf.registry.leases.kept_of_ended():
        shelf.store.remove(kept.digest)
        with suppress(DabtError):
            shelf.registry.leases.let_go(id_, kept)
