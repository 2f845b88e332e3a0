"""What each key used, on its way into the registry: counted in memory, written in batches by a thread of its own.

Requests never wait for the database. It holds the truth about daily quotas, so they survive a restart and are shared by
all services of the registry; each service sees what the others wrote a few seconds late. A crash loses what was counted
since the last batch, `every` seconds at most; a registry that cannot be written to loses nothing while the process
lives. What a key has spent is looked up and never summed, so it costs the same for one key and for ten thousand.
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

_PATIENCE = 5.0
"""Seconds that a start waits for the registry."""

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
        self._unwritten: dict[tuple[date, str], int] = {}
        """Day and key → its tokens in both batches."""
        self._written: tuple[date, dict[str, int]] = (date.min, {})
        """A day, and keys' tokens of that day in the book as they were last seen."""
        self._asked: set[str] = set()
        """Keys that somebody asked about since the book was last looked at: what other services wrote of them is looked
        up with the next batch."""
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._failing = False
        self._tried = threading.Event()
        """Set once the book has been spoken to."""

    def start(self) -> None:
        """Returns when today's totals are known, or cannot be within `_PATIENCE`; they are tried for again then."""
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()
        self._tried.wait(_PATIENCE)

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
            mark = use.day, use.key
            self._unwritten[mark] = self._unwritten.get(mark, 0) + use.tokens

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
            self._asked.add(key_id)
            written_day, written = self._written
            known = written.get(key_id, 0) if written_day == day else 0
            return known + self._unwritten.get((day, key_id), 0)

    def _write(self) -> None:
        today = self._now().date()
        with self._lock:
            self._writing, self._pending = self._pending, {}
            new_day = self._written[0] != today
            # At a day's first look all keys; then those that are used here, however many others there are.
            asked = None if new_day else {*self._asked, *(use.key for use in self._writing.values())}
            self._asked = set()
        try:
            if self._writing:
                totals = self._book.add(self._writing.values(), today, asked)
            else:
                totals = {} if asked == set() else self._book.tokens_of(today, asked)
        except Exception:
            with self._lock:
                for use in self._writing.values():
                    _merge(self._pending, use)
                self._writing = {}
                self._asked |= asked or set()
            raise
        with self._lock:
            self._written = (today, totals if new_day else {**self._written[1], **totals})
            for use in self._writing.values():
                mark = use.day, use.key
                self._unwritten[mark] -= use.tokens
                if not self._unwritten[mark]:
                    del self._unwritten[mark]
            self._writing = {}

    def _run(self) -> None:
        self._try_write()
        self._tried.set()
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
