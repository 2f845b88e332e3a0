"""Schema 5: gates and tries; verdicts say what was decided, and those from before gates approve nothing any more."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from alembic import op
from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    Connection,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    insert,
    select,
    update,
)

from lifecycle.registry.migrations.versions import baseline
from lifecycle.registry.tables import Utc

revision = "0005"
down_revision = "0004"

metadata = MetaData()

gates = Table(
    "gates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, index=True),
    Column("digest", String(71), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
)

tries = Table(
    "tries",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("data_digest", String(71), nullable=False),
    Column("key", String(71), nullable=False),
    Column("number", Integer),
    Column("name", String(64), nullable=False),
    Column("candidates", JSON, nullable=False),
    Column("provisional", Boolean, nullable=False),
    Column("actor", Text, nullable=False),
    Column("at", Utc, nullable=False),
    UniqueConstraint("data_digest", "key", "provisional", name="one_try_of_candidates"),
    UniqueConstraint("data_digest", "number", name="one_number_a_try"),
)


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    _say_rulings(connection)
    _doubt_what_was_approved(connection)


def _say_rulings(connection: Connection) -> None:
    """`passed: true` becomes `ruling: passed`, in verdicts and their checks. Digests stay: the trail names them."""
    for row in connection.execute(select(baseline.verdicts.c.id, baseline.verdicts.c.body)).all():
        body = {**_ruled(row.body), "checks": [_ruled(check) for check in row.body["checks"]]}
        connection.execute(update(baseline.verdicts).where(baseline.verdicts.c.id == row.id).values(body=body))


def _ruled(body: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in body.items() if key != "passed"}, "ruling": _word(body["passed"])}


def _word(passed: bool) -> str:
    return "passed" if passed else "failed"


def _doubt_what_was_approved(connection: Connection) -> None:
    """Their verdicts do not say what was measured, nor what answered. Aliases stay where they point: what serves goes
    on, and can be rolled back to."""
    versions, now = baseline.versions, datetime.now(UTC)
    for row in connection.execute(select(versions).where(versions.c.state == "approved").order_by(versions.c.id)).all():
        connection.execute(update(versions).where(versions.c.id == row.id).values(state="doubted"))
        reason = (
            "its verdicts are from before gates, and do not say what was measured or what answered; set a gate "
            f"(`dabt gate set {row.name}`) and run `dabt eval`"
        )
        states = {"from": "approved", "to": "doubted"}
        entry = {"at": now, "actor": "dabt", "action": "version.state", "subject": f"{row.name}:{row.number}"}
        connection.execute(insert(baseline.audit).values(**entry, detail=states, reason=reason))
