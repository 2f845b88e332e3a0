"""What is in memory ahead of any request: preloaded at start, pinned for good, and what an alias was just moved to.

Adapters have places in the engine's memory, classifiers have bytes beside it. A failed load here is a line in the log
and no request's error. Everything is named by version, never by path. Read `residency.py` for what a load and a pin of
an adapter are, `classification/residents.py` for a classifier's.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import structlog

from lifecycle.aliases import PROD, Alias
from lifecycle.errors import DabtError, InvalidInput, NotAllowed, NotFound
from lifecycle.states import State
from lifecycle.version import Digest, Frozen, Ref, Version
from service.adapters.residency import Adapters
from service.catalogue import EMPTY, Snapshot
from service.classification.residents import Classifiers
from service.resolution import Base

_AT_START = 60.0
"""Seconds that a start of the service waits for any one load."""
_PATIENCE = 5.0
"""Seconds that a move of an alias waits for a load, which goes on by itself."""

log = structlog.get_logger(__name__)


class Warmed(Frozen):
    """What became of one name that was to be loaded or pinned."""

    ref: str
    adapters: tuple[Digest, ...] = ()
    classifiers: tuple[Digest, ...] = ()
    pinned: bool


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to be in memory."""

    digest: Digest
    classifies: bool = False
    """A classifier, rather than an adapter."""


@dataclass(frozen=True)
class Plan:
    """From the configuration: refs as callers write them in `model`; `prod` alone stands for every `prod` alias."""

    preload: tuple[str, ...] = ()
    pin: tuple[str, ...] = ()
    ahead: bool = True
    """Load what an alias was moved to. One engine of many leaves that to whoever chooses among them."""


