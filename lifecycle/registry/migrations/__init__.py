"""Changes of the registry's tables, as Alembic migrations: for SQLite and PostgreSQL alike.

`database.py` asks for them when it opens a registry that an older release made. A change of `tables.py` comes with a
file under `versions/`, a higher `SCHEMA_VERSION` and its `REVISION`; a test holds that a registry made new and one that
was migrated have the same tables.
"""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection


def migrate(connection: Connection, to: str = "head") -> None:
    """Bring the tables to this release, or to the revision `to`, within the caller's transaction.

    Empty ones, and schemas 1 to 4, become the baseline first.
    """
    from alembic import command  # a fifth of a second, and needed once in a registry's life
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    command.upgrade(config, to)
