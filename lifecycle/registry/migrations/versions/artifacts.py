"""Schema 6: artifacts of several kinds, in one table; the adapters move into it as they are."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, Column, MetaData, String, Table, insert, literal, select

from lifecycle.registry.migrations.versions import baseline
from lifecycle.registry.tables import Utc

revision = "0006"
down_revision = "0005"

metadata = MetaData()

artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
)


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    old = baseline.adapters
    rows = select(old.c.digest, literal("adapter"), old.c.manifest, old.c.created_at)
    connection.execute(insert(artifacts).from_select(["digest", "kind", "manifest", "created_at"], rows))
    op.drop_table("adapters")
