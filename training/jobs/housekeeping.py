"""What a worker clears away, every minute or so, whether it trains or not: what was deleted, has expired, or was left.

Bytes go before or after what names them so that a sweep that is killed loses nothing: the next one does it again, or a
folder of bytes stays that nothing names, which costs its room and no more.
"""

from __future__ import annotations

import shutil
from datetime import timedelta

from lifecycle.errors import NotFound
from lifecycle.home import Home
from lifecycle.jobs.purging import purge
from lifecycle.publishing import Shelf


def sweep(home: Home, shelf: Shelf, worker: str, checkpoint_days: int | None) -> None:
    """Raises `Unavailable` when the store or the registry is away."""
    purge(shelf.store, shelf.registry, actor=worker)
    if checkpoint_days is not None:
        for adapter in shelf.registry.jobs.expire_checkpoints(timedelta(days=checkpoint_days), actor=worker):
            shelf.store.remove(adapter)
    for folder in (home.root / "jobs").glob("ftjob-*"):
        if _is_over(folder.name, shelf):
            shutil.rmtree(folder, ignore_errors=True)


def _is_over(job: str, shelf: Shelf) -> bool:
    """Its worker was killed before it could tidy up. A job of another registry is none of ours."""
    try:
        return shelf.registry.jobs.get(job, None).finished_at is not None
    except NotFound:
        return False