class Warmer:
    """Belongs to one event loop. Pins follow their names: a pinned `triage` is whatever stands behind it now.

    They are the configuration's and the registry's, which holds at every engine and after every start.
    """

    def __init__(
        self,
        residency: Adapters,
        classifiers: Classifiers | None,
        base: Base,
        snapshot: Callable[[], Snapshot],
        plan: Plan,
    ) -> None:
        """Without `classifiers` none is loaded here, and names of them mean nothing."""
        self._residency = residency
        self._classifiers = classifiers
        self._base = base
        self._snapshot = snapshot
        self._preload = plan.preload
        self._pins = plan.pin
        self._follows = plan.ahead
        self._missing: set[str] = set()
        self._ahead: dict[_Wanted, None] = {}
        """To be loaded in the background, in this order."""
        self._guesses: set[Digest] = set()
        """Loaded, or soon to be, because an alias was moved; nobody has asked for them yet."""
        self._task: asyncio.Task[None] | None = None
        self._read = asyncio.Event()
        self._running = False

    async def start(self) -> None:
        """Load what the configuration names; returns when each has been tried. After every start of the engine.

        Where a load takes too long, as from a store that hangs, the service does not wait for it nor for those after
        it: they go on in the background. Waits for the registry to have been read: until then no name means anything,
        and nothing is answered.
        """
        if self._snapshot() is EMPTY:
            await self._read.wait()
        self._running = True
        self._apply_pins()
        planned = self._planned()
        while planned:
            try:
                async with asyncio.timeout(_AT_START):
                    await self._load(planned[0], evict=False)
            except TimeoutError:
                log.warning("not loaded in time; the service starts, and loading goes on", artifacts=len(planned))
                self._load_soon(planned)
                return
            planned.pop(0)

    async def stop(self) -> None:
        self._running = False
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    def changed(self, before: Snapshot, after: Snapshot) -> None:
        """The registry has moved on: pins follow, and what aliases now point at is loaded ahead of its first request.

        Those that nobody has asked for yet take at most a quarter of the places of their base, so that a mass of moves
        does not wash out what callers use.
        """
        self._read.set()
        if not self._running:
            return
        self._apply_pins()
        aliases = _moved(before, after) if self._follows else ()
        moved = dict.fromkeys(wanted for alias in aliases for wanted in self._gained(alias, before, after))
        classifiers = [wanted for wanted in moved if wanted.classifies]
        guessed = self._guess(wanted.digest for wanted in moved if not wanted.classifies)
        self._load_soon([*self._pinned(), *(_Wanted(digest) for digest in guessed), *classifiers])

    async def preload(self, ref: str) -> Warmed:
        """Load what `ref` names, now. Raises `NotFound`, `InvalidInput` where that is nothing, and load errors."""
        named = self._named(ref)
        for wanted in named:
            if not await self._prefetch(wanted):
                option = "--classifier-gib" if wanted.classifies else "--max-cpu-loras"
                raise NotAllowed(f"{ref} finds no place in memory: all are in use or pinned; raise {option}")
        return _warmed(ref, named, pinned=ref in self.pins)

    async def pin(self, ref: str, record: Callable[[], Awaitable[object]]) -> Warmed:
        """Load what `ref` names and keep it, here and wherever the registry is read; `record` writes it there.

        Raises what `record` does and `NotAllowed` when no place would be left for the others; and as `preload` does,
        after which the pin stands all the same.
        """
        named = self._named(ref)
        adapters = (wanted.digest for wanted in (*self._pinned(), *named) if not wanted.classifies)
        self._residency.check_pins({*adapters})
        await record()
        self._apply_pins()
        await self.preload(ref)
        return _warmed(ref, named, pinned=True)

    async def unpin(self, ref: str, record: Callable[[], Awaitable[object]]) -> Warmed:
        """Raises `NotFound` when `ref` is not pinned, and `NotAllowed` where the configuration pins it."""
        if ref in self._pins:
            raise NotAllowed(f"{ref} is pinned by the service's configuration; take it out of `pin` there")
        if ref not in self.pins:
            raise NotFound(f"{ref} is not pinned; pinned are: {', '.join(self.pins) or 'none'}")
        await record()
        self._apply_pins()
        return Warmed(ref=ref, pinned=False)

    async def ahead_of_a_move(self, ref: str) -> None:
        """Before an alias is moved to `ref`: its first request then finds it loaded. Never raises, waits briefly."""
        with suppress(DabtError, TimeoutError):
            async with asyncio.timeout(_PATIENCE):
                for wanted in self._named(ref):
                    await self._load(wanted)

    def adapters(self) -> list[Digest]:
        """What is to be here ahead of any request, as the registry is now."""
        return [wanted.digest for wanted in self._planned() if not wanted.classifies]

    @property
    def pins(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys([*self._pins, *self._snapshot().pins]))

    def missing(self) -> dict[str, str]:
        """Pins of which something is neither in memory nor on its way there, and why.

        One of the registry that names nothing of the bases here is another service's.
        """
        if self._snapshot() is EMPTY:
            return {}
        here, failed = {*self._residency.digests()}, dict(self._residency.failures())
        if self._classifiers is not None:
            here.update(self._classifiers.digests())
            failed.update(self._classifiers.failures())
        missing = {}
        for ref in self.pins:
            try:
                gone = next((wanted.digest for wanted in self._named(ref) if wanted.digest not in here), None)
            except DabtError as error:
                if ref in self._pins:
                    missing[ref] = str(error)
                continue
            if gone is not None:
                missing[ref] = failed.get(gone, "it waits for its turn to be loaded, or there is no place for it")
        return missing

    def _apply_pins(self) -> None:
        """As many as there may be: an alias that was moved to several versions must not break the service."""
        pinned = self._pinned()
        adapters = [wanted for wanted in pinned if not wanted.classifies]
        kept = self._fitting(adapters, spare=1)  # one place is for the others
        if len(adapters) > len(kept):
            log.warning(
                "not all pins fit into memory; the last named are left out",
                pins=len(adapters),
                places=self._residency.capacity,
            )
        self._pin([*kept, *(wanted for wanted in pinned if wanted.classifies)])

    def _pin(self, pinned: Sequence[_Wanted]) -> None:
        self._residency.pin([wanted.digest for wanted in pinned if not wanted.classifies])
        if self._classifiers is not None:
            self._classifiers.pin([wanted.digest for wanted in pinned if wanted.classifies])

    def _pinned(self) -> list[_Wanted]:
        return list(dict.fromkeys(wanted for ref in self.pins for wanted in self._found(ref)))

    def _planned(self) -> list[_Wanted]:
        """Pins first, then as many of the rest as find a place. Classifiers are tried one by one: they have bytes."""
        preload = [*self._pinned(), *(wanted for ref in self._preload for wanted in self._found(ref))]
        planned = list(dict.fromkeys(preload))
        adapters = [wanted for wanted in planned if not wanted.classifies]
        kept = self._fitting(adapters)
        if len(adapters) > len(kept):
            log.warning("not all fit into memory", preload=len(adapters), places=self._residency.capacity)
        left_out = {*adapters} - {*kept}
        return [wanted for wanted in planned if wanted not in left_out]

    def _fitting(self, adapters: Sequence[_Wanted], *, spare: int = 0) -> list[_Wanted]:
        fitting = self._residency.fitting([wanted.digest for wanted in adapters], spare=spare)
        return [_Wanted(digest) for digest in fitting]

    def _found(self, ref: str) -> list[_Wanted]:
        """As `_named`, for names that may come to exist later: said once, and looked for again at every change."""
        try:
            named = self._named(ref)
        except DabtError as error:
            if ref not in self._missing and self._snapshot() is not EMPTY:
                self._missing.add(ref)
                log.warning("cannot be loaded ahead", ref=ref, error=str(error))
            return []
        self._missing.discard(ref)
        return named

    def _named(self, ref: str) -> list[_Wanted]:
        snapshot = self._snapshot()
        versions = _every_prod(snapshot) if ref == PROD else _versions(ref, snapshot)
        wanted = self._wanted(versions)
        if not wanted and ref != PROD:
            raise InvalidInput(
                f"{ref} has no adapter over the base that runs here, and is no classifier; there is nothing to load"
            )
        return wanted

    def _wanted(self, versions: Iterable[Version]) -> list[_Wanted]:
        usable = [
            version.spec
            for version in versions
            if not self._base.refusal(version) and version.state is not State.RETIRED
        ]
        loaded = ((spec.adapter or spec.classifier, spec.classifier is not None) for spec in usable)
        wanted = dict.fromkeys(_Wanted(digest, classifies) for digest, classifies in loaded if digest is not None)
        return [each for each in wanted if self._classifiers is not None or not each.classifies]

    def _gained(self, alias: Alias, before: Snapshot, after: Snapshot) -> list[_Wanted]:
        """What is loaded of the versions that this alias points at now and did not before."""
        old = before.aliases.get(alias.name, {}).get(alias.alias)
        known = {target.number for target in old.targets} if old else set()
        return self._wanted(version for version in after.behind(alias) if version.number not in known)

    def _guess(self, moved: Iterable[Digest]) -> list[Digest]:
        """Those of `moved` that may be loaded although nobody has asked for them yet."""
        asked_for = {resident.digest for resident in self._residency.residents() if resident.requests}
        here = {*self._residency.digests(), *(wanted.digest for wanted in self._ahead)}
        self._guesses = {digest for digest in self._guesses if digest in here and digest not in asked_for}
        guessed = Counter(self._residency.places(digest)[0] for digest in self._guesses)
        chosen = []
        for digest in moved:
            base, places = self._residency.places(digest)
            if digest not in here and guessed[base] < max(1, places // 4):
                guessed[base] += 1
                chosen.append(digest)
        self._guesses.update(chosen)
        return chosen

    def _load_soon(self, wanted: Iterable[_Wanted]) -> None:
        self._ahead.update(dict.fromkeys(wanted))
        if self._ahead and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._work())

    async def _work(self) -> None:
        """One at a time: a load takes a moment of the engine from those that it answers."""
        while self._ahead:
            wanted = next(iter(self._ahead))
            del self._ahead[wanted]
            await self._load(wanted)

    async def _load(self, wanted: _Wanted, *, evict: bool = True) -> None:
        kind = "classifier" if wanted.classifies else "adapter"
        try:
            if not await self._prefetch(wanted, evict=evict):
                log.info("not loaded ahead: there is no room for it", **{kind: wanted.digest})
        except DabtError as error:
            log.warning("not loaded ahead", **{kind: wanted.digest}, error=str(error))

    async def _prefetch(self, wanted: _Wanted, *, evict: bool = True) -> bool:
        if wanted.classifies and self._classifiers is not None:
            return await self._classifiers.prefetch(wanted.digest, evict=evict)
        return await self._residency.prefetch(wanted.digest)


