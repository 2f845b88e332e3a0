"""Whether an artifact store answers: one look for what no store holds."""

from __future__ import annotations

from pathlib import Path

from lifecycle.errors import Unavailable
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest

_NOTHING: Digest = f"sha256:{'0' * 64}"


def ask(store: ArtifactStore) -> None:
    """Raises `Unavailable`: the remote store cannot be reached, or the folder's place is not there."""
    protocol, separator, rest = store.url.partition("://")
    if separator and protocol not in ("file", "local"):
        store.has(_NOTHING)
        return
    folder = Path(rest if separator else store.url).expanduser()
    if not folder.absolute().parent.is_dir():  # the folder itself is made when something is put there
        raise Unavailable(f"the store {folder} is not there")
