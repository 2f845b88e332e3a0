"""Schema 7: files, uploads and jobs of the fine-tuning API, and the names that their models are called by."""

from __future__ import annotations

from alembic import op
from sqlalchemy import JSON, BigInteger, Column, Index, Integer, MetaData, String, Table, Text, UniqueConstraint

from lifecycle.registry.tables import Utc

revision = "0007"
down_revision = "0006"

metadata = MetaData()

files = Table(
    "files",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("purpose", String(32), nullable=False),
    Column("filename", Text, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, index=True),
    Column("deleted_at", Utc),
    Column("purged_at", Utc),
    Index("files_of_an_owner", "owner", "number"),
)

uploads = Table(
    "uploads",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("status", String(16), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("expires_at", Utc, nullable=False, index=True),
)

upload_parts = Table(
    "upload_parts",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("upload", String(64), nullable=False, index=True),
    Column("digest", String(71), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("created_at", Utc, nullable=False),
)

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("owner", String(64), nullable=False),
    Column("state", String(16), nullable=False),
    Column("base", String(71), nullable=False),
    Column("name", String(64), nullable=False),
    Column("request", JSON, nullable=False),
    Column("asked", String(71), nullable=False),
    Column("again", String(255), nullable=False),
    Column("progress", JSON, nullable=False),
    Column("result", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("finished_at", Utc),
    Column("holder", String(64), nullable=False),
    Column("beat", Integer, nullable=False),
    Column("tries", Integer, nullable=False),
    Index("jobs_of_an_owner", "owner", "number"),
    Index("jobs_in_a_state", "state", "number"),
)

job_events = Table(
    "job_events",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("job", String(64), nullable=False),
    Column("level", String(8), nullable=False),
    Column("message", Text, nullable=False),
    Column("data", JSON),
    Column("created_at", Utc, nullable=False),
    Index("events_of_a_job", "job", "number"),
)

job_checkpoints = Table(
    "job_checkpoints",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("id", String(64), nullable=False, unique=True),
    Column("job", String(64), nullable=False),
    Column("step", Integer, nullable=False),
    Column("model", String(255), nullable=False),
    Column("version", String(80), nullable=False),
    Column("metrics", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    UniqueConstraint("job", "step", name="one_checkpoint_a_step"),
)

tuned_models = Table(
    "tuned_models",
    metadata,
    Column("name", String(255), primary_key=True),
    Column("version", String(80), nullable=False),
    Column("owner", String(64), nullable=False, index=True),
    Column("job", String(64), nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("deleted_at", Utc),
)


def upgrade() -> None:
    metadata.create_all(op.get_bind())
