"""The indexes behind retrieval versions: fetched from the store once, kept in memory, searched off the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING

from lifecycle.version import Digest, Knowledge
from service.adapters.residency import Store
from service.bulkhead import Bulkhead
from service.once import Once

if TYPE_CHECKING:
    from pathlib import Path

    from retrieval.index import Index
    from retrieval.passage import Passage

_KEPT = 16
"""Indexes in memory; the least recently searched leaves first."""


class Library:
    """Belongs to one event loop. An index is immutable and named by digest, so what is kept is never stale."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indexes: OrderedDict[Digest, Once[Index]] = OrderedDict()
        self._fetching = Bulkhead("artifact store", at_once=_KEPT, waiting=1024)
        # One thread: the dense encoder is not made for several, and would take the engine's cores.
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="retrieval")

    async def search(self, knowledge: Knowledge, query: str) -> list[Passage]:
        """The best passages, best first. Raises `NotFound` or `Corrupt` when the store lacks the index."""
        index = await self._index(knowledge.index)
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, index.search, query, knowledge.top_k)

    def close(self) -> None:
        self._thread.shutdown(wait=False, cancel_futures=True)

    async def _index(self, digest: Digest) -> Index:
        if digest not in self._indexes:
            self._indexes[digest] = Once(partial(self._load, digest))
            while len(self._indexes) > _KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(digest)
        return await self._indexes[digest].result()

    async def _load(self, digest: Digest) -> Index:
        path = await self._fetching.run(self._store.get, digest)
        return await asyncio.get_running_loop().run_in_executor(self._thread, _load_warm, path)


def _load_warm(path: Path) -> Index:
    """With its embedding model in memory: no search has to load it, so none of them is measured as slow."""
    from retrieval.index import Index

    index = Index.load(path)
    index.warm()
    return index
