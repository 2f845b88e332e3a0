"""The PostgreSQL server of a registry: whether its connections are enough, whether a failover could lose what was
acknowledged, and whether its hints arrive."""

from __future__ import annotations

from collections.abc import Iterator

from sqlalchemy import Connection, text

from lifecycle.registry import postgres
from lifecycle.registry.database import Database, parse
from lifecycle.registry.hints import Hints
from lifecycle.upkeep.doctor.finding import Finding, ok, warning

_ROOM = """
SELECT least(
         current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int,
         nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1),
         nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1)
       ) AS most,
       (SELECT count(*) FROM pg_stat_activity
        WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()) AS taken
"""


def server(database: Database, url: str) -> Iterator[Finding]:
    """Raises what the registry raises."""
    with database.look() as tx:
        yield _of_room(tx)
        if postgres.has_several(parse(url)):
            yield _of_failover(tx)
    yield _of_hints(database)


def _of_room(tx: Connection) -> Finding:
    row = tx.execute(text(_ROOM)).one()
    each = postgres.pool_size() + 1
    free = row.most - row.taken
    said = f"{row.most} for this database, {row.taken} taken; a service or worker takes {each} at most"
    if free < each:
        cure = "raise max_connections, lower DABT_REGISTRY_CONNECTIONS, or put a pooler between"
        return warning("connections", f"{said}: there is no room for one more", cure)
    return ok("connections", f"{said}: room for {free // each} more")


def _of_failover(tx: Connection) -> Finding:
    names = tx.execute(text("SELECT current_setting('synchronous_standby_names')")).scalar_one()
    how = tx.execute(text("SELECT current_setting('synchronous_commit')")).scalar_one()
    if not names or how in ("off", "local"):
        return warning(
            "failover",
            "the registry has several servers, and none waits for a standby: a failover may lose acknowledged writes",
            "set synchronous_standby_names = 'ANY 1 (*)' and synchronous_commit = on (docs/guides/kubernetes.md)",
        )
    return ok("failover", f"writes are acknowledged when a standby has them ({names})")


def _of_hints(database: Database) -> Finding:
    """Whether they arrive, as a service finds it out at its start."""
    if Hints(database, lambda: None).arrive():
        return ok("hints", "changes are told at once (LISTEN and NOTIFY)")
    return warning(
        "hints",
        "LISTEN gets nothing, as behind a transaction pooler: changes are seen by polling, within a second",
        "name the server itself in DABT_REGISTRY_URL where you want them at once",
    )
