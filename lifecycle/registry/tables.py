"""The registry's tables. Only `registry.py` and the modules that it is made of touch them.

Nothing is updated in place except a version's `state`, an alias's current `move`, a key's `revoked_at` and the counts
of its use, and what changes of a job, a file and an upload while they live; everything else is appended, and nothing is
deleted but what services have told each other of a canary, and the parts of an upload that is over.
"""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    TypeDecorator,
    UniqueConstraint,
)

SCHEMA_VERSION = 9
"""2 added `api_keys` and `key_usage`, 3 `alias_policies`, 4 `canary_outcomes`, 5 `gates` and `tries`, 6 `artifacts` in
the place of `adapters`, 7 files and jobs of the fine-tuning API, 8 owners of keys, and turns of jobs, 9 ratings by
people (`rating_tables.py`). It grows with each migration, because releases from before migrations look at it alone."""
REVISION = "0009"
"""Alembic's name of the newest migration under `migrations/versions/`."""


class Utc(TypeDecorator[datetime]):
    """A moment in UTC. SQLite drops time zones, so they are put back on reading."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


metadata = MetaData()

meta = Table("dabt_meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

# Alembic's own: which migration the tables are at.
alembic_version = Table(
    "alembic_version",
    metadata,
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("digest", String(71), primary_key=True),
    Column("kind", String(16), nullable=False),
    Column("manifest", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
)

# A name's newest row is its index now, so going back to older documents adds a row again.
indexes = Table(
    "indexes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, index=True),
    Column("digest", String(71), nullable=False, index=True),
    Column("facts", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
)

versions = Table(
    "versions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("number", Integer, nullable=False),
    Column("digest", String(71), nullable=False),
    Column("spec", JSON, nullable=False),
    Column("state", String(16), nullable=False),
    Column("lineage", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Text, nullable=False),
    UniqueConstraint("name", "number", name="one_version_a_number"),
    UniqueConstraint("name", "digest", name="one_version_a_recipe"),
)

reports = Table(
    "reports",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(71), nullable=False, unique=True),
    Column("task", Text, nullable=False, index=True),
    Column("body", JSON, nullable=False),
)

verdicts = Table(
    "verdicts",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("digest", String(71), nullable=False, unique=True),
    Column("version_id", ForeignKey("versions.id"), nullable=False, index=True),
    Column("evaluation_digest", ForeignKey("reports.digest"), nullable=False),
    Column("passed", Boolean, nullable=False),
    Column("body", JSON, nullable=False),
)

# A name's newest row is its gate now.
gates = Table(
    "gates",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False, index=True),
    Column("digest", String(71), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
)

# Which candidates have been tried on which items, under whatever name. A look has no number.
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

# Each move knows the one that it replaced: the moves of an alias are a stack, and rollback pops it.
moves = Table(
    "alias_moves",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("targets", JSON, nullable=False),
    Column("forced", Boolean, nullable=False),
    Column("replaced", ForeignKey("alias_moves.id")),
    Column("created_at", Utc, nullable=False),
)

aliases = Table(
    "aliases",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("alias", String(64), primary_key=True),
    Column("move", ForeignKey("alias_moves.id"), nullable=False),
)

# An alias's newest row is its policy now.
policies = Table(
    "alias_policies",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("name", String(64), nullable=False),
    Column("alias", String(64), nullable=False),
    Column("body", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Index("policies_of_an_alias", "name", "alias"),
)

# Keys are never deleted: the trail and the usage name them, and a service that has had one must go on asking for one.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(64), nullable=False, index=True),
    Column("digest", String(71), nullable=False, unique=True),
    Column("hint", String(8), nullable=False),
    Column("role", String(16), nullable=False),
    Column("models", JSON, nullable=False),
    Column("limits", JSON, nullable=False),
    Column("created_at", Utc, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Utc),
    Column("revoked_at", Utc),
    Column("owner", String(64)),
)

key_usage = Table(
    "key_usage",
    metadata,
    Column("key", String(32), primary_key=True),
    Column("day", Date, primary_key=True),
    Column("version", String(255), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("prompt_tokens", BigInteger, nullable=False),
    Column("completion_tokens", BigInteger, nullable=False),
    Index("usage_of_a_day", "day"),
)

canary_outcomes = Table(
    "canary_outcomes",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("trial", String(71), nullable=False),
    Column("service", String(32), nullable=False),
    Column("outcomes", JSON, nullable=False),
    Column("told_at", Utc, nullable=False, index=True),
    Index("outcomes_of_a_trial", "trial", "id"),
    # Ids are never used again: who has heard up to one asks for what came after it.
    sqlite_autoincrement=True,
)

# A row is there before its bytes are, so that they are found again whatever dies between: then `arrived_at` is empty.
# Whose bytes are gone has a moment in `purged_at`: it may have been deleted, or have expired, while a job read it.
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
    Column("arrived_at", Utc),
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
    Column("turn", Integer),
    Index("jobs_of_an_owner", "owner", "number"),
    Index("jobs_in_a_state", "state", "number"),
    Index("turns_of_an_owner", "owner", "turn"),
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
    Column("expired_at", Utc),
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

audit = Table(
    "audit",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("at", Utc, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", String(32), nullable=False),
    Column("subject", Text, nullable=False, index=True),
    Column("detail", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    # Ids are never used again, so that the newest one can stand for the registry's revision.
    sqlite_autoincrement=True,
)

Index("moves_of_an_alias", moves.c.name, moves.c.alias)
