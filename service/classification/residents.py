"""The classifiers in memory: fetched by digest, held against their golden texts, kept within a bound of bytes.

A classifier depends on nothing that the engine runs, so every service can answer with every classifier of its registry.
Read `request.py` for what is asked of it, `batches.py` for how it computes.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Protocol

import structlog

from lifecycle.errors import AdapterUnloadable, DabtError, Overloaded
from lifecycle.manifests import ClassifierManifest
from lifecycle.version import Digest, Frozen
from service.adapters.residency import ResidencyObserver, Store
from service.classification.batches import Batches, BatchLimits
from service.classification.golden import verify
from service.classification.request import ClassificationRequest, answer_of, check_lengths
from service.concurrency import Bulkhead, Once
from service.engine.interface import Call, EngineAnswer
from service.observability.spans import span

_SLICE = 64
"""Texts that are made into tokens before another request has its turn."""
_COMPUTE_SECONDS = 60.0
"""For one batch, or the tokens of one slice."""
_LOAD_SECONDS = 300.0
_PAUSE = 5.0
"""Seconds in which a failed load is not tried again: its error is told at once."""

log = structlog.get_logger(__name__)


class Reader(Protocol):
    """What is asked of a classifier in memory: `classifier.Classifier`."""

    labels: tuple[str, ...]
    limit: int
    truncates: bool
    exclusive: bool

    def tokens(self, texts: Sequence[str], most: int | None = None) -> list[list[int]]: ...
    def logits(self, rows: Sequence[Sequence[int]]) -> list[list[float]]: ...


def load_classifier(folder: Path) -> Reader:
    """The one that is real; imports torch."""
    from service.classification.classifier import Classifier

    return Classifier.load(folder)


@dataclass
class ClassifierLimits:
    bytes: int
    """Of the weights in memory."""
    fetch: float = 120.0
    """Seconds that the artifact store may take."""
    batch: BatchLimits = field(default_factory=BatchLimits)
    clock: Callable[[], float] = time.monotonic


class ResidentClassifier(Frozen):
    """One in memory, for people to look at."""

    digest: Digest
    bytes: int
    """Of its weights."""
    pinned: bool


@dataclass(frozen=True, slots=True)
class _Resident:
    reader: Reader
    batches: Batches
    bytes: int


@dataclass(frozen=True, slots=True)
class _Failure:
    error: AdapterUnloadable
    until: float


class Classifiers:
    """Belongs to one event loop. Those that are not in memory are loaded by the first request, once for all."""

    def __init__(
        self,
        store: Store,
        manifest: Callable[[Digest], Awaitable[ClassifierManifest]],
        limits: ClassifierLimits,
        observer: ResidencyObserver,
        load: Callable[[Path], Reader] = load_classifier,
    ) -> None:
        """`manifest` says what is known of a classifier from where it was trained."""
        self._store = store
        self._manifest = manifest
        self._limits = limits
        self._observer = observer
        self._load = load
        self._fetching = Bulkhead("artifact store", at_once=8, waiting=1024, seconds=limits.fetch)
        self._loading = Bulkhead("classifier", at_once=2, waiting=1024, seconds=_LOAD_SECONDS)
        self._tokenising = Bulkhead("classifiers", at_once=1, waiting=1024, seconds=_COMPUTE_SECONDS)
        self._computing = Bulkhead("classifiers", at_once=1, waiting=1024, seconds=_COMPUTE_SECONDS)
        self._turn = asyncio.Lock()
        self._residents: OrderedDict[Digest, _Resident] = OrderedDict()  # least recently used first
        self._loads: dict[Digest, Once[_Resident]] = {}
        self._failures: dict[Digest, _Failure] = {}
        self._pinned: frozenset[Digest] = frozenset()

    async def answer(self, digest: Digest, call: Call) -> EngineAnswer:
        """Label the texts of a request that has been let in.

        Raises `InvalidInput` with every text that is too long, `AdapterUnloadable` when the classifier does not load or
        computes something else than where it was trained, `Overloaded` and `Unavailable` when it cannot answer now.
        """
        began = self._limits.clock()
        request = ClassificationRequest.of(call.body)
        resident = await self._resident(digest)
        reader = resident.reader
        rows: list[list[int]] = []
        most = request.most_tokens(reader.limit, cut=reader.truncates)
        for at in range(0, len(request.texts), _SLICE):
            rows += await self._tokenising.run(reader.tokens, request.texts[at : at + _SLICE], most)
        check_lengths([len(row) for row in rows], reader.limit)
        with span("classify", {"dabt.classifier": digest, "dabt.texts": len(rows)}):
            logits = await resident.batches.rows(rows)
        return answer_of(call, request, reader, logits, sum(map(len, rows)), self._limits.clock() - began)

    async def prefetch(self, digest: Digest, *, evict: bool = True) -> bool:
        """Load the classifier ahead of any request. False where there is no room for it: none that is free, and with
        `evict` none that another could leave.

        Raises `AdapterUnloadable` as `answer` does.
        """
        if digest not in self._residents and digest not in self._loads:
            size = (await self._manifest(digest)).bytes
            kept = self._pinned if evict else self._residents.keys()
            if size <= self._limits.bytes < size + self._bytes_of(kept):
                return False
        await self._resident(digest)
        return True

    def pin(self, digests: Collection[Digest]) -> None:
        """Keep these, once they are here, and no others."""
        self._pinned = frozenset(digests)

    def residents(self) -> list[ResidentClassifier]:
        """Least recently used first."""
        return [
            ResidentClassifier(digest=digest, bytes=resident.bytes, pinned=digest in self._pinned)
            for digest, resident in self._residents.items()
        ]

    @property
    def most_bytes(self) -> int:
        return self._limits.bytes

    def digests(self) -> list[Digest]:
        """What is here or on its way: its files should stay on disk. May be asked from any thread."""
        return [*self._residents, *self._loads]

    def bytes(self) -> int:
        """Of all weights in memory."""
        return self._bytes_of(self._residents)

    def _bytes_of(self, digests: Collection[Digest]) -> int:
        """Of those of `digests` that are here."""
        return sum(resident.bytes for digest, resident in self._residents.items() if digest in digests)

    def count(self) -> int:
        return len(self._residents)

    def failures(self) -> dict[Digest, str]:
        """Why each classifier whose newest load failed is not here."""
        return {digest: str(failure.error) for digest, failure in self._failures.items()}

    async def _resident(self, digest: Digest) -> _Resident:
        if (resident := self._residents.get(digest)) is not None:
            self._residents.move_to_end(digest)
            return resident
        failure = self._failures.get(digest)
        if failure is not None and (left := failure.until - self._limits.clock()) > 0:
            raise AdapterUnloadable(f"{failure.error} (next try in {left:.0f} s)", retry_after=left)
        load = self._loads.get(digest)
        if load is None:
            load = self._loads[digest] = Once(partial(self._loaded, digest))
        with span("load classifier", {"dabt.classifier": digest}):
            return await load.result()

    async def _loaded(self, digest: Digest) -> _Resident:
        began = self._limits.clock()
        try:
            resident = await self._made(digest)
        except DabtError as error:
            if isinstance(error, Overloaded):
                raise  # says nothing about the classifier
            told = AdapterUnloadable(str(error), retry_after=_PAUSE)
            self._failures[digest] = _Failure(told, self._limits.clock() + _PAUSE)
            self._observer.load_failed()
            log.warning("classifier failed to load", classifier=digest, error=str(error))
            raise told from error
        finally:
            self._loads.pop(digest, None)
        self._failures.pop(digest, None)
        seconds = self._limits.clock() - began
        self._observer.loaded(seconds)
        log.info("classifier loaded", classifier=digest, bytes=resident.bytes, seconds=round(seconds, 4))
        return resident

    async def _made(self, digest: Digest) -> _Resident:
        manifest = await self._manifest(digest)
        folder = await self._fetching.run(self._store.get, digest)
        size = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
        self._make_room(size, digest)
        reader = await self._loading.run(self._load, folder)
        await self._loading.run(verify, reader, manifest)
        resident = _Resident(reader, Batches(reader.logits, self._computing, self._turn, self._limits.batch), size)
        self._make_room(size, digest)  # others may have come while this one was loaded
        self._residents[digest] = resident
        return resident

    def _make_room(self, size: int, digest: Digest) -> None:
        """Those that are not pinned go, least recently used first, until `size` bytes fit. One that answers ends that
        first."""
        if size > self._limits.bytes:
            raise AdapterUnloadable(
                f"the classifier {digest} has {size / 2**30:.2f} GiB of weights, and this service keeps "
                f"{self._limits.bytes / 2**30:.2f} GiB; start it with a larger --classifier-gib"
            )
        if (pinned := self._bytes_of(self._pinned)) + size > self._limits.bytes:
            raise AdapterUnloadable(
                f"the classifier {digest} has {size / 2**30:.2f} GiB of weights, and classifiers that are pinned leave "
                f"{(self._limits.bytes - pinned) / 2**30:.2f} GiB; unpin one, or raise --classifier-gib"
            )
        idle = [other for other in self._residents if other not in self._pinned]
        while idle and self.bytes() + size > self._limits.bytes:
            del self._residents[idle.pop(0)]
            self._observer.evicted()
