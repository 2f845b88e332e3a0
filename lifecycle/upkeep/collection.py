"""`dabt gc`: folders of the store that nothing needs (`registry/need_book.py`), and that were not put lately.

It may run beside services and trainers. Each folder goes while this process is the registry's only writer and has just
seen that nothing needs it; one that was put again since it was looked at stays. Whoever publishes looks, once the
registry names the folder, whether it is still there, and puts it again otherwise (`publishing.py`). So no clock
decides; the time of grace only spares that second put, and what is on its way without a row yet.

A store that several registries share is known to none of them: what this one has never named is another's, maybe.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from lifecycle.errors import Conflict, NotFound
from lifecycle.jobs.purging import purge
from lifecycle.registry import Registry
from lifecycle.registry.need_book import Retention
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.store.stock import Holding, Stock
from lifecycle.text.counting import counted
from lifecycle.version import Digest, Frozen

GRACE = timedelta(days=7)
"""Longer than a training goes on from a folder that no version names: until its own version does."""


class Leftover(Frozen):
    """A folder that nothing needs."""

    digest: Digest
    bytes: int
    why: str


class Collection(Frozen):
    """What goes, or has gone, and what stays."""

    leftovers: tuple[Leftover, ...]
    kept: int
    """Folders that something needs."""
    kept_bytes: int
    young: int
    """Folders that nothing needs, and that were put within the time of grace."""
    strange: int
    """Folders that the registry has never named, and that are left to another one."""

    @property
    def bytes(self) -> int:
        return sum(leftover.bytes for leftover in self.leftovers)


@dataclass(frozen=True, slots=True)
class Rule:
    """What may go: see `Retention` of the registry's needs."""

    grace: timedelta = GRACE
    verdicts: bool = True
    unnamed: bool = True
    """Whether what this registry has never named goes too."""

    @property
    def retention(self) -> Retention:
        return Retention(retired=self.grace, verdicts=self.verdicts)


def look(registry: Registry, store: ArtifactStore, rule: Rule = Rule()) -> Collection:
    """What would go now. Changes nothing. Raises `Unavailable`."""
    return _sorted_out(registry, Stock(store), rule)[1]


def collect(
    registry: Registry,
    store: ArtifactStore,
    rule: Rule = Rule(),
    *,
    actor: str,
    tell: Callable[[str], object] = lambda text: None,
) -> Collection:
    """Remove what nothing needs, each with an entry in the trail. Raises `Unavailable`; what has gone then is gone."""
    purge(store, registry, actor=actor)
    stock = Stock(store)
    leftovers, collection = _sorted_out(registry, stock, rule)
    tell(f"{counted(len(leftovers), 'folder')} that nothing needs")
    gone = []
    for held, leftover in leftovers:
        try:
            remove = partial(stock.take_out, held)
            freed = registry.needs.let_go(held.digest, remove, rule.retention, why=leftover.why, actor=actor)
        except (Conflict, NotFound):
            continue  # put again since, or taken out by another
        if freed is not None:
            gone.append(leftover)
    return collection.model_copy(update={"leftovers": tuple(gone)})


def _sorted_out(registry: Registry, stock: Stock, rule: Rule) -> tuple[list[tuple[Holding, Leftover]], Collection]:
    # The store first: what was put after this look is no candidate.
    now, holdings = stock.now(), stock.holdings()
    needs = registry.needs.all(rule.retention)
    stays = [held for held in holdings if needs.keep(held.digest)]
    free = [held for held in holdings if not needs.keep(held.digest)]
    others = [held for held in free if rule.unnamed or held.digest in needs.once]
    old = [held for held in others if held.put_at <= now - rule.grace.total_seconds()]
    leftovers = [(held, Leftover(digest=held.digest, bytes=held.bytes, why=_why(held, needs.once))) for held in old]
    return leftovers, Collection(
        leftovers=tuple(leftover for _, leftover in leftovers),
        kept=len(stays),
        kept_bytes=sum(held.bytes for held in stays),
        young=len(others) - len(old),
        strange=len(free) - len(others),
    )


def _why(held: Holding, once: Mapping[Digest, str]) -> str:
    if not held.whole:
        return "left by a put that was never ended"
    return f"only of {once[held.digest]}" if held.digest in once else "nothing in the registry names it"
