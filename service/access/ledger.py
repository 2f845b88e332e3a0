"""What each key used, on its way into the registry: counted in memory, written in batches by a thread of its own.

Requests never wait for the database. It holds the truth about daily quotas, so they survive a restart and are shared by
all services of the registry; each service sees what the others wrote a few seconds late. A crash loses what was counted
since the last batch, `every` seconds at most; a registry that cannot be written to loses nothing while the process
lives.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import structlog

from lifecycle.access.keys import ApiKey
from lifecycle.access.usage import Usage
from lifecycle.errors import DabtError, QuotaSpent
from lifecycle.registry.usage_book import UsageBook

Slot = tuple[date, str, str]
"""Day, key and version: one row of the book."""

log = structlog.get_logger(__name__)


def _now() -> datetime:
    return datetime.now(UTC)


class Ledger:
    """Safe to use from any thread. `start` reads today's totals; its thread alone writes, and last at `stop`."""

    def __init__(self, book: UsageBook, every: float, now: Callable[[], datetime] = _now) -> None:
        self._book = book
        self._every = every
        self._now = now
        self._lock = threading.Lock()
        self._pending: dict[Slot, Usage] = {}
        self._writing: dict[Slot, Usage] = {}
        """The batch that is on its way into the book, which may take it or not."""
        self._written: tuple[date, dict[str, int]] = (date.min, {})
        """A day, and each key's tokens of that day in the book as it was last seen."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False

    def start(self) -> None:
        self._try_write()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=10)
        with self._lock:
            lost = len({*self._pending, *self._writing})
        if lost:
            log.error("usage could not be written and is lost", rows=lost)

    def add(self, key_id: str, version: str, prompt_tokens: int, completion_tokens: int) -> None:
        """Count one request."""
        use = Usage(
            day=self._now().date(),
            key=key_id,
            version=version,
            requests=1,
            prompt_tokens=prompt_tokens,
            completion_tokens=completion_tokens,
        )
        with self._lock:
            _merge(self._pending, use)

    def check(self, key: ApiKey) -> None:
        """Raises `QuotaSpent` when the key's tokens of today are used up."""
        most = key.limits.tokens_per_day
        if most is None:
            return
        now = self._now()
        if self.spent(key.id, now.date()) >= most:
            midnight = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), UTC)
            raise QuotaSpent(
                f"the {key} has used its {most} tokens of today; more from 00:00 UTC, or ask for a larger quota",
                retry_after=(midnight - now).total_seconds(),
            )

    def spent(self, key_id: str, day: date) -> int:
        """Tokens of the key on that day, as far as this service knows."""
        with self._lock:
            written_day, written = self._written
            known = [*self._pending.values(), *self._writing.values()]
        unwritten = sum(use.tokens for use in known if (use.day, use.key) == (day, key_id))
        return unwritten + (written.get(key_id, 0) if written_day == day else 0)

    def _write(self) -> None:
        today = self._now().date()
        with self._lock:
            self._writing, self._pending = self._pending, {}
        try:
            totals = self._book.add(self._writing.values(), today) if self._writing else self._book.tokens_of(today)
        except Exception:
            with self._lock:
                for use in self._writing.values():
                    _merge(self._pending, use)
                self._writing = {}
            raise
        with self._lock:
            self._written, self._writing = (today, totals), {}

    def _run(self) -> None:
        while not self._stop.wait(self._every):
            self._try_write()
        self._try_write()

    def _try_write(self) -> None:
        try:
            self._write()
        except Exception as error:  # the thread must outlive anything that a database driver throws
            if not self._failing:
                problem = str(error) if isinstance(error, DabtError) else f"{type(error).__name__}: {error}"
                log.warning("usage cannot be written; it is kept and tried again", problem=problem)
            self._failing = True
        else:
            self._failing = False


def _merge(uses: dict[Slot, Usage], use: Usage) -> None:
    slot = (use.day, use.key, use.version)
    uses[slot] = uses[slot] + use if slot in uses else use
