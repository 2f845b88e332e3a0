"""What the artifact store must hold, because something in the registry needs it: `registry.needs`.

Needed is what a version that is not retired is made of, also where that is the whole weights that it is over; what a
retired one is made of that an alias or an unfinished job needs; each name's newest index; and files. What a verdict was
about, and what trainings went on from, is kept where it is there. Whatever else such a row names is left alone too:
this release may not know it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, get_args

from sqlalchemy import Connection, Row, func, select

from lifecycle.jobs.states import ENDED
from lifecycle.registry import audit, file_book, tables
from lifecycle.registry.database import Database, now
from lifecycle.states import State
from lifecycle.version import ArtifactKind, Digest

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_KINDS: tuple[str, ...] = get_args(ArtifactKind)


@dataclass(frozen=True, slots=True)
class Retention:
    """For how long, and for what, the bytes of a retired version are kept."""

    retired: timedelta = timedelta(0)
    """After it was retired: a request to it may be under way."""
    verdicts: bool = True
    """Whether a verdict on it needs them."""


@dataclass(frozen=True, slots=True)
class Needs:
    """Digests of folders in the store."""

    required: Mapping[Digest, str]
    """What must be there, and who needs it: `triage:3`, a file's id, an index's name."""
    mentioned: frozenset[Digest]
    """What is left alone where it is there: bytes on their way, and whatever a row that counts names."""
    once: Mapping[Digest, str]
    """Needed no more, with who needed it before."""

    def keep(self, digest: Digest) -> bool:
        return digest in self.required or digest in self.mentioned


class NeedBook:
    """Safe to share between threads and processes, as the registry is."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen: tuple[int, Retention, Needs] | None = None
        """As of a revision."""

    def all(self, retention: Retention = Retention()) -> Needs:
        with self._database.read() as tx:
            return _needs(tx, retention)

    def let_go(
        self, digest: Digest, remove: Callable[[], int], retention: Retention, *, why: str, actor: str
    ) -> int | None:
        """Have the bytes removed, unless something needs them by now: None then, and what `remove` freed otherwise.

        Nobody else writes meanwhile: who registers the digest later finds the bytes gone, and puts them again
        (`publishing.publish`). What `remove` raises leaves no entry in the trail.
        """
        with self._database.write() as tx:
            needs = self._of_now(tx, retention)
            if needs.keep(digest) or _comes(tx, digest):
                return None
            freed = remove()
            audit.append(tx, actor, "artifact.collect", digest, {"bytes": freed}, why)
            revision = audit.newest(tx)
        self._seen = (revision, retention, needs)
        return freed

    def _of_now(self, tx: Connection, retention: Retention) -> Needs:
        """The same as long as nobody has changed anything: one look at all rows for a thousand folders."""
        if self._seen is None or self._seen[:2] != (audit.newest(tx), retention):
            return _needs(tx, retention)
        return self._seen[2]


def _needs(tx: Connection, retention: Retention) -> Needs:
    required: dict[Digest, str] = {}
    mentioned: set[Digest] = set()
    once = dict.fromkeys(tx.execute(select(tables.artifacts.c.digest)).scalars(), "an artifact of no version")
    once |= {row.digest: f"the file {row.id}" for row in tx.execute(select(tables.files))}
    versions = tx.execute(select(tables.versions).order_by(tables.versions.c.id)).all()
    in_use, spared = _in_use(tx), _spared(tx, retention)
    live = [row for row in versions if row.state != State.RETIRED.value or _ref(row) in in_use]
    for row in versions:
        for digest in _made_of(row):
            once[digest] = f"{_ref(row)}, which is retired"
    for row in live:
        for digest in _made_of(row):
            required.setdefault(digest, _ref(row))
    spared |= {_ref(row) for row in live}
    for row in versions:
        if _ref(row) in spared:
            mentioned |= _digests_in(row.spec, row.lineage)
    required |= {digest: who for digest, who in _weights_below(tx, live).items() if digest not in required}
    mentioned |= _ancestors(versions, mentioned | required.keys())
    newest = select(func.max(tables.indexes.c.id)).group_by(tables.indexes.c.name)
    for index in tx.execute(select(tables.indexes).order_by(tables.indexes.c.id)):
        once[index.digest] = f"an earlier index {index.name}"
    for index in tx.execute(select(tables.indexes).where(tables.indexes.c.id.in_(newest))):
        required.setdefault(index.digest, f"the index {index.name}")
    for digest, who in file_book.needed(tx).items():
        required.setdefault(digest, who)
    files = tables.files.c
    mentioned |= set(tx.execute(select(files.digest).where(files.purged_at.is_(None))).scalars())
    mentioned |= set(tx.execute(select(tables.upload_parts.c.digest)).scalars())
    jobs = tables.jobs.c  # what is kept of their runs goes with them, by a worker's sweep
    mentioned |= _digests_in(*tx.execute(select(jobs.progress).where(jobs.state.not_in(ENDED))).scalars())
    return Needs(required, frozenset(mentioned - required.keys()), once)


