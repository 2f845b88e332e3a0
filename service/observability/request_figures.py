"""The figures of one request: how long it took, what it cost, how it ended."""

from __future__ import annotations

import time
from collections.abc import Callable

from service.engine.interface import Tally


class RequestFigures:
    """Made when a request arrives. Call `done` or `failed` once; later calls are ignored. Times are seconds."""

    def __init__(self, version: str, ended: Callable[[RequestFigures], None]) -> None:
        """`ended` is called with this object, once."""
        self.version = version
        self.waited = 0.0
        """Before the engine, for a slot in the batch."""
        self.sent = 0
        """Pieces of a streamed answer so far; each is a token at least."""
        self.seconds = 0.0
        """From arrival to the end, once it has come."""
        self.first_token: float | None = None
        """From arrival."""
        self.tally: Tally | None = None
        """None when it failed, and until the end."""
        self.code = ""
        """Of the error that ended it."""
        self._ended = ended
        self._open = True
        self._arrived = time.perf_counter()
        self._handed = 0.0

    def handed_to_engine(self) -> None:
        self._handed = time.perf_counter() - self._arrived

    def done(self, tally: Tally) -> None:
        if self._open:
            self.tally = tally
            if tally.first_token is not None:
                self.first_token = self._handed + tally.first_token
            self._close()

    def failed(self, code: str) -> None:
        if self._open:
            self.code = code
            self._close()

    def _close(self) -> None:
        self._open = False
        self.seconds = time.perf_counter() - self._arrived
        self._ended(self)
