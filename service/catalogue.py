"""What can be called, as of the registry's last revision: a snapshot in memory, renewed in the background.

Requests read the snapshot and never the database, so serving goes on from the last known state while the registry is
locked or away. Read `resolution.py` for how a name in `model` becomes a version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Protocol

import structlog

from lifecycle.access.keys import ApiKey
from lifecycle.adapter import AdapterManifest
from lifecycle.aliases import Alias
from lifecycle.errors import DabtError
from lifecycle.registry.keyring import Keyring
from lifecycle.version import Digest, Frozen, Version

_READINGS = 5

log = structlog.get_logger(__name__)


class Source(Protocol):
    """The part of `lifecycle.registry.Registry` that is read here."""

    @property
    def keys(self) -> Keyring: ...
    def revision(self) -> int: ...
    def versions(self, name: str | None = None) -> list[Version]: ...
    def aliases(self, name: str | None = None) -> list[Alias]: ...
    def adapter(self, digest: Digest) -> AdapterManifest: ...


class Snapshot(Frozen):
    """All versions, aliases and API keys of one revision."""

    revision: int
    versions: Mapping[str, Mapping[int, Version]]
    """By name, then number."""
    aliases: Mapping[str, Mapping[str, Alias]]
    """By name, then alias."""
    keys: Mapping[Digest, ApiKey] = {}
    """By the digest of the secret; those that cannot be used any more too."""

    def all_versions(self) -> list[Version]:
        return [version for numbers in self.versions.values() for version in numbers.values()]


EMPTY = Snapshot(revision=-1, versions={}, aliases={})


def read(source: Source) -> Snapshot:
    """One snapshot, as it was at its revision: read again when the registry changed meanwhile.

    Beside a busy writer this could go on for ever: after some tries it is taken under the revision that it began with,
    so that the next poll reads again.
    """
    for _ in range(_READINGS):
        snapshot = _read_once(source)
        if source.revision() == snapshot.revision:
            break
    return snapshot


def _read_once(source: Source) -> Snapshot:
    """The revision is read first: a change during the reading is then seen as a newer one.

    Aliases are read before versions, so that what they point at is always there: versions are never deleted.
    """
    revision = source.revision()
    aliases: dict[str, dict[str, Alias]] = {}
    for alias in source.aliases():
        aliases.setdefault(alias.name, {})[alias.alias] = alias
    versions: dict[str, dict[int, Version]] = {}
    for version in source.versions():
        versions.setdefault(version.name, {})[version.number] = version
    keys = {key.digest: key for key in source.keys.all()}
    return Snapshot.model_construct(revision=revision, versions=versions, aliases=aliases, keys=keys)


class Catalogue:
    """The current snapshot, and the thread that renews it."""

    def __init__(self, source: Source, poll_seconds: float) -> None:
        self._source = source
        self._poll = poll_seconds
        self._manifests: dict[Digest, AdapterManifest] = {}
        self._refreshing = threading.Lock()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._read_at = float("-inf")
        self.snapshot = EMPTY
        self.on_change: Callable[[Snapshot, Snapshot], object] = lambda before, after: None
        """Told of every new snapshot, in whichever thread read it; must not raise nor take long."""
        self.problem: str | None = None
        """Why the registry could not be read the last time, or None."""

    def start(self) -> None:
        """Read once and begin to poll. A registry that cannot be read yet is tried again at every poll."""
        self._try_refresh()
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def refresh(self) -> None:
        """Read again now if the registry has moved on. Raises what the registry raises."""
        with self._refreshing:
            if self._source.revision() != self.snapshot.revision:
                snapshot = read(self._source)
                self._fetch_manifests(snapshot)
                before, self.snapshot = self.snapshot, snapshot
                self.on_change(before, snapshot)
                log.info("registry read", revision=snapshot.revision, versions=len(snapshot.all_versions()))
            self._read_at = time.monotonic()

    def manifest(self, digest: Digest) -> AdapterManifest:
        """What is known of an adapter, from memory where possible. Raises `NotFound` for one never registered."""
        if digest not in self._manifests:
            self._manifests[digest] = self._source.adapter(digest)
        return self._manifests[digest]

    @property
    def age(self) -> float:
        """Seconds since the registry was last seen."""
        return time.monotonic() - self._read_at

    def _fetch_manifests(self, snapshot: Snapshot) -> None:
        # Ahead of need, so that an adapter can still be loaded and verified while the registry is away.
        for version in snapshot.all_versions():
            if version.spec.adapter is not None and version.spec.adapter not in self._manifests:
                self._manifests[version.spec.adapter] = self._source.adapter(version.spec.adapter)

    def _run(self) -> None:
        while not self._stop.wait(self._poll):
            self._try_refresh()

    def _try_refresh(self) -> None:
        try:
            self.refresh()
        except DabtError as error:
            self._failed(str(error))
        except Exception as error:  # the thread must outlive anything that a database driver throws
            self._failed(f"{type(error).__name__}: {error}")
        else:
            if self.problem is not None:
                log.info("registry is back", revision=self.snapshot.revision)
            self.problem = None

    def _failed(self, problem: str) -> None:
        if self.problem is None:
            log.warning("registry cannot be read; going on from the last known state", problem=problem)
        self.problem = problem
