"""The content-addressed store: a folder's digest is its address, so what is served is what was put there.

A path, or any fsspec URL (s3://bucket/dabt, memory://) with a local cache. Layout, the same everywhere:

    <root>/sha256/<hex>/…     the folder, never changed once it is there
    <root>/sha256/<hex>.json  its list of [relative path, sha256]; the digest is the digest of this list
    <root>/tmp/…              puts under way (local); what a killed process left is swept a day later

A put is atomic. Locally the whole folder is renamed into place. An object store has no rename, so there the list is
written last and a folder without its list does not exist.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from lifecycle.errors import Corrupt, InvalidInput, NotFound, Unavailable
from lifecycle.models.base import sha256_of
from lifecycle.store.artifact_cache import ArtifactCache
from lifecycle.store.object_store import FULL, border, open_url, retrying
from lifecycle.version import Digest, digest_of

Listing = list[tuple[str, str]]
"""Sorted (relative path with /, hex sha256) of every file of a folder."""
Stamp = tuple[tuple[str, int, int, int], ...]
"""Path, size in bytes, time of the last change in nanoseconds and inode of every file of a folder."""

_DAY = 24 * 3600
_REPUT = "delete its .json file from the store and put the folder again"
_PATIENCE = 60.0
"""Seconds that a fetch waits for another of the same folder."""


def listing_of(folder: Path) -> Listing:
    """Hash every file of the folder. Raises `InvalidInput` when it is missing or empty, or holds no plain file."""
    if not folder.is_dir():
        raise InvalidInput(f"{folder} is no folder")
    listing: Listing = []
    for path in sorted(folder.rglob("*")):
        if path.is_dir() and not path.is_symlink():
            continue
        if not path.is_file():
            raise InvalidInput(f"{path} is no plain file; only files and folders can be stored")
        listing.append((path.relative_to(folder).as_posix(), sha256_of(path)))
    if not listing:
        raise InvalidInput(f"{folder} is empty")
    return sorted(listing)


def digest_of_folder(folder: Path) -> Digest:
    """The address that the folder has, or would have, in a store."""
    return digest_of(listing_of(folder))


class ArtifactStore:
    """Folders by digest. Safe for several processes and threads at once; two puts of one folder leave one copy."""

    def __init__(self, url: str, cache: Path, cache_bytes: int | None = None) -> None:
        """`url` is a path or an fsspec URL; `cache` holds local copies of what a remote store keeps.

        Of these, the least recently used are deleted past `cache_bytes` (see `artifact_cache.py`). None: no bound.
        """
        self.url = url
        self.patience = _PATIENCE
        self._verified: dict[Digest, Stamp] = {}
        self._fetching: dict[Digest, threading.Lock] = defaultdict(threading.Lock)
        self._remote: Any = None
        protocol, separator, rest = url.partition("://")
        if not separator or protocol in ("file", "local"):
            self._local = Path(rest if separator else url).expanduser().resolve()
        else:
            self._local = (cache / "artifacts").resolve()
            self._remote, self._prefix = open_url(url)
        self.cache = ArtifactCache(self._local, cache_bytes)
        """The local copies. Without a remote store there are none: nothing is ever deleted."""

    @property
    def far(self) -> bool:
        """Whether it is reached over a network: from other machines too, as a rule."""
        return self._remote is not None

    def put(self, folder: Path) -> Digest:
        """Store the folder's bytes and return their digest. Of what is there, only the moment changes (`stock.py`)."""
        listing = listing_of(folder)
        digest = digest_of(listing)
        if self._remote is None:
            self.cache.touch(self._folder(digest))
            if not self._whole(digest):
                with self._writing():
                    self._install(digest, listing, lambda relative, target: shutil.copyfile(folder / relative, target))
            return digest
        there = self.complete(digest)
        with border(self.url):
            for relative, _ in () if there else listing:
                self._remote.put_file(str(folder / relative), self._at(digest, relative))
            # The list makes the folder exist, and is written only after every byte of it.
            self._remote.pipe_file(self._at(digest) + ".json", _dump(listing))
        return digest

    def get(self, digest: Digest) -> Path:
        """A local folder with these bytes, fetched if need be and verified; never change it.

        Every byte is read once in this process, and again when a file has another size, time or inode than it had then.

        Raises `NotFound` when the store has no such folder, `Corrupt` when the bytes do not match the digest, and
        `Unavailable` when the store cannot be reached or the disk is full; nothing half-written is left then.
        """
        folder = self._folder(digest)
        # One slow download must not hold up the others, nor what is here already: a turn for each digest.
        with self._turn(digest):
            if digest not in self._verified or self._verified[digest] != _stamp(folder):
                if self._remote is None:
                    self._check(digest)
                elif not self._whole(digest):
                    self._fetch(digest)
                self._verified[digest] = _stamp(folder)
            if self._remote is not None:
                self.cache.touch(folder)
        return folder

    @contextmanager
    def _turn(self, digest: Digest) -> Iterator[None]:
        """Wait for who fetches it now. Not for ever: that one may hang, and to fetch a folder twice does no harm."""
        lock = self._fetching[digest]
        taken = lock.acquire(timeout=self.patience)
        try:
            yield
        finally:
            if taken:
                lock.release()

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder on the store's own disk, for what is to be put; gone afterwards, whatever happens.

        Raises `Unavailable` when that disk is full or cannot be written.
        """
        folder = self._local / "tmp" / uuid.uuid4().hex
        with self._writing():
            folder.mkdir(parents=True)
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def remove(self, digest: Digest) -> None:
        """Delete it for good. The caller knows that nothing names it any more; what is not there is no error."""
        if self._remote is not None:
            with border(self.url):
                self._remote.invalidate_cache()
                for path in (self._at(digest) + ".json", self._at(digest)):
                    if self._remote.exists(path):
                        self._remote.rm(path, recursive=True)
        folder = self._folder(digest)
        self._verified.pop(digest, None)
        folder.with_suffix(".json").unlink(missing_ok=True)
        shutil.rmtree(folder, ignore_errors=True)

    def has(self, digest: Digest) -> bool:
        if self._remote is None:
            return self._folder(digest).is_dir()
        with border(self.url):
            # Another process may have written since fsspec last listed the folder.
            self._remote.invalidate_cache()
            return bool(self._remote.exists(self._at(digest) + ".json"))

    def complete(self, digest: Digest) -> bool:
        """Whether every file of the folder is there now; nothing is read but its list."""
        if self._remote is None:
            return self.has(digest)
        try:
            listing = self._listing(digest)
        except (NotFound, Corrupt):
            return False
        with border(self.url):
            try:
                there = self._remote.find(self._at(digest))
            except FileNotFoundError:
                return False
        ends = {path.strip("/").partition(f"{_hex(digest)}/")[2] for path in there}
        return {relative for relative, _ in listing} <= ends

    def verify(self, digest: Digest) -> None:
        """Read every byte of the local folder again. Raises `NotFound`, or `Corrupt` naming the files that changed."""
        if self._remote is not None and not self._folder(digest).is_dir():
            self.get(digest)
        self._check(digest)

    # -- local side ---------------------------------------------------------------------------------------------

    def _folder(self, digest: Digest) -> Path:
        return self._local / "sha256" / _hex(digest)

    def _check(self, digest: Digest) -> None:
        folder = self._folder(digest)
        if not folder.is_dir():
            raise NotFound(f"the store {self.url} holds nothing under {digest}")
        try:
            listing = listing_of(folder)
        except InvalidInput as error:
            raise Corrupt(f"{folder}: {error}; put the folder again") from error
        if digest_of(listing) == digest:
            return
        self._verified.pop(digest, None)
        wanted: dict[str, str] = {}
        with suppress(OSError, ValueError, TypeError):
            wanted = dict(json.loads(folder.with_suffix(".json").read_text(encoding="utf-8")))
        if digest_of(sorted(wanted.items())) == digest:
            changed = sorted({path for path, _ in set(wanted.items()) ^ set(listing)})
            raise Corrupt(f"{folder} is not what was stored; changed, missing or added: {', '.join(changed)}")
        raise Corrupt(f"{folder} is not what was stored: its bytes have the digest {digest_of(listing)}")

    def _install(self, digest: Digest, listing: Listing, copy: Callable[[str, Path], object]) -> None:
        """Fill a folder under tmp/ by `copy(relative, target)`, verify it, and rename it into place."""
        target = self._folder(digest)
        self._sweep()
        staging = self._local / "tmp" / uuid.uuid4().hex
        try:
            for relative, _ in listing:
                (staging / relative).parent.mkdir(parents=True, exist_ok=True)
                copy(relative, staging / relative)
                (staging / relative).chmod(0o444)
            if listing_of(staging) != listing:
                raise Corrupt(f"the files of {digest} changed while they were copied; try again")
            for relative, _ in listing:
                _sync(staging / relative)
            target.parent.mkdir(parents=True, exist_ok=True)
            note = self._local / "tmp" / f"{uuid.uuid4().hex}.json"
            note.write_bytes(_dump(listing))
            note.replace(target.with_suffix(".json"))
            try:
                staging.rename(target)
            except OSError:
                # Another process put the same bytes first; by their address they are equal.
                if not target.is_dir():
                    raise
            _sync(target.parent)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            if error.errno in FULL:
                raise Unavailable(
                    f"the disk of the store {self._local} is full: free some space on it, then try again", 30
                ) from error
            raise Unavailable(f"the store {self._local} cannot be written: {error}") from error

    def _whole(self, digest: Digest) -> bool:
        """Whether an undamaged copy is here. A damaged one is moved aside, so that it can be written anew.

        Aside rather than deleted: an engine may be reading from it.
        """
        folder = self._folder(digest)
        if not folder.is_dir():
            return False
        try:
            self._check(digest)
        except Corrupt:
            aside = self._local / "tmp" / f"damaged-{uuid.uuid4().hex}"
            aside.parent.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):
                folder.rename(aside)
            return False
        return True

    def _sweep(self) -> None:
        """Remove what processes that died left under tmp/ more than a day ago."""
        staging = self._local / "tmp"
        staging.mkdir(parents=True, exist_ok=True)
        for leftover in staging.iterdir():
            with suppress(OSError):
                if time.time() - leftover.stat().st_mtime > _DAY:
                    shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()

    # -- remote side --------------------------------------------------------------------------------------------

    def _at(self, digest: Digest, relative: str = "") -> str:
        return "/".join(part for part in (self._prefix, "sha256", _hex(digest), relative) if part)

    def _fetch(self, digest: Digest) -> None:
        """Bring the folder into the cache, verified on the way."""
        listing = self._listing(digest)

        def install() -> None:
            self._install(digest, listing, lambda relative, target: self._download(digest, relative, target))

        with self._writing():
            try:
                install()
            except Corrupt:
                self._again(digest, install)  # what was damaged on the way may come whole the second time
            except OSError as error:
                if error.errno not in FULL or not self.cache.empty(keep=digest):
                    raise
                install()
        self.cache.trim(keep=digest)

    def _again(self, digest: Digest, install: Callable[[], None]) -> None:
        try:
            install()
        except Corrupt as error:
            raise Corrupt(f"{self.url} holds damaged bytes for {digest}: {error}; {_REPUT}") from error

    def _listing(self, digest: Digest) -> Listing:
        with border(self.url):
            self._remote.invalidate_cache()
            try:
                text = retrying(lambda: self._remote.cat_file(self._at(digest) + ".json"))
                listing = [(str(path), str(sha)) for path, sha in json.loads(text)]
            except FileNotFoundError as error:
                raise NotFound(f"the store {self.url} holds nothing under {digest}") from error
            except (ValueError, TypeError) as error:
                raise Corrupt(f"{self._at(digest)}.json is not JSON; {_REPUT}") from error
        if digest_of(listing) != digest or any(_unsafe(path) for path, _ in listing):
            raise Corrupt(f"{self._at(digest)}.json is not the list of {digest}; {_REPUT}")
        return listing

    def _download(self, digest: Digest, relative: str, target: Path) -> None:
        with border(self.url):
            try:
                retrying(lambda: self._remote.get_file(self._at(digest, relative), str(target)))
            except FileNotFoundError as error:
                raise Corrupt(f"{relative} is gone; {_REPUT}") from error


def _hex(digest: Digest) -> str:
    # A digest becomes a path here, so nothing but a digest may pass.
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise InvalidInput(f"'{digest}' is no digest; it should be sha256: and 64 hex digits")
    return digest.removeprefix("sha256:")


def _stamp(folder: Path) -> Stamp:
    """What changes when a file does, without reading it; empty when the folder is gone, or going."""
    try:
        files = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    except FileNotFoundError:
        return ()
    return tuple((str(path), about.st_size, about.st_mtime_ns, about.st_ino) for path, about in files)


def _unsafe(relative: str) -> bool:
    return relative.startswith("/") or ".." in relative.split("/")


def _dump(listing: Listing) -> bytes:
    return json.dumps(listing, ensure_ascii=False, indent=1).encode()


def _sync(path: Path) -> None:
    """Ask the disk to keep it, so that a power cut cannot leave a name without its bytes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
