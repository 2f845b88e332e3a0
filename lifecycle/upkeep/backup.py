"""`dabt backup`: the registry and the store together, as a folder that `restore.py` reads.

    <to>/artifacts/sha256/…                an artifact store: what is there already is not copied again
    <to>/backups/<moment>-r<revision>/     registry.db, and backup.json, which says what belongs to it
    <to>/tmp/…                             a backup under way; what a killed one left is never looked at

The registry is taken first. A folder of the store never changes, and is there before a row says so: what the rows of
one moment name is in the store from then on. The other way round, rows would name bytes that came after the store was
copied. Only a deletion can come between: then the registry is taken again, and what was copied is there already.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.metadata
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from pydantic import Field, ValidationError

from lifecycle.errors import Conflict, Corrupt, NotFound, Unavailable, Unreadable
from lifecycle.home import Home
from lifecycle.registry import Registry, copying
from lifecycle.registry.need_book import NeedBook, Needs
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.text.counting import counted
from lifecycle.version import Digest, Frozen

FORMAT = 1
REGISTRY, MANIFEST = "registry.db", "backup.json"
_TIMES = 20
"""The registry is taken so often before a home is said to change too fast."""


class Backup(Frozen):
    """One whole backup: `backup.json`, which is written last."""

    format: int = FORMAT
    name: str
    created_at: datetime
    release: str
    schema_version: int
    revision: int
    """The newest entry of the trail."""
    registry: str
    """Where it came from: its URL without a password."""
    registry_sha256: str
    rows: int
    keys: int
    """API keys, the digests of whose secrets `registry.db` holds."""
    artifacts: tuple[Digest, ...]
    missing: dict[Digest, str] = Field(default_factory=dict)
    """What the store lacked or held damaged, and who needed it."""


class Done(Frozen):
    """A backup, and what making it took."""

    backup: Backup
    folder: Path
    copied: int
    """Folders of the store; the others were there."""
    copied_bytes: int
    dropped: tuple[str, ...] = ()
    """Earlier backups that `keep` let go."""


def back_up(
    home: Home, to: Path, *, keep: int | None = None, allow_missing: bool = False, verify: bool = False,
    tell: Callable[[str], object] = lambda text: None,
) -> Done:  # fmt: skip
    """Make one more backup under `to`; of earlier ones the newest `keep` - 1 stay, or all.

    `verify` reads what is there already once more. Raises `Corrupt` when the store lacks what the registry needs, or
    holds it damaged, unless `allow_missing`; `Conflict` while another backup goes to the same place; `Unavailable` when
    registry, store or `to` cannot be used. An earlier backup is whole whatever happens.
    """
    with _alone(to) as staging:
        copies = ArtifactStore(str(to / "artifacts"), to / "tmp")
        store = ArtifactStore(home.artifacts_url, home.cache)
        copied: dict[Digest, int] = {}
        for _ in range(_TIMES):
            tell("the registry")
            file = staging / REGISTRY
            file.unlink(missing_ok=True)
            copying.take(home.registry_url, file)
            needs = _needs_of(file)
            wanted = [*needs.required, *(digest for digest in sorted(needs.mentioned) if store.has(digest))]
            missing = {}
            tell(counted(len(wanted), "artifact"))
            for digest in wanted:
                try:
                    if (size := _copy(digest, store, copies, again=verify)) is not None:
                        copied[digest] = size
                except (NotFound, Corrupt):
                    missing[digest] = needs.required.get(digest, "")
            missing = {digest: who for digest, who in missing.items() if who}
            if not missing or missing.keys() <= _needs_of_now(home, staging).required.keys():
                break
        else:
            raise Unavailable("the home changes too fast to be backed up: files are deleted all the time; try again", 5)
        if missing and not allow_missing:
            told = "".join(f"\n  {digest}: needed by {who}" for digest, who in missing.items())
            raise Corrupt(
                f"the store {store.url} lacks what the registry needs, or holds it damaged; `dabt doctor --deep` says "
                f"how to cure it, and --allow-missing backs up the rest:{told}"
            )
        artifacts = tuple(sorted(digest for digest in wanted if digest not in missing and copies.has(digest)))
        backup = _describe(home, file, artifacts, missing)
        folder = _into_place(staging, to, backup)
        return Done(
            backup=backup, folder=folder, copied=len(copied), copied_bytes=sum(copied.values()),
            dropped=tuple(_drop(to, keep)) if keep is not None else (),
        )  # fmt: skip


def backups(to: Path) -> list[Backup]:
    """The whole ones, oldest first. Raises `Unreadable` for one that another release wrote in another form."""
    return [read(file.parent) for file in sorted((to / "backups").glob(f"*/{MANIFEST}"))]


def read(folder: Path) -> Backup:
    """Raises `NotFound` when there is none, and `Unreadable`."""
    try:
        text = (folder / MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{folder} is no whole backup: it has no {MANIFEST}") from error
    try:
        backup = Backup.model_validate_json(text)
    except ValidationError as error:
        raise Unreadable(f"{folder / MANIFEST} cannot be read; use the release that wrote it") from error
    if backup.format != FORMAT:
        raise Unreadable(f"{folder} has format {backup.format}, and this release reads {FORMAT}; use the newer release")
    return backup


def sha256_of_file(file: Path) -> str:
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def _copy(digest: Digest, store: ArtifactStore, copies: ArtifactStore, *, again: bool) -> int | None:
    """The bytes that were copied; None where the folder was there. Raises `NotFound` and `Corrupt`."""
    if copies.has(digest):
        if not again:
            return None
        try:
            copies.verify(digest)
            return None
        except Corrupt:
            pass  # put again below, from the store
    folder = store.get(digest)
    copies.put(folder)
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _needs_of(file: Path) -> Needs:
    with copying.opened(file) as database:
        return NeedBook(database).all()


def _needs_of_now(home: Home, staging: Path) -> Needs:
    """Also of a registry that an earlier release made: it is left at its schema."""
    copying.take(home.registry_url, file := staging / "again.db")
    try:
        return _needs_of(file)
    finally:
        file.unlink()


def _describe(home: Home, file: Path, artifacts: tuple[Digest, ...], missing: dict[Digest, str]) -> Backup:
    stamp = copying.stamp_of(file)
    at = datetime.now(UTC)
    with closing(Registry.later(home.registry_url, new=False)) as registry:
        source = registry.name
    return Backup(
        name=f"{at:%Y%m%dT%H%M%S.%fZ}-r{stamp.revision}",
        created_at=at,
        release=importlib.metadata.version("dabt"),
        schema_version=stamp.schema,
        revision=stamp.revision,
        registry=source,
        registry_sha256=sha256_of_file(file),
        rows=stamp.rows,
        keys=stamp.keys,
        artifacts=artifacts,
        missing=missing,
    )


def _into_place(staging: Path, to: Path, backup: Backup) -> Path:
    """In one step, when all of it is on the disk."""
    (staging / MANIFEST).write_text(backup.model_dump_json(indent=2) + "\n", encoding="utf-8")
    for path in (staging / REGISTRY, staging / MANIFEST, staging):
        _sync(path)
    folder = to / "backups" / backup.name
    folder.parent.mkdir(exist_ok=True)
    staging.rename(folder)
    _sync(folder.parent)
    return folder


def _drop(to: Path, keep: int) -> Iterator[str]:
    """All but the newest `keep`, and the artifacts that none of those needs."""
    kept = backups(to)[-keep:]
    names = {backup.name for backup in kept}
    for folder in sorted((to / "backups").iterdir()):
        if folder.name not in names:
            # Its manifest first: half of it is then no backup any more.
            (folder / MANIFEST).unlink(missing_ok=True)
            shutil.rmtree(folder)
            yield folder.name
    needed = {digest for backup in kept for digest in backup.artifacts}
    copies = ArtifactStore(str(to / "artifacts"), to / "tmp")
    for folder in (to / "artifacts" / "sha256").glob("*"):
        digest = f"sha256:{folder.name}"
        if folder.is_dir() and digest not in needed:
            copies.remove(digest)


@contextmanager
def _alone(to: Path) -> Iterator[Path]:
    """A folder to fill, which nobody else sees; gone afterwards unless it was moved into place."""
    try:
        to.mkdir(parents=True, exist_ok=True)
        with (to / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise Conflict(f"another backup goes to {to} just now; wait for it, or use another folder") from error
            shutil.rmtree(to / "tmp", ignore_errors=True)  # of one that was killed: nobody else is here
            staging = to / "tmp" / uuid.uuid4().hex
            staging.mkdir(parents=True, mode=0o700)
            try:
                yield staging
            finally:
                shutil.rmtree(to / "tmp", ignore_errors=True)
    except OSError as error:
        raise Unavailable(f"{to} cannot be written: {error}; free some space there, or use another folder") from error


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
