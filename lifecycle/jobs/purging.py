"""The bytes of files that are gone for their owners, and of parts of uploads that are over: the service removes them
after a deletion, a worker at times."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifecycle.registry import Registry
    from lifecycle.store.artifacts import ArtifactStore


def purge(store: ArtifactStore, registry: Registry, *, actor: str = "dabt") -> None:
    """Remove the bytes of what was deleted or has expired, and that no unfinished job reads any more.

    The bytes go before the row says so: a sweep that is killed between is done again by the next.
    """
    for file in registry.files.left():
        store.remove(file.digest)
        registry.files.purged(file.id, actor=actor)
    for part in registry.uploads.left():
        store.remove(part.digest)
        registry.uploads.purged(part.id)
