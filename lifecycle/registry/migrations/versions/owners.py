"""Schema 8: whose a key's files and jobs are, which files' bytes are there, whose turn it is, what has expired.

Until now files, jobs and models belonged to the key's name, and the next key of that name had them. What was made then
stays so: the keys that are there own by their name, and the rows that name it are left as they are. A key that is made
from now on owns by its id.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, DateTime, Integer, MetaData, String, Table, update

from lifecycle.registry.tables import Utc

revision = "0008"
down_revision = "0007"

_keys = Table("api_keys", MetaData(), Column("name", String(64)), Column("owner", String(64)))
_files = Table(
    "files", MetaData(), Column("created_at", DateTime(timezone=True)), Column("arrived_at", DateTime(timezone=True))
)


def upgrade() -> None:
    op.add_column("api_keys", Column("owner", String(64)))
    op.add_column("files", Column("arrived_at", Utc))
    op.add_column("jobs", Column("turn", Integer))
    op.create_index("turns_of_an_owner", "jobs", ["owner", "turn"])
    op.add_column("job_checkpoints", Column("expired_at", Utc))
    connection = op.get_bind()
    connection.execute(update(_keys).values(owner=_keys.c.name))
    connection.execute(update(_files).values(arrived_at=_files.c.created_at))
