"""What a worker clears away, every minute or so, whether it trains or not: what was deleted, has expired, or was left.

Bytes go before the row that says so, and a run before the job's folder that leads to it: what a sweep that is killed
has begun, the next one ends.
"""

from __future__ import annotations

import fcntl
import shutil
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from lifecycle.errors import NotFound
from lifecycle.home import Home
from lifecycle.jobs.purging import purge
from lifecycle.jobs.states import ENDED
from lifecycle.publishing import Shelf
from training import again
from training.jobs.keeping import let_go
from training.records import lock_of, whole_run


def sweep(home: Home, shelf: Shelf, worker: str, checkpoint_days: int | None) -> None:
    """Raises `Unavailable` when the store or the registry is away."""
    purge(shelf.store, shelf.registry, actor=worker)
    let_go(shelf)
    if checkpoint_days is not None:
        shelf.registry.jobs.expire_checkpoints(timedelta(days=checkpoint_days), shelf.store.remove, actor=worker)
    for folder in (home.root / "jobs").glob("ftjob-*"):
        tidy(home, shelf, folder.name)


def tidy(home: Home, shelf: Shelf, job: str) -> None:
    """What lies here of a job that has ended, also a run that it began here and that is not whole.

    A job of another registry is none of ours. Raises `Unavailable`.
    """
    folder = home.root / "jobs" / job
    try:
        state = shelf.registry.jobs.get(job, None).state
    except NotFound:
        return
    if state not in ENDED:
        return
    for run in again.runs_of(folder, home.runs):
        _remove(run)
    shutil.rmtree(folder, ignore_errors=True)


def _remove(run: Path) -> None:
    """Not one that is whole, nor one that a process makes just now: of an equal job, say."""
    if whole_run(run) is not None:
        return
    with suppress(BlockingIOError), lock_of(run).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(run, ignore_errors=True)