def _warmed(ref: str, named: Sequence[_Wanted], *, pinned: bool) -> Warmed:
    adapters = tuple(wanted.digest for wanted in named if not wanted.classifies)
    classifiers = tuple(wanted.digest for wanted in named if wanted.classifies)
    return Warmed(ref=ref, adapters=adapters, classifiers=classifiers, pinned=pinned)


def _versions(text: str, snapshot: Snapshot) -> list[Version]:
    ref = Ref.parse(text)
    numbers = snapshot.versions.get(ref.name, {})
    if ref.number is not None:
        versions = [numbers[ref.number]] if ref.number in numbers else []
    else:
        alias = snapshot.aliases.get(ref.name, {}).get(str(ref.alias))
        versions = list(snapshot.behind(alias)) if alias else []
    if not versions:
        raise NotFound(f"the registry has no {text}; `dabt versions` lists what it has")
    return versions


def _moved(before: Snapshot, after: Snapshot) -> Iterator[Alias]:
    """The aliases of the names of which one has changed."""
    names = (name for name, aliases in after.aliases.items() if before.aliases.get(name) is not aliases)
    return (alias for name in names for alias in after.aliases[name].values())


def _every_prod(snapshot: Snapshot) -> list[Version]:
    prods = (aliases[PROD] for aliases in snapshot.aliases.values() if PROD in aliases)
    return [version for alias in prods for version in snapshot.behind(alias)]
