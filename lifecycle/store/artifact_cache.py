"""The bound on a remote store's local copies: past it, those that were used least recently are deleted.

Never one that is in use here, nor one that any process used in the last moments and may be reading. The bound holds for
what rests; what is needed now is never refused for it. Read `artifacts.py` for the layout and for how copies come in.
"""

from __future__ import annotations

import os
import shutil
import time
import uuid
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lifecycle.version import Digest

_MOMENTS = 30.0
"""Seconds after its last use in which a copy may still be read by a process that this one knows nothing of."""


class _Copy(NamedTuple):
    used: float
    """When, in seconds since 1970: the folder's modification time, which `touch` sets."""
    bytes: int
    folder: Path


class ArtifactCache:
    """The copies under `root`/sha256. Safe for several processes: each deletes by renaming first."""

    def __init__(self, root: Path, limit: int | None) -> None:
        """`limit` in bytes; None for no bound."""
        self._root = root
        self._limit = limit
        self.in_use: Callable[[], Collection[Digest]] = tuple
        """The digests of what must stay, asked at every trim. From whichever thread trims."""

    def touch(self, folder: Path) -> None:
        """Remember that the copy was used now."""
        with suppress(OSError):  # a cache that cannot be written still serves what it holds
            os.utime(folder)

    def trim(self, keep: Digest) -> int:
        """Delete until the bound holds, or nothing more may go; `keep` stays in any case. Returns the bytes freed."""
        return 0 if self._limit is None else self._free(self._limit, keep)

    def empty(self, keep: Digest) -> int:
        """Delete all that may go, because the disk is full. Returns the bytes freed."""
        return self._free(0, keep)

    def _free(self, limit: int, keep: Digest) -> int:
        copies = self._copies()
        total = sum(copy.bytes for copy in copies)
        staying = {digest.removeprefix("sha256:") for digest in (*self.in_use(), keep)}
        now = time.time()
        freed = 0
        for copy in sorted(copies):
            if total - freed <= limit:
                break
            # Used in the time to come: the clock was set back since, and nothing is known of when it was.
            recent = abs(now - copy.used) < _MOMENTS
            if not recent and copy.folder.name not in staying and self._delete(copy):
                freed += copy.bytes
        return freed

    def _copies(self) -> list[_Copy]:
        copies = []
        for folder in (self._root / "sha256").glob("*"):
            with suppress(FileNotFoundError, NotADirectoryError):  # a list, or another process was faster
                size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
                if folder.is_dir():
                    copies.append(_Copy(folder.stat().st_mtime, size, folder))
        return copies

    def _delete(self, copy: _Copy) -> bool:
        """Out of sight in one step, so that nobody finds half of it. False when it was used again, or is gone."""
        aside = self._root / "tmp" / f"evicted-{uuid.uuid4().hex}"
        try:
            if copy.folder.stat().st_mtime != copy.used:
                return False
            copy.folder.rename(aside)
            copy.folder.with_suffix(".json").unlink(missing_ok=True)
        except OSError:
            return False
        shutil.rmtree(aside, ignore_errors=True)
        return True
