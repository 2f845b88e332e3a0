"""`dabt restore`: a backup (`backup.py`) into a registry that holds nothing, and any store.

The kind of either may be another than it was. Artifacts come first, each held against its digest: a restore that is
killed leaves a registry with nothing in it, and folders that the next one finds. Adding folders to a store that others
use takes nothing from them. The registry comes last, in one transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

from lifecycle.errors import Corrupt, NotAllowed, NotFound, Unreadable
from lifecycle.home import Home
from lifecycle.registry import Registry, copying, tables
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.store.stock import Stock
from lifecycle.text.counting import counted
from lifecycle.upkeep.backup import REGISTRY, Backup, backups, read, sha256_of_file
from lifecycle.version import Digest, Frozen


class Restored(Frozen):
    backup: Backup
    rows: int
    artifacts: int


def restore(
    home: Home, source: Path, *, at: str = "", actor: str, tell: Callable[[str], object] = lambda text: None
) -> Restored:
    """Put back the newest whole backup under `source`, or the one that `at` names.

    Raises `NotFound` when there is none, `NotAllowed` when the registry holds anything, `Corrupt` when the backup is
    not what was written, `Unreadable` for one of a newer release, and `Unavailable`. Nothing is in the registry then.
    """
    folder = _chosen(source, at)
    backup = read(folder)
    file = folder / REGISTRY
    if not file.is_file() or sha256_of_file(file) != backup.registry_sha256:
        raise Corrupt(f"{file} is not what was backed up; `dabt restore {source} --list` names other backups")
    if backup.schema_version > tables.SCHEMA_VERSION:
        raise Unreadable(
            f"{folder} was made by release {backup.release} with schema {backup.schema_version}, and this release "
            f"reads {tables.SCHEMA_VERSION}; use that release"
        )
    if not copying.is_empty(home.registry_url):
        raise NotAllowed(
            f"the registry of {home.root} holds something already, and nothing is restored over it; name a new home by "
            "--home or DABT_HOME, or another registry by DABT_REGISTRY_URL"
        )
    copies = ArtifactStore(str(source / "artifacts"), source / "tmp")
    store = ArtifactStore(home.artifacts_url, home.cache)
    tell(counted(len(backup.artifacts), "artifact"))
    for digest in backup.artifacts:
        try:
            store.put(copies.get(digest))
        except NotFound as error:
            raise Corrupt(f"the backup {folder} lacks {digest}; use another backup") from error
    tell("the registry")
    detail = {"backup": backup.name, "release": backup.release, "revision": backup.revision}
    rows = copying.put_back(file, home.registry_url, actor=actor, detail=detail, reason=f"from {backup.registry}")
    home.last_known.unlink(missing_ok=True)  # of a registry that was there before
    return Restored(backup=backup, rows=rows, artifacts=len(backup.artifacts))


def mend(home: Home, source: Path) -> dict[Digest, str]:
    """Put back, from any backup under `source`, what the registry needs and the store lacks or holds damaged.

    The registry stays as it is. Returns those that are back, with who needs them. Raises `NotFound` when no backup has
    one of them, naming all of those; the others are back then.
    """
    copies = ArtifactStore(str(source / "artifacts"), source / "tmp")
    store = ArtifactStore(home.artifacts_url, home.cache)
    stock = Stock(store)
    with closing(Registry.later(home.registry_url, new=False)) as registry:
        required = registry.needs.all().required
    back: dict[Digest, str] = {}
    lacking: dict[Digest, str] = {}
    for digest, who in required.items():
        try:
            stock.verify(digest)
            continue
        except (NotFound, Corrupt):
            pass
        try:
            copy = copies.get(digest)
        except (NotFound, Corrupt):
            lacking[digest] = who
            continue
        store.remove(digest)  # an object store would keep what is damaged
        store.put(copy)
        back[digest] = who
    if lacking:
        told = "".join(f"\n  {digest}: needed by {who}" for digest, who in lacking.items())
        raise NotFound(f"{source} has no whole copy of these; {len(back)} others are back:{told}")
    return back


def _chosen(source: Path, at: str) -> Path:
    if at:
        if at not in {backup.name for backup in backups(source)}:
            raise NotFound(f"{source} holds no whole backup {at}; `dabt restore {source} --list` names them")
        return source / "backups" / at
    found = backups(source)
    if not found:
        raise NotFound(f"{source} holds no whole backup; make one with `dabt backup {source}`")
    return source / "backups" / found[-1].name
