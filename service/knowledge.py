"""The indexes behind retrieval versions: fetched from the store once, kept in memory, searched off the event loop."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from lifecycle.version import Digest, Knowledge
from service.residency import Store

if TYPE_CHECKING:
    from retrieval.index import Index
    from retrieval.passage import Passage

_KEPT = 16
"""Indexes in memory; the least recently searched leaves first."""


class Library:
    """Belongs to one event loop. An index is immutable and named by digest, so what is kept is never stale."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._indexes: OrderedDict[Digest, asyncio.Task[Index]] = OrderedDict()
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
        task = self._indexes.get(digest)
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            task = asyncio.create_task(self._load(digest))
            self._indexes[digest] = task
            while len(self._indexes) > _KEPT:
                self._indexes.popitem(last=False)
        self._indexes.move_to_end(digest)
        # Shielded: a caller that leaves must not stop the load that others wait for.
        return await asyncio.shield(task)

    async def _load(self, digest: Digest) -> Index:
        from retrieval.index import Index

        path = await asyncio.to_thread(self._store.get, digest)
        return await asyncio.get_running_loop().run_in_executor(self._thread, Index.load, path)
