"""Hints that the registry has changed, so that who polls it looks at once: PostgreSQL's LISTEN and NOTIFY.

A hint is not the truth. Several may come as one, those of a lost connection never come, and none says what changed. So
whoever is hinted polls as well, and nothing but time is lost without hints. Behind a transaction pooler they are always
lost, and in silence: LISTEN stays with a server's session that is somebody else's in the next moment. So they are
tried once at every new connection: a hint is sent the way that writers take, and where it does not come, polling is
all there is.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, text

from lifecycle.errors import DabtError

if TYPE_CHECKING:
    from lifecycle.registry.database import Database

CHANNEL = "dabt_registry"
"""One for the whole database: registries that share one hint each other in vain, which costs a look."""
PROOF = 5.0
"""Seconds within which a hint to oneself comes, or none ever does."""
_LOOK = 1.0
"""Seconds between two looks at whether to stop."""
_LONGEST_PAUSE = 30.0


def give(tx: Connection) -> None:
    """With the commit of this transaction, whoever listens is told; several in one are one."""
    if tx.dialect.name == "postgresql":
        tx.execute(text("SELECT pg_notify(:channel, '')"), {"channel": CHANNEL})


class Hints:
    """Calls `changed` in a thread of its own. Where the registry gives no hints, that thread ends and all is well."""

    def __init__(self, database: Database, changed: Callable[[], object], proof: float = PROOF) -> None:
        self._database = database
        self._changed = changed
        self._proof = proof
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.proved = False
        """A hint has come over the connection that is open now."""

    def start(self) -> None:
        if self._database.gives_hints:
            self._thread = threading.Thread(target=self._run, name="hints", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=self._proof + 2 * _LOOK)

    def arrive(self) -> bool:
        """Whether they do, over a connection of now. Raises `Unavailable`."""
        with closing(self._database.connect_alone()) as connection:
            return self._prove(connection)

    def _run(self) -> None:
        import structlog  # every command that opens a registry imports this module; few of them listen

        log = structlog.get_logger(__name__)
        pause = 1.0
        while not self._stop.is_set():
            try:
                with closing(self._database.connect_alone()) as connection:
                    if not self._prove(connection):
                        log.warning(
                            "the registry's hints do not arrive, so changes are seen by polling alone; a transaction "
                            "pooler stands between, as a rule",
                            registry=self._database.name,
                        )
                        return
                    pause = 1.0
                    log.info("the registry's hints arrive", registry=self._database.name)
                    self._listen(connection)
            except DabtError as error:
                log.debug("no hints from the registry for now", problem=str(error))
            except Exception as error:  # a driver may throw anything, and polling goes on
                log.debug("no hints from the registry for now", problem=f"{type(error).__name__}: {error}")
            self.proved = False
            self._stop.wait(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _prove(self, connection: Any) -> bool:
        """Whether a hint comes that is sent as a writer sends it."""
        connection.execute(f"LISTEN {CHANNEL}")
        sent = uuid.uuid4().hex
        with self._database.look() as tx:
            tx.execute(text("SELECT pg_notify(:channel, :sent)"), {"channel": CHANNEL, "sent": sent})
        until, late = time.monotonic() + self._proof, False
        while not late and not self._stop.is_set():
            left = until - time.monotonic()
            late = left <= 0  # what came while this process stood still is looked at once more
            for hint in connection.notifies(timeout=min(max(left, 0.0), _LOOK), stop_after=1):
                self._changed()
                late = False
                if hint.payload == sent:
                    self.proved = True
                    return True
        return self._stop.is_set()

    def _listen(self, connection: Any) -> None:
        # What changed while no connection listened.
        self._changed()
        while not self._stop.is_set():
            for _ in connection.notifies(timeout=_LOOK, stop_after=1):
                self._changed()
