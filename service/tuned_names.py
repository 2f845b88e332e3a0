"""What OpenAI's clients call the result of a job, `ft:base:dabt:suffix:id`: the version behind it, for its owner.

A name means one version until it is deleted, so what was read once is kept. Read `resolution.py` for what comes of it.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from contextlib import suppress
from dataclasses import replace

from lifecycle.errors import Unavailable
from lifecycle.jobs.nouns import TunedModel
from lifecycle.registry.job_book import JobBook
from lifecycle.states import State
from lifecycle.version import Ref
from service.catalogue import Catalogue
from service.concurrency import Bulkhead
from service.resolution import Caller

_PREFIX = "ft:"
_KEPT = 4096
"""Names in memory; the least recently called leaves first."""
_SECONDS = 2.0
"""That a list waits for the registry."""


class TunedNames:
    """Belongs to one event loop."""

    def __init__(self, jobs: JobBook, catalogue: Catalogue, at_registry: Bulkhead) -> None:
        self._jobs = jobs
        self._catalogue = catalogue
        self._at_registry = at_registry
        self._known: OrderedDict[str, TunedModel] = OrderedDict()
        self._owned: dict[str, tuple[int | None, list[TunedModel]]] = {}
        """By owner: those that it had at a revision of the registry."""

    async def caller(self, caller: Caller, model: object) -> Caller:
        """`caller`, who may call `model` too, where that is the name of what a job of its own has made.

        Raises `Unavailable` when the registry is away and the name was not read before.
        """
        if not isinstance(model, str) or not model.startswith(_PREFIX):
            return caller
        tuned = self._known.get(model)
        if tuned is None or self._is_retired(tuned):
            self.forget(model)
            tuned = await self._at_registry.run(self._jobs.tuned, model)
        if tuned is None or tuned.owner != caller.owner:
            return caller
        self._known[model] = tuned
        self._known.move_to_end(model)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        ref = Ref.parse(tuned.version)
        if self._catalogue.snapshot.version(ref.name, ref.number or 0) is None:
            await self._at_registry.run(self._catalogue.refresh)  # it was made since the last look
        return replace(caller, tuned=tuned)

    async def all(self, caller: Caller) -> list[TunedModel]:
        """The caller's, as they were last read while the registry is away."""
        owner, revision = caller.owner, self._catalogue.snapshot.revision
        read_at, tuned = self._owned.get(owner, (None, []))
        if read_at != revision:
            with suppress(Unavailable, TimeoutError):
                async with asyncio.timeout(_SECONDS):
                    tuned = await self._at_registry.run(self._jobs.all_tuned, owner)
                self._owned[owner] = revision, tuned
        return tuned

    def forget(self, model: str) -> None:
        """It was deleted here. Elsewhere it is read again once its version is retired."""
        self._known.pop(model, None)

    def _is_retired(self, tuned: TunedModel) -> bool:
        ref = Ref.parse(tuned.version)
        version = self._catalogue.snapshot.version(ref.name, ref.number or 0)
        return version is not None and version.state is State.RETIRED