def _comes(tx: Connection, digest: Digest) -> bool:
    """Whether the bytes of a file or part are announced: those rows stand before their bytes, and in no trail."""
    files, parts = tables.files.c, tables.upload_parts.c
    asked = (
        select(files.number).where((files.digest == digest) & files.purged_at.is_(None)),
        select(parts.number).where(parts.digest == digest),
    )
    return any(tx.execute(query.limit(1)).first() is not None for query in asked)


def _ref(row: Row[Any]) -> str:
    return f"{row.name}:{row.number}"


def _made_of(row: Row[Any]) -> list[Digest]:
    """Read from the stored recipe itself: one of another release counts too."""
    spec = row.spec if isinstance(row.spec, dict) else {}
    named = [spec.get(kind) for kind in _KINDS]
    if isinstance(knowledge := spec.get("knowledge"), dict):
        named.append(knowledge.get("index"))
    return [digest for digest in named if isinstance(digest, str)]


def _digests_in(*bodies: Any) -> set[Digest]:
    return set(_DIGEST.findall(json.dumps(bodies)))


def _in_use(tx: Connection) -> set[str]:
    """Refs of versions that an unfinished job or an alias needs."""
    jobs = tables.jobs.c
    kept = {row.request.get("start", "") for row in tx.execute(select(jobs.request).where(jobs.state.not_in(ENDED)))}
    moves = select(tables.moves).join(tables.aliases, tables.aliases.c.move == tables.moves.c.id)
    for move in tx.execute(moves):
        kept |= {f"{move.name}:{target['number']}" for target in move.targets}
    return kept


def _spared(tx: Connection, retention: Retention) -> set[str]:
    """Refs of versions whose bytes stay, retired or not, where they are there."""
    kept = set[str]()
    verdicts, trail = tables.verdicts.c, tables.audit.c
    if retention.verdicts:
        judged = select(tables.versions).where(tables.versions.c.id.in_(select(verdicts.version_id)))
        kept |= {_ref(row) for row in tx.execute(judged)}
    if retention.retired:
        lately = (trail.action == "version.state") & (trail.at > now(tx) - retention.retired)
        kept |= set(tx.execute(select(trail.subject).where(lately)).scalars())
    return kept


def _weights_below(tx: Connection, live: Iterable[Row[Any]]) -> dict[Digest, str]:
    """Whole weights that are in the store, and are the base of a version that counts."""
    bases = {str(row.spec.get("base")): _ref(row) for row in live if isinstance(row.spec, dict)}
    here = select(tables.artifacts).where(tables.artifacts.c.kind == "weights")
    found = ((row.digest, row.manifest.get("base")) for row in tx.execute(here))
    return {digest: bases[base] for digest, base in found if base in bases}


def _ancestors(versions: Iterable[Row[Any]], of: set[Digest]) -> set[Digest]:
    """What the trainings of these artifacts went on from, as far back as is known."""
    parents: dict[Digest, set[Digest]] = {}
    for row in versions:
        for digest in _made_of(row):
            parents.setdefault(digest, set()).update(_digests_in(row.lineage.get("started_from", "")))
    found: set[Digest] = set()
    ahead = list(of)
    while ahead:
        new = parents.get(ahead.pop(), set()) - found
        found |= new
        ahead += new
    return found
