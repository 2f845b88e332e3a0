"""PostgreSQL as the registry's home: its URL, its connections, and its one writer.

A transaction pooler (PgBouncer and its like) may stand between: nothing here lasts longer than a transaction. Read
`hints.py` for what does not work behind one.
"""

from __future__ import annotations

import json
import os
import re
from functools import partial

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, make_url

from lifecycle.errors import InvalidConfig

WAIT = 30
"""Seconds that a writer waits for the lock, and a connection for its server."""
_WAIT_FOR_ONE = 5
"""Seconds that one of several servers is waited for before the next is asked."""
_KEPT = 5
"""Connections that lie ready; more are opened when they are needed, and closed again."""
POOL = 15
"""Connections of one process for its reads and writes, unless DABT_REGISTRY_CONNECTIONS says otherwise."""
LEAST = 2
OF_A_PROCESS = POOL + 1
"""The pool's, and the one that hints come over."""
APPLICATION = "dabt"
"""What `pg_stat_activity` calls each of them."""
_LOCK_KEY = 0x64616274
"""The advisory lock that writers hold: 'dabt' in ASCII."""
LOCK = f"SET LOCAL lock_timeout = '{WAIT}s'; SELECT pg_advisory_xact_lock({_LOCK_KEY})"
"""Both end with the transaction, and one message carries them."""

_SEVERAL = re.compile(
    r"(?P<head>postgres(?:ql)?(?:\+\w+)?://(?:[^@/?#]*@)?)(?P<hosts>[^/?#]*,[^/?#]*)(?P<name>/[^?#]*)?(?:\?(?P<query>.*))?"
)


def parse(url: str) -> URL:
    """Of a registry, in SQLAlchemy's form; that of several servers (`postgresql://a:5432,b:5432/dabt`) is libpq's.

    Of several servers, the one that takes writes is meant, unless the URL says otherwise. Raises `ValueError` and
    SQLAlchemy's `ArgumentError`.
    """
    several = _SEVERAL.fullmatch(url)
    if several is not None:
        query = [*(f"host={host}" for host in several["hosts"].split(",")), several["query"] or ""]
        url = f"{several['head']}{several['name'] or '/'}?{'&'.join(filter(None, query))}"
    parsed = make_url(url)
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        return parsed
    parsed = parsed.set(drivername="postgresql+psycopg")
    if has_several(parsed) and "target_session_attrs" not in parsed.query:
        parsed = parsed.update_query_dict({"target_session_attrs": "read-write"})
    return parsed


def has_several(url: URL) -> bool:
    hosts = url.query.get("host", ())
    return len(hosts) > 1 if isinstance(hosts, tuple) else "," in hosts


def pool_size() -> int:
    """Raises `InvalidConfig` for a variable that is no number of connections."""
    told = os.environ.get("DABT_REGISTRY_CONNECTIONS", "")
    if not told:
        return POOL
    if not told.isdecimal() or int(told) < LEAST:
        raise InvalidConfig(f"DABT_REGISTRY_CONNECTIONS={told} is no number of connections; at least {LEAST}")
    return int(told)


def engine(url: URL) -> Engine:
    """Raises `InvalidConfig` without the driver."""
    size = pool_size()
    kept = min(_KEPT, size)
    try:
        return sqlalchemy.create_engine(
            url,
            # A server may have closed a connection that lay idle in the pool, or be a standby by now.
            pool_pre_ping=True,
            pool_size=kept,
            max_overflow=size - kept,
            pool_timeout=WAIT,
            connect_args=connect_args(url),
            json_serializer=partial(json.dumps, ensure_ascii=False),
        )
    except ImportError as error:
        raise InvalidConfig("PostgreSQL needs a driver; install dabt[postgres]") from error


def connect_args(url: URL) -> dict[str, object]:
    """What a connection is told besides the URL, which has the last word."""
    told = {
        "connect_timeout": _WAIT_FOR_ONE if has_several(url) else WAIT,
        "application_name": APPLICATION,
        # A pooler gives the next transaction another server, which knows nothing of what was prepared.
        "prepare_threshold": None,
        # A server whose machine vanished sends nothing any more: it is given up after half a minute.
        "keepalives_idle": 10,
        "keepalives_interval": 5,
        "keepalives_count": 4,
        "tcp_user_timeout": WAIT * 1000,
    }
    return {key: value for key, value in told.items() if key not in url.query}


def begin_to_write(tx: Connection) -> None:
    """Wait until this transaction is the registry's only writer."""
    tx.exec_driver_sql(LOCK)
