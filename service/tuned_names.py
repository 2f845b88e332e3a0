"""What OpenAI's clients call the result of a job, `ft:base:dabt:suffix:id`: the version behind it, for its owner.

A name means one version for good, so what was read once is kept. Read `resolution.py` for what comes of it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import replace

from lifecycle.jobs.nouns import TunedModel
from lifecycle.registry.job_book import JobBook
from lifecycle.version import Ref
from service.catalogue import Catalogue
from service.concurrency import Bulkhead
from service.resolution import Caller

_PREFIX = "ft:"
_KEPT = 4096
"""Names in memory; the least recently called leaves first."""


class TunedNames:
    """Belongs to one event loop."""

    def __init__(self, jobs: JobBook, catalogue: Catalogue, at_registry: Bulkhead) -> None:
        self._jobs = jobs
        self._catalogue = catalogue
        self._at_registry = at_registry
        self._known: OrderedDict[str, TunedModel] = OrderedDict()

    async def caller(self, caller: Caller, model: object) -> Caller:
        """`caller`, who may call `model` too, where that is the name of what a job of its own has made.

        Raises `Unavailable` when the registry is away and the name was not read before.
        """
        if not isinstance(model, str) or not model.startswith(_PREFIX):
            return caller
        tuned = self._known.get(model)
        if tuned is None:
            tuned = await self._at_registry.run(self._jobs.tuned, model)
        if tuned is None or tuned.owner != ("" if caller.key is None else caller.key.owner):
            return caller
        self._known[model] = tuned
        self._known.move_to_end(model)
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)
        ref = Ref.parse(tuned.version)
        if self._catalogue.snapshot.version(ref.name, ref.number or 0) is None:
            await self._at_registry.run(self._catalogue.refresh)  # it was made since the last look
        return replace(caller, tuned=tuned)
