"""What a store holds: how large each folder is and when somebody last put it; and how one is taken out for good.

`dabt gc`, `dabt doctor` and `dabt backup` look at stores through this. It belongs to `artifacts.py`, whose layout it
knows. Moments are the store's own: its disk's or its server's clock stamps the folders and what they are held against.
"""

from __future__ import annotations

import errno
import shutil
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from lifecycle.errors import Conflict, Corrupt, NotFound
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.store.object_store import border
from lifecycle.version import Digest


@dataclass(frozen=True, slots=True)
class Holding:
    """One folder of a store."""

    digest: Digest
    bytes: int
    put_at: float
    """When it was put last, also where it was there already, in seconds since 1970 by the store's clock."""
    whole: bool = True
    """False: its bytes lie there without the list that makes them a folder, as a put that died leaves them."""


class Stock:
    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._remote: Any = store._remote
        self._root = store._local / "sha256"

    def now(self) -> float:
        """By the store's clock."""
        name = uuid.uuid4().hex
        if self._remote is None:
            with self._store.scratch() as scratch:
                return scratch.stat().st_mtime
        with border(self._store.url):
            probe = self._path(f"tmp/{name}")
            self._remote.pipe_file(probe, b"what time is it")
            try:
                self._remote.invalidate_cache()
                return float(self._remote.modified(probe).timestamp())
            finally:
                self._remote.rm_file(probe)

    def refuses_to_overwrite(self) -> bool | None:
        """Whether a write that asks that nothing be there is refused when something is; None where it cannot be asked.

        What it writes is removed again. Raises `Unavailable` when it cannot write, read or delete.
        """
        name = f"probe-{uuid.uuid4().hex}"
        if self._remote is None:
            with self._store.scratch() as scratch:
                (scratch / name).write_bytes(b"first")
                try:
                    (scratch / name).open("xb").close()
                except FileExistsError:
                    return True
                return False
        with border(self._store.url):
            probe = self._path(f"tmp/{name}")
            self._remote.pipe_file(probe, b"first")
            try:
                refused = self._second(probe)
                self._remote.invalidate_cache()
                if (told := self._remote.cat_file(probe)) != b"first" and refused is not False:
                    raise Corrupt(f"the store {self._store.url} gives back {told!r} for what was written")
                return refused
            finally:
                self._remote.rm_file(probe)

    def _second(self, probe: str) -> bool | None:
        try:
            self._remote.pipe_file(probe, b"second", mode="create")
        except FileExistsError:
            return True
        except OSError as error:
            if error.errno != errno.EINVAL:  # as s3fs tells of a precondition that did not hold
                raise
            return True
        except (TypeError, NotImplementedError, ValueError):
            return None
        return False

    def holdings(self) -> list[Holding]:
        """All of them, by digest."""
        if self._remote is None:
            folders = [path for path in self._root.glob("*") if path.is_dir()]
            return sorted(filter(None, map(_local, folders)), key=lambda held: held.digest)
        with border(self._store.url):
            self._remote.invalidate_cache()
            try:
                files: dict[str, Any] = self._remote.find(self._path("sha256"), detail=True)
            except FileNotFoundError:
                return []
            return list(self._gathered(files))

    def _gathered(self, files: dict[str, Any]) -> Iterator[Holding]:
        sizes: dict[str, int] = {}
        moments: dict[str, float] = {}
        lists: set[str] = set()
        start = len(self._path("sha256").split("/"))
        for path, facts in files.items():
            if facts.get("type") == "directory":  # no store of objects has any, but some servers tell of them
                continue
            name = path.strip("/").split("/")[start]
            hex_ = name.removesuffix(".json")
            if name != hex_:
                lists.add(hex_)
            sizes[hex_] = sizes.get(hex_, 0) + int(facts["size"] or 0)
            moments[hex_] = max(moments.get(hex_, 0.0), self._moment(path, facts))
        for hex_ in sorted(sizes):
            yield Holding(f"sha256:{hex_}", sizes[hex_], moments[hex_], whole=hex_ in lists)

    def _moment(self, path: str, facts: dict[str, Any]) -> float:
        told = facts.get("LastModified") or facts.get("modified") or self._remote.modified(path)
        return float(told.timestamp())

    def verify(self, digest: Digest) -> None:
        """Read every byte that the store itself holds, and not a local copy. Raises `NotFound` and `Corrupt`."""
        if self._remote is None:
            self._store.verify(digest)
            return
        with TemporaryDirectory(prefix="dabt-verify-") as folder:
            ArtifactStore(self._store.url, Path(folder)).get(digest)

    def take_out(self, held: Holding) -> int:
        """Remove it for good, unless it was put again since it was looked at. Returns the bytes that this frees.

        The caller holds the registry's write lock and has seen there that nothing needs it. Raises `Conflict` when it
        was put again, and `NotFound` when it is gone.
        """
        again = Conflict(f"{held.digest} was put into the store again; it stays")
        if self._remote is not None:
            now = {each.digest: each for each in self._one(held.digest)}.get(held.digest)
            if now is None:
                raise NotFound(f"{held.digest} is gone from {self._store.url}")
            if now.put_at != held.put_at:
                raise again
            self._store.remove(held.digest)
            return held.bytes
        folder = self._root / held.digest.removeprefix("sha256:")
        aside = self._store._local / "tmp" / f"collected-{uuid.uuid4().hex}"
        moves = ((folder.with_suffix(".json"), aside.with_suffix(".json")), (folder, aside))
        with self._store._writing():
            aside.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                moves[0][0].rename(moves[0][1])
            try:
                folder.rename(aside)
            except FileNotFoundError as error:
                raise NotFound(f"{held.digest} is gone from {self._store.url}") from error
            if kept := aside.stat().st_mtime != held.put_at:
                for place, put_aside in moves:
                    with suppress(OSError):  # it was put anew meanwhile: one copy is enough
                        put_aside.rename(place)
            shutil.rmtree(aside, ignore_errors=True)
            aside.with_suffix(".json").unlink(missing_ok=True)
        if kept:
            raise again
        self._store._verified.pop(held.digest, None)
        return held.bytes

    def _one(self, digest: Digest) -> list[Holding]:
        hex_ = digest.removeprefix("sha256:")
        with border(self._store.url):
            self._remote.invalidate_cache()
            files: dict[str, Any] = {}
            for path in (self._path(f"sha256/{hex_}"), self._path(f"sha256/{hex_}.json")):
                with suppress(FileNotFoundError):
                    files |= self._remote.find(path, detail=True)
            return list(self._gathered(files))

    def _path(self, relative: str) -> str:
        return "/".join(part for part in (self._store._prefix.strip("/"), relative) if part)


def _local(folder: Path) -> Holding | None:
    try:
        size = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
        return Holding(f"sha256:{folder.name}", size, folder.stat().st_mtime)
    except FileNotFoundError:  # it is being taken out just now
        return None
