"""What the services of one registry tell each other of a canary, so that each judges it by the requests of all.

Alone, each of four services would see a quarter of the evidence and find a bad canary four times as late. So outcomes
go into the registry in batches and come out of it for the others about a second later
(`lifecycle/registry/outcome_book.py`). While the registry is away each judges by what it has itself, and tells the
others afterwards.
"""

from __future__ import annotations

import asyncio
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

    def begin(self, trial: str) -> None:
        """From now on hear of this trial, beginning with what the others have said of it already."""
        self._heard.setdefault(trial, 0)

    def end(self, trial: str) -> None:
        self._heard.pop(trial, None)
        self._untold.pop(trial, None)

    def tell(self, trial: str, number: int, outcome: Outcome) -> None:
        """Have the others hear of one request; nothing when the trial is over."""
        if trial in self._heard:
            untold = self._untold.setdefault(trial, [])
            if len(untold) < _MOST:
                untold.append(_row(number, outcome))

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
                    hear(trial, *_read(row))

    async def _listen(self, hear: Hear) -> None:
        while True:
            await asyncio.sleep(self._every)
            try:
                await self.once(hear)
            except DabtError as error:
                if not self._failing:
                    log.warning("canaries are judged by this service's own requests alone", problem=str(error))
                self._failing = True
            else:
                self._failing = False


def _row(number: int, outcome: Outcome) -> dict[str, Any]:
    """What is not known is left out."""
    found = None if outcome.found is None else sorted(outcome.found)
    row = {"version": number, "failed": outcome.failed, "ttft": outcome.ttft, "total": outcome.total, "found": found}
    return {name: value for name, value in row.items() if value is not None}


def _read(row: dict[str, Any]) -> tuple[int, Outcome]:
    found = frozenset(row["found"]) if "found" in row else None
    return row["version"], Outcome(row.get("failed"), row.get("ttft"), row.get("total"), found)
