"""The indexes behind retrieval versions: fetched from the store once, kept in memory, searched off the event loop."""

from __future__ import annotations

from collections import OrderedDict
from functools import partial
from typing import TYPE_CHECKING

from lifecycle.version import Digest, Knowledge
from service.adapters.residency import Store
from service.concurrency import Bulkhead, Once

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.index import Index
    from retrieval.passage import Passage

_KEPT = 16
"""Indexes in memory; the least recently searched leaves first."""
_LOAD_SECONDS = 300.0
"""For an index and its embedding model, which may have to come from the hub."""
_SEARCH_SECONDS = 30.0


class Library:
    """Belongs to one event loop. An index is immutable and named by digest, so what is kept is never stale."""

    def __init__(self, store: Store, fetch_seconds: float = 120.0, load_seconds: float = _LOAD_SECONDS) -> None:
        """`fetch_seconds` is how long the store may take for an index, `load_seconds` how long its loading may."""
        self._store = store
        self._indexes: OrderedDict[Digest, Once[Index]] = OrderedDict()
        self._fetching = Bulkhead("artifact store", at_once=_KEPT, waiting=1024, seconds=fetch_seconds)
        # Apart from searches: an embedding model that a hub does not send must not hold them up.
        self._loading = Bulkhead("retrieval", at_once=4, waiting=1024, seconds=load_seconds)
        # One at a time: the dense encoder is not made for several, and would take the engine's cores.
        self._searching = Bulkhead("retrieval", at_once=1, waiting=1024, seconds=_SEARCH_SECONDS)

    async def search(self, knowledge: Knowledge, query: str) -> list[Passage]:
        """The best passages, best first.

        Raises `NotFound` or `Corrupt` when the store lacks the index, and `Unavailable` when the store, the hub or a
        search takes too long.
        """
        index = await self._index(knowledge.index)
        return await self._searching.run(index.search, query, knowledge.top_k)

    async def _index(self, digest: Digest) -> Index:
        if digest not in self._indexes:
            self._indexes[digest] = Once(partial(self._load, digest))
            while len(self._indexes) > _KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(digest)
        return await self._indexes[digest].result()

    async def _load(self, digest: Digest) -> Index:
        path = await self._fetching.run(self._store.get, digest)
        return await self._loading.run(_load_warm, path)


def _load_warm(path: Path) -> Index:
    """With its embedding model in memory: no search has to load it, so none of them is measured as slow."""
    from retrieval.index import Index

    index = Index.load(path)
    index.warm()
    return index
