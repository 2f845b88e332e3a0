"""The indexes behind retrieval versions: fetched from the store once, kept in memory, searched off the event loop."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from lifecycle.version import Digest, Knowledge, RetrieverStage
from service.adapters.residency import Store
from service.concurrency import Bulkhead, Once

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.index import Index
    from retrieval.passage import Retrieved
    from retrieval.pipeline import Pipeline

K = TypeVar("K")
T = TypeVar("T")

_KEPT = 16
"""Indexes in memory, and rows of stages; the least recently searched leaves first."""
_LOAD_SECONDS = 300.0
"""For an index and its embedding model, which may have to come from the hub."""
_SEARCH_SECONDS = 30.0


class Library:
    """Belongs to one event loop. An index is immutable and named by digest, so what is kept is never stale."""

    def __init__(
        self,
        store: Store,
        fetch_seconds: float = 120.0,
        load_seconds: float = _LOAD_SECONDS,
        base: Path | None = None,
        beside: Mapping[Digest, Path] | None = None,
    ) -> None:
        """`fetch_seconds` is how long the store may take for an index, `load_seconds` how long its loading may, and
        that of a version's stages. `base` is the folder of the model that reads the passages; `beside` has others'.
        """
        self._store = store
        self._base = base
        self._beside = beside or {}
        self._indexes: OrderedDict[Digest, Once[Index]] = OrderedDict()
        self._pipelines: OrderedDict[tuple[Digest, tuple[RetrieverStage, ...], Path | None], Once[Pipeline]]
        self._pipelines = OrderedDict()
        self._fetching = Bulkhead("artifact store", at_once=_KEPT, waiting=1024, seconds=fetch_seconds)
        # Apart from searches: an embedding model that a hub does not send must not hold them up.
        self._loading = Bulkhead("retrieval", at_once=4, waiting=1024, seconds=load_seconds)
        # One at a time: the dense encoder is not made for several, and would take the engine's cores.
        self._searching = Bulkhead("retrieval", at_once=1, waiting=1024, seconds=_SEARCH_SECONDS)

    @property
    def in_memory(self) -> int:
        """How many indexes."""
        return len(self._indexes)

    async def search(self, knowledge: Knowledge, query: str, base: Digest = "") -> Retrieved:
        """The best passages for the model `base`, best first, and what of them was left out.

        Raises `NotFound` or `Corrupt` when the store lacks the index, `Corrupt` or `InvalidConfig` when a stage is not
        what the version was made with, and `Unavailable` when the store, the hub or a search takes too long.
        """
        index = await self.index(knowledge.index)
        if not knowledge.stages:
            return await self._searching.run(_searched, index, query, knowledge.top_k)
        reader = self._beside.get(base, self._base)
        make = partial(self._load_pipeline, index, knowledge.stages, reader)
        pipeline = await _kept(self._pipelines, (knowledge.index, knowledge.stages, reader), make)
        return await self._searching.run(pipeline.search, query, knowledge.top_k)

    async def index(self, digest: Digest) -> Index:
        """Whole and in memory. Raises what `search` raises."""
        return await _kept(self._indexes, digest, partial(self._load, digest))

    async def _load_pipeline(self, index: Index, stages: tuple[RetrieverStage, ...], base: Path | None) -> Pipeline:
        return await self._loading.run(_load_stages, index, stages, base)

    async def _load(self, digest: Digest) -> Index:
        path = await self._fetching.run(self._store.get, digest)
        return await self._loading.run(_load_warm, path)


def _load_warm(path: Path) -> Index:
    """With its embedding model in memory: no search has to load it, so none of them is measured as slow."""
    from retrieval.index import Index

    index = Index.load(path)
    index.warm()
    return index


def _searched(index: Index, query: str, top_k: int) -> Retrieved:
    from retrieval.passage import Retrieved

    return Retrieved(tuple(index.search(query, top_k)))


def _load_stages(index: Index, stages: tuple[RetrieverStage, ...], base: Path | None) -> Pipeline:
    from retrieval.pipeline import Pipeline
    from retrieval.stages.stage import Surroundings

    return Pipeline.load(stages, Surroundings(index, base))


async def _kept(of: OrderedDict[K, Once[T]], key: K, make: Callable[[], Coroutine[Any, Any, T]]) -> T:
    if key not in of:
        of[key] = Once(make)
        while len(of) > _KEPT:
            of.popitem(last=False)
    of.move_to_end(key)
    return await of[key].result()
