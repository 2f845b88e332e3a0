"""Documents → an index in the artifact store, known to the registry by name. `cli.py` and the demo call it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from lifecycle.errors import NotFound
from lifecycle.version import Digest
from retrieval.config import IndexConfig
from retrieval.index import plan_index, write_index

if TYPE_CHECKING:
    from lifecycle.registry import Registry
    from lifecycle.store.artifacts import ArtifactStore


def publish_index(
    documents: Path, name: str, config: IndexConfig, *, store: ArtifactStore, registry: Registry
) -> tuple[Digest, bool]:
    """The index's digest, and whether it was built now. One of the same recipe under `name` is taken as it is.

    Raises what `retrieval.index.build_index` raises.
    """
    plan = plan_index(documents, config)
    try:
        known = registry.index(name)
    except NotFound:
        known = None
    if known is not None and known.facts.get("recipe") == plan.facts.recipe and store.has(known.digest):
        return known.digest, False
    with tempfile.TemporaryDirectory(prefix="dabt-index-") as folder:
        facts = write_index(plan, Path(folder))
        digest = store.put(Path(folder))
        registry.add_index(name, digest, facts.model_dump(mode="json"))
        if not store.complete(digest):
            store.put(Path(folder))  # `dabt gc` came between the bytes and the row that names them
    return digest, True
