"""What this release can read of the tables, row by row: what another release wrote costs its own row and no other.

`valid` makes a noun of a row; `rows` fetches many and leaves out those that cannot even be fetched. `changes.py` reads
like this for services, and `listings.py` for lists; the registry's other readers raise instead, because a decision must
not rest on a part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, TypeVar

from pydantic import ValidationError
from sqlalchemy import ColumnElement, Connection, Row, Select, exc

from lifecycle.errors import DabtError, Unreadable
from lifecycle.version import Frozen

Noun = TypeVar("Noun", bound=Frozen)
T = TypeVar("T")
Kept = Literal["version", "alias", "policy", "key", "artifact"]
"""Of what a service keeps a copy of."""
Kind = Literal[Kept, "gate", "verdict", "report"]

UNFETCHED = "a column of it is broken"

_FAULTS_TOLD = 3
_AT_ONCE = 500


class LeftOut(Frozen):
    """A row that this release cannot read."""

    kind: Kind
    ref: str
    """`triage:3` of a version, `triage:prod` of an alias and of its policy, `triage` of a gate, a key's id, the digest
    of an artifact, a verdict or a report."""
    why: str
    """Names fields and never what they hold."""


def valid(kind: type[Noun], body: Any, named: str) -> Noun:
    """Raises `Unreadable`, which names the fields that do not fit, and nothing of what the row holds."""
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        raise Unreadable(
            f"the registry's {kind.__name__} {named} cannot be read by this release ({_faults(error)}); upgrade to the "
            "release that wrote it"
        ) from error


def rows(
    tx: Connection, query: Select[tuple[Any, ...]], column: ColumnElement[Any], ids: Sequence[Any]
) -> tuple[list[Row[Any]], list[Any]]:
    """The rows of `ids`, which are values of the unique `column`, and those of the ids whose row cannot be fetched.

    A driver fetches all rows or none. Where a part of them fails, its halves are tried.
    """
    if len(ids) > _AT_ONCE:
        parts = [rows(tx, query, column, ids[at : at + _AT_ONCE]) for at in range(0, len(ids), _AT_ONCE)]
        return [row for good, _ in parts for row in good], [id_ for _, bad in parts for id_ in bad]
    if not ids:
        return [], []
    try:
        return list(tx.execute(query.where(column.in_(ids)))), []
    except (ValueError, TypeError, exc.OperationalError) as error:
        if isinstance(error, exc.OperationalError) and "decode to UTF-8" not in str(error.orig):
            raise
    if len(ids) == 1:
        return [], list(ids)
    half = len(ids) // 2
    (good, bad), (more, worse) = rows(tx, query, column, ids[:half]), rows(tx, query, column, ids[half:])
    return good + more, bad + worse


def nouns(
    kind: Kind,
    fetched: Iterable[Row[Any]],
    unfetched: Iterable[str],
    to_noun: Callable[[Row[Any]], T],
    ref_of: Callable[[Row[Any]], str],
) -> tuple[list[T], list[LeftOut]]:
    nouns: list[T] = []
    left_out = [LeftOut(kind=kind, ref=ref, why=UNFETCHED) for ref in unfetched]
    for row in fetched:
        try:
            nouns.append(to_noun(row))
        except Exception as error:  # whatever a row holds, it costs that row
            left_out.append(LeftOut(kind=kind, ref=ref_of(row), why=why(error)))
    return nouns, left_out


def why(error: Exception) -> str:
    """What is not ours may repeat what the row holds."""
    return str(error) if isinstance(error, DabtError) else f"{type(error).__name__} on reading it"


def _faults(error: ValidationError) -> str:
    """Where it does not fit and why, without the values: a prompt may be among them, or a customer's name."""
    faults = error.errors(include_input=False, include_url=False, include_context=False)
    told = [f"{'.'.join(map(str, fault['loc']))}: {fault['type']}" for fault in faults[:_FAULTS_TOLD]]
    more = len(faults) - len(told)
    return ", ".join(told) + (f" and {more} more" if more else "")
