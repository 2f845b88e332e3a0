"""What the services of one registry tell each other of a canary, so that each judges it by the requests of all.

Alone, each of four services would see a quarter of the evidence and find a bad canary four times as late. So outcomes
go into the registry in batches and come out of it for the others about a second later
(`lifecycle/registry/outcome_book.py`). While the registry is away each judges by what it has itself, and tells the
others afterwards.

Another release may write what this one does not know. A row says what of it can be read; one that cannot be read is
left out, and no other with it.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any, Protocol
from uuid import uuid4

import structlog

from lifecycle.errors import DabtError
from lifecycle.registry.outcome_book import Outcomes
from service.traffic.canary import Outcome

_MOST = 2000
"""Outcomes of one trial in one batch, more than one process answers meanwhile; what comes beyond it is not told."""

log = structlog.get_logger(__name__)

Hear = Callable[[str, int, Outcome], None]
"""Told the trial, the version's number and how one of its requests went elsewhere."""


class Book(Protocol):
    """The part of `lifecycle.registry.outcome_book.OutcomeBook` that is used here."""

    def tell(self, service: str, told: Mapping[str, Outcomes]) -> None: ...
    def hear(self, service: str, heard: Mapping[str, int]) -> list[tuple[int, str, Outcomes]]: ...


class CanaryExchange:
    """Belongs to one event loop. `book` may block, and `run` calls it in a thread, `every` so many seconds."""

    def __init__(self, book: Book, run: Callable[..., Awaitable[Any]], every: float) -> None:
        self._book = book
        self._run = run
        self._every = every
        self._service = uuid4().hex
        self._untold: dict[str, list[dict[str, Any]]] = {}
        self._heard: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None
        self._failing = False
        self._unreadable: set[str] = set()
        """Trials of which it was said that a row cannot be read."""

    def begin(self, trial: str) -> None:
        """From now on hear of this trial, beginning with what the others have said of it already."""
        self._heard.setdefault(trial, 0)

    def end(self, trial: str) -> None:
        self._heard.pop(trial, None)
        self._untold.pop(trial, None)
        self._unreadable.discard(trial)

    def tell(self, trial: str, number: int, outcome: Outcome) -> None:
        """Have the others hear of one request; nothing when the trial is over."""
        if trial in self._heard:
            untold = self._untold.setdefault(trial, [])
            if len(untold) < _MOST:
                untold.append(written(number, outcome))

    def start(self, hear: Hear) -> None:
        self._task = asyncio.create_task(self._listen(hear), name="canary-exchange")

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            with suppress(asyncio.CancelledError):
                await self._task

    async def once(self, hear: Hear) -> None:
        """Tell and hear what there is. Raises what the registry raises; what was not told is kept."""
        if self._untold:
            told, self._untold = self._untold, {}
            try:
                await self._run(self._book.tell, self._service, told)
            except BaseException:
                for trial in told.keys() & self._heard.keys():
                    self._untold[trial] = [*told[trial], *self._untold.get(trial, [])][:_MOST]
                raise
        if not self._heard:
            return
        for last, trial, outcomes in await self._run(self._book.hear, self._service, dict(self._heard)):
            if trial in self._heard:
                self._heard[trial] = last
                for row in outcomes:
                    if (outcome := read(row)) is not None:
                        hear(trial, *outcome)
                    elif trial not in self._unreadable:
                        self._unreadable.add(trial)
                        log.warning("what another service tells of a canary cannot be read", trial=trial)

    async def _listen(self, hear: Hear) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.once(hear)
            except DabtError as error:
                self._alone(str(error))
            except Exception as error:  # whatever it was: the next second's batches are heard
                self._alone(f"{type(error).__name__}: {error}", exc_info=error)
            else:
                self._failing = False

    def _alone(self, problem: str, **more: Any) -> None:
        if not self._failing:
            log.warning("canaries are judged by this service's own requests alone", problem=problem, **more)
        self._failing = True


def written(number: int, outcome: Outcome) -> dict[str, Any]:
    """A row. What is not known is left out."""
    row = {
        "version": number,
        "failed": outcome.failed,
        "ttft": outcome.ttft,
        "total": outcome.total,
        "found": None if outcome.caught is None else sorted(outcome.caught),
        "own": outcome.own or None,
        "session": outcome.session or None,
    }
    return {name: value for name, value in row.items() if value is not None}


def read(row: Any) -> tuple[int, Outcome] | None:
    """The version's number and the outcome; None for a row that this release cannot read. Keys that it does not know
    are passed over.
    """
    if not isinstance(row, dict):
        return None
    number, failed, caught, session = row.get("version"), row.get("failed"), row.get("found"), row.get("session", "")
    ttft, total = row.get("ttft"), row.get("total")
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    readable = (
        (failed is None or isinstance(failed, bool))
        and (ttft is None or _is_time(ttft))
        and (total is None or _is_time(total))
        and (caught is None or (isinstance(caught, list) and all(isinstance(guard, str) for guard in caught)))
        and isinstance(session, str)
    )
    if not readable:
        return None
    guards = None if caught is None else frozenset(caught)
    return number, Outcome(failed, ttft, total, guards, own=row.get("own") is True, session=session)


def _is_time(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < math.inf
