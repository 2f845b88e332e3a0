"""Rows of the registry's tables as the nouns they hold, read within a transaction that the caller has open."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, Table, func, select

from lifecycle.aliases import PROD
from lifecycle.errors import Corrupt, InvalidInput, NotFound, Unreadable
from lifecycle.gates import Gate
from lifecycle.manifests import MANIFESTS, Manifest
from lifecycle.registry import alias_stack, tables
from lifecycle.registry.readable import valid
from lifecycle.report import Report
from lifecycle.verdict import Verdict
from lifecycle.version import Digest, Frozen, Ref, Version


class IndexRecord(Frozen):
    """A knowledge index in the artifact store. `facts` are what its builder told of it (documents, passages, …)."""

    name: str
    digest: Digest
    facts: dict[str, Any]
    created_at: datetime


def first(tx: Connection, table: Table, where: ColumnElement[bool]) -> Row[Any] | None:
    """The newest row that fits."""
    order = table.c.id.desc() if "id" in table.c else table.c.created_at.desc()
    return tx.execute(select(table).where(where).order_by(order).limit(1)).first()


def version_row(tx: Connection, ref: str | Ref) -> Row[Any]:
    """Raises `NotFound`, and `InvalidInput` for an alias that is split over several versions."""
    ref = Ref.parse(ref) if isinstance(ref, str) else ref
    number = ref.number
    if number is None:
        targets = alias_stack.get(tx, ref.name, ref.alias or PROD).targets
        if len(targets) > 1:
            split = ", ".join(f"{ref.name}:{target.number}" for target in targets)
            raise InvalidInput(f"{ref} is split over {split}; name one of them")
        number = targets[0].number
    here = (tables.versions.c.name == ref.name) & (tables.versions.c.number == number)
    if (row := first(tx, tables.versions, here)) is None:
        raise NotFound(f"there is no version {ref}; `dabt versions {ref.name}` lists what there is")
    return row


def to_version(row: Row[Any]) -> Version:
    """Raises `Unreadable`, and `Corrupt` when the stored recipe does not have the digest that it was created with."""
    columns = {key: value for key, value in row._mapping.items() if key not in ("id", "digest")}
    version = valid(Version, columns, f"{row.name}:{row.number}")
    if version.digest != row.digest:
        raise Corrupt(
            f"the recipe of {version.ref} in the registry has digest {version.digest} and was created as {row.digest}; "
            "it was changed by hand, or by another release"
        )
    return version


def artifact_row(tx: Connection, digest: Digest) -> Row[Any] | None:
    return first(tx, tables.artifacts, tables.artifacts.c.digest == digest)


def artifact(tx: Connection, digest: Digest, told: str = "artifact") -> Manifest:
    """`told` is what it was asked for as. Raises `NotFound`, and `Unreadable` for a kind of another release."""
    if (row := artifact_row(tx, digest)) is None:
        raise NotFound(f"no {told} {digest} is registered; train it, or `dabt import` its folder")
    return to_manifest(row)


def to_manifest(row: Row[Any]) -> Manifest:
    if row.kind not in MANIFESTS:
        raise Unreadable(f"{row.digest} is an artifact of the kind {row.kind}; upgrade to the release that wrote it")
    return valid(MANIFESTS[row.kind], row.manifest, row.digest)


def index(tx: Connection, name_or_digest: str) -> IndexRecord:
    column = tables.indexes.c.digest if name_or_digest.startswith("sha256:") else tables.indexes.c.name
    if (row := first(tx, tables.indexes, column == name_or_digest)) is None:
        raise NotFound(f"no index {name_or_digest} is registered; build it with `dabt index`")
    return to_index(row)


def to_index(row: Row[Any]) -> IndexRecord:
    return IndexRecord(name=row.name, digest=row.digest, facts=row.facts, created_at=row.created_at)


def report_row(tx: Connection, digest: Digest) -> Row[Any]:
    if (row := first(tx, tables.reports, tables.reports.c.digest == digest)) is None:
        raise NotFound(f"no evaluation {digest} is recorded; run `dabt eval`")
    return row


def to_report(row: Row[Any]) -> Report:
    return valid(Report, row.body, row.digest)


def verdicts(tx: Connection, version: Row[Any]) -> list[Verdict]:
    """Newest first."""
    query = select(tables.verdicts).where(tables.verdicts.c.version_id == version.id)
    return [to_verdict(row) for row in tx.execute(query.order_by(tables.verdicts.c.id.desc()))]


def to_verdict(row: Row[Any]) -> Verdict:
    return valid(Verdict, row.body, row.digest)


def gate(tx: Connection, name: str) -> Gate | None:
    """None while nobody has set one."""
    row = first(tx, tables.gates, tables.gates.c.name == name)
    return None if row is None else to_gate(row)


def gates(tx: Connection) -> list[Gate]:
    """Of every name that has one, by name."""
    newest = select(func.max(tables.gates.c.id)).group_by(tables.gates.c.name)
    rows = tx.execute(select(tables.gates).where(tables.gates.c.id.in_(newest)).order_by(tables.gates.c.name))
    return [to_gate(row) for row in rows]


def to_gate(row: Row[Any]) -> Gate:
    return valid(Gate, row.body, f"of {row.name}")
