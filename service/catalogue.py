"""What can be called, as of the registry's last revision: a snapshot in memory, renewed in the background.

Requests read the snapshot and never the database, so serving goes on from the last known state while the registry is
locked or away; `last_known.py` keeps that state for a start without the registry. What changed is read and nothing
else (`lifecycle/registry/changes.py`). Read `resolution.py` for how a name in `model` becomes a version.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, Protocol, TypeVar

import structlog

from lifecycle.access.keys import ApiKey
from lifecycle.aliases import Alias
from lifecycle.errors import DabtError, Unreadable
from lifecycle.manifests import Manifest
from lifecycle.registry.changes import Changes, Keys, Mark, Traffic
from lifecycle.registry.readable import Kind, LeftOut
from lifecycle.version import Digest, Frozen, Version
from service.last_known import NOTHING_KNOWN, Known, LastKnown

_PATIENCE = 5.0
"""Seconds that a service that starts waits for the registry before it takes the state that it knew last."""
UPGRADE = "this release of the service cannot read it, because another one wrote it; upgrade the service"

Named = TypeVar("Named", Version, Alias)
Inner = TypeVar("Inner", int, str)

log = structlog.get_logger(__name__)


class ChangeSource(Protocol):
    """What `lifecycle.registry.changes.ChangeReader` tells."""

    def newest(self) -> Mark: ...
    def keys(self, since: Mark | None) -> Changes[Keys]: ...
    def traffic(self, since: Mark | None) -> Changes[Traffic]: ...
    def manifests(self, digests: Sequence[Digest]) -> tuple[list[Manifest], list[LeftOut]]: ...


class Source(Protocol):
    """The part of `lifecycle.registry.Registry` that is read here."""

    @property
    def changes(self) -> ChangeSource: ...
    def artifact(self, digest: Digest) -> Manifest: ...


class Snapshot(Frozen):
    """All versions, aliases and API keys of one revision. What did not change is the same object as before."""

    revision: int
    versions: Mapping[str, Mapping[int, Version]]
    """By name, then number."""
    aliases: Mapping[str, Mapping[str, Alias]]
    """By name, then alias."""
    keys: Mapping[Digest, ApiKey] = {}
    """By the digest of the secret; those that cannot be used any more too."""
    unreadable_keys: Mapping[Digest, str] = {}
    """Ids by the digest of the secret."""
    left_out: Mapping[tuple[Kind, str], LeftOut] = {}
    """What this release cannot read, by kind and `triage:3`, `triage:prod`, a key's id or an artifact's digest."""
    pins: tuple[str, ...] = ()
    """Names that every engine keeps in memory, of those that run the base of what is behind them."""

    @cached_property
    def size(self) -> int:
        """How many versions."""
        return sum(map(len, self.versions.values()))

    @cached_property
    def names(self) -> Sequence[str]:
        """In alphabetical order."""
        return sorted(self.versions)

    @cached_property
    def named(self) -> dict[object, tuple[tuple[str, ...], int]]:
        """A place for `resolution.py` to keep what it tells each kind of caller of the names that there are."""
        return {}

    def version(self, name: str, number: int) -> Version | None:
        return self.versions.get(name, {}).get(number)

    def behind(self, alias: Alias) -> Iterator[Version]:
        """The versions that it points at, as far as they can be read."""
        numbers = self.versions.get(alias.name, {})
        return (numbers[target.number] for target in alias.targets if target.number in numbers)


EMPTY = Snapshot(revision=-1, versions={}, aliases={})


class Catalogue:
    """The current snapshot, and the thread that renews it."""

    def __init__(self, source: Source, poll_seconds: float, last_known: LastKnown | None = None) -> None:
        self._source = source
        self._poll = poll_seconds
        self._last_known = last_known
        self._known: Known | None = None
        self._first_keys: Changes[Keys] | None = None
        """Read before there was anything that they could be put into."""
        self._refreshing = threading.Lock()
        self._publishing = threading.Lock()
        self._stop = threading.Event()
        self._woken = threading.Event()
        self._thread: threading.Thread | None = None
        self._read_at = float("-inf")
        self.snapshot = EMPTY
        self.on_change: Callable[[Snapshot, Snapshot], object] = lambda before, after: None
        """Told of every new snapshot, in whichever thread read it; must not raise nor take long."""
        self.problem: str | None = None
        """The code of the error with which the registry could not be read the last time, or None; the log has more."""

    def start(self) -> None:
        """Begin to read, and return at once. What cannot be read yet is tried again at every poll.

        While the registry is away, or silent for `_PATIENCE`, the state that this home knew last is taken.
        """
        self._thread = threading.Thread(target=self._run, name="catalogue", daemon=True)
        self._thread.start()

    def look_soon(self) -> None:
        """Something may have changed: do not wait for the next poll."""
        self._woken.set()

    def stop(self) -> None:
        self._stop.set()
        self._woken.set()
        if self._thread is not None:
            self._thread.join(timeout=5)

    def refresh(self) -> None:
        """Read again now if the registry has moved on. Raises what the registry raises."""
        with self._refreshing:
            newest = self._source.changes.newest()
            known = self._known
            if known is None or known.keys_mark != newest:
                self._take_keys(self._source.changes.keys(known.keys_mark if known is not None else None))
            if known is None or known.mark != newest:
                self._take_traffic(self._source.changes.traffic(known.mark if known is not None else None))
            self._read_at = time.monotonic()

    def manifest(self, digest: Digest) -> Manifest:
        """What is known of an artifact, asking the registry where it was not read.

        Raises `NotFound` for one never registered, `Unreadable` for one that another release registered.
        """
        return self.known_manifest(digest) or self._source.artifact(digest)

    def known_manifest(self, digest: Digest) -> Manifest | None:
        """From memory alone."""
        if ("artifact", digest) in self.snapshot.left_out:
            raise Unreadable(f"the artifact {digest}: {UPGRADE}")
        return self._known.manifests.get(digest) if self._known is not None else None

    @property
    def age(self) -> float:
        """Seconds since the registry was last seen."""
        return time.monotonic() - self._read_at

    def _take_keys(self, told: Changes[Keys]) -> None:
        with self._publishing:
            if self._known is None:
                self._first_keys = told
            else:
                self._publish(with_keys(self._known, told))

    def _take_traffic(self, told: Changes[Traffic]) -> None:
        known = self._known or NOTHING_KNOWN
        wanted = {made[1] for version in told.now.versions if (made := version.spec.artifact) is not None}
        if not told.whole:
            wanted = (wanted - known.manifests.keys()) | {*told.now.artifacts}
        # Ahead of need, so that an artifact can still be loaded and verified while the registry is away.
        manifests, unread = self._source.changes.manifests(sorted(wanted))
        with self._publishing:
            known = self._known or NOTHING_KNOWN
            if self._known is None:
                assert self._first_keys is not None, "keys are read first"
                known = with_keys(known, self._first_keys)
            self._publish(with_manifests(with_traffic(known, told), manifests, unread))
        log.info("registry read", revision=told.mark.revision, versions=self.snapshot.size)

    def _publish(self, known: Known) -> None:
        before = self._known
        self._known = known
        if before is not None and _holds(before) == _holds(known):
            return
        for place in known.left_out.keys() - (before.left_out.keys() if before is not None else set()):
            row = known.left_out[place]
            log.warning("left out: this release cannot read it", kind=row.kind, ref=row.ref, why=row.why)
        old, self.snapshot = self.snapshot, _snapshot(known)
        self.on_change(old, self.snapshot)

    def _fall_back(self) -> None:
        """Take what was known last, unless the registry has been read by now."""
        with self._publishing:
            if self._known is None and self._last_known is not None and (known := self._last_known.load()) is not None:
                self._publish(known if self._first_keys is None else with_keys(known, self._first_keys))

    def _run(self) -> None:
        patience = threading.Timer(_PATIENCE, self._fall_back)
        patience.daemon = True
        patience.start()
        self._try_refresh()
        patience.cancel()
        self._fall_back()
        while not self._stop.is_set():
            self._woken.wait(self._poll)
            self._woken.clear()
            if not self._stop.is_set():
                self._try_refresh()

    def _try_refresh(self) -> None:
        try:
            self.refresh()
        except DabtError as error:
            self._failed(error.code, str(error))
        except Exception as error:  # the thread must outlive anything that a database driver throws
            self._failed(DabtError.code, f"{type(error).__name__}: {error}")
        else:
            if self.problem is not None:
                log.info("registry is back", revision=self.snapshot.revision)
            self.problem = None
            if self._last_known is not None and self._known is not None:
                self._last_known.save(self._known)

    def _failed(self, code: str, problem: str) -> None:
        if self.problem is None:
            log.warning("registry cannot be read; going on from the last known state", problem=problem)
        self.problem = code


def with_keys(known: Known, told: Changes[Keys]) -> Known:
    """`known` with what was told; itself, but for the mark, when that is nothing."""
    if not (told.whole or told.now.readable or told.left_out):
        return replace(known, keys_mark=told.mark)
    keys = {} if told.whole else dict(known.keys)
    unreadable = {} if told.whole else dict(known.unreadable_keys)
    for digest, id_ in told.now.unreadable:
        keys.pop(digest, None)
        unreadable[digest] = id_
    for key in told.now.readable:
        unreadable.pop(key.digest, None)
        keys[key.digest] = key
    fresh: list[tuple[Kind, str]] = [("key", key.id) for key in told.now.readable]
    left_out = _left_out(known, told, frozenset({"key"}), fresh)
    if (keys, unreadable, left_out) == (known.keys, known.unreadable_keys, known.left_out):
        return replace(known, keys_mark=told.mark)
    return replace(known, keys_mark=told.mark, keys=keys, unreadable_keys=unreadable, left_out=left_out)


def with_traffic(known: Known, told: Changes[Traffic]) -> Known:
    """`known` with what was told; what that does not touch is the same object as before."""
    if not (told.whole or told.now.versions or told.now.aliases or told.left_out or told.now.pins is not None):
        return replace(known, mark=told.mark)
    versions: dict[str, Mapping[int, Version]] = {} if told.whole else dict(known.versions)
    aliases: dict[str, Mapping[str, Alias]] = {} if told.whole else dict(known.aliases)
    fresh: list[tuple[Kind, str]] = []
    for name, numbers in _grouped(told.now.versions, lambda version: version.number).items():
        versions[name] = {**versions.get(name, {}), **numbers}
        fresh += [("version", version.ref) for version in numbers.values()]
    for name, of_name in _grouped(told.now.aliases, lambda alias: alias.alias).items():
        aliases[name] = {**aliases.get(name, {}), **of_name}
        fresh += [(kind, alias.ref) for alias in of_name.values() for kind in _ALIAS_KINDS]
    for row in told.left_out:
        name, _, tail = row.ref.rpartition(":")
        if row.kind == "version" and name in versions:
            versions[name] = {number: version for number, version in versions[name].items() if str(number) != tail}
        if row.kind == "alias" and name in aliases:
            aliases[name] = {alias: target for alias, target in aliases[name].items() if alias != tail}
    left_out = _left_out(known, told, frozenset({"version", *_ALIAS_KINDS}), fresh)
    return replace(
        known,
        mark=told.mark,
        versions=known.versions if versions == known.versions else versions,
        aliases=known.aliases if aliases == known.aliases else aliases,
        left_out=left_out,
        pins=known.pins if told.now.pins in (None, known.pins) else told.now.pins,
    )


def with_manifests(known: Known, manifests: Sequence[Manifest], unread: Sequence[LeftOut]) -> Known:
    if not manifests and not unread:
        return known
    left_out = {**known.left_out, **{(row.kind, row.ref): row for row in unread}}
    for manifest in manifests:
        left_out.pop(("artifact", manifest.digest), None)
    changed = {manifest.digest: manifest for manifest in manifests}
    return replace(known, manifests={**known.manifests, **changed}, left_out=left_out)


_ALIAS_KINDS: tuple[Kind, Kind] = ("alias", "policy")


def _left_out(
    known: Known, told: Changes[Any], kinds: frozenset[Kind], fresh: Iterable[tuple[Kind, str]]
) -> dict[tuple[Kind, str], LeftOut]:
    """What was left out before and still is, and what is now."""
    left_out = {place: row for place, row in known.left_out.items() if not (told.whole and row.kind in kinds)}
    for place in fresh:
        left_out.pop(place, None)
    left_out.update(((row.kind, row.ref), row) for row in told.left_out)
    return left_out


def _grouped(nouns: Iterable[Named], inner: Callable[[Named], Inner]) -> dict[str, dict[Inner, Named]]:
    """By name, then by what is one thing's under it."""
    grouped: dict[str, dict[Inner, Named]] = {}
    for noun in nouns:
        grouped.setdefault(noun.name, {})[inner(noun)] = noun
    return grouped


def _holds(known: Known) -> tuple[int, ...]:
    """The same for two states that no request could tell apart."""
    parts = (known.versions, known.aliases, known.keys, known.unreadable_keys, known.left_out, known.pins)
    return known.mark.revision, *map(id, parts)


def _snapshot(known: Known) -> Snapshot:
    return Snapshot.model_construct(
        revision=known.mark.revision,
        versions=known.versions,
        aliases=known.aliases,
        keys=known.keys,
        unreadable_keys=known.unreadable_keys,
        left_out=known.left_out,
        pins=known.pins,
    )
