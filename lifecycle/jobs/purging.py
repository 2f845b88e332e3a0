"""The bytes of files that are gone for their owners: the service removes them after a deletion, a worker at times."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lifecycle.registry.file_book import FileBook
    from lifecycle.store.artifacts import ArtifactStore


def purge(store: ArtifactStore, files: FileBook) -> None:
    """Remove the bytes of what was deleted or has expired, and that no unfinished job reads any more."""
    for file in files.left():
        store.remove(file.digest)
        files.purged(file.id)
