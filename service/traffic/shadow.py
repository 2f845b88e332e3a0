"""Shadow traffic: copies of an alias's requests for a candidate, beside everything that callers see.

A copy begins when its request's answer has been given. Few run at once and few wait; what comes on top is dropped and
counted. Nothing here can fail a request, hold it up, or keep the service from stopping. Read `policies.py` for who
offers copies, `shadow_records.py` for what is kept of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

import structlog

from lifecycle.aliases import Alias
from lifecycle.errors import DabtError, EngineDead, Overloaded
from lifecycle.version import Version
from service.concurrency import Background, Bulkhead
from service.engine.interface import EngineAnswer, Kind
from service.openai.answer_guards import Choice, choices_of
from service.request_context import UNEXPECTED
from service.traffic.shadow_records import Records, ShadowRecord, Side, agree, answered, request_digest

Ask = Callable[[Kind, dict[str, Any], Version], Awaitable[EngineAnswer]]
"""What the version answers to the caller's own body, for nobody to see. Raises the project's errors."""
CopyFate = Literal["answered", "failed", "dropped"]

_KEEP_SECONDS = 30.0
"""For the disk to take one record."""
_OF_THE_CALLER = ("stream", "stream_options", "user", "return_token_ids", "return_prompt_text", "prompt_logprobs")

log = structlog.get_logger(__name__)


class ShadowObserver(Protocol):
    """Told of what happens; `telemetry.py` counts it."""

    def shadowed(self, outcome: CopyFate) -> None: ...


@dataclass(frozen=True, slots=True)
class Copy:
    """One request to answer again."""

    alias: Alias
    candidate: Version
    kind: Kind
    body: dict[str, Any]
    request_id: str
    served: Side
    choices: Sequence[Choice]
    """Of the answer that was given; none where it failed."""


@dataclass(frozen=True, slots=True)
class ShadowLimits:
    running: int = 2
    waiting: int = 32
    """Copies that have not begun. Their bodies are held, which the engine's longest prompt bounds."""
    seconds: float = 120.0
    """For one copy."""


class Shadows:
    """Belongs to one event loop. Without `records` nothing is copied; while it is `busy`, copies give way."""

    def __init__(
        self,
        records: Records | None,
        observer: ShadowObserver,
        limits: ShadowLimits | None = None,
        busy: Callable[[], bool] = lambda: False,
    ) -> None:
        self.on = records is not None
        self._records = records
        self._observer = observer
        self._limits = limits or ShadowLimits()
        self._places = asyncio.Semaphore(self._limits.running)
        self._busy = busy
        self._copies = Background()
        self._keeping = Bulkhead("shadow's records", at_once=1, waiting=1024, seconds=_KEEP_SECONDS)

    def offer(self, copy: Copy, ask: Ask) -> None:
        """Answer it again when there is a place. Returns at once."""
        if not self.on or self._records is None:
            return
        if len(self._copies) >= self._limits.running + self._limits.waiting:
            self._observer.shadowed("dropped")
        else:
            self._copies.begin(self._run(copy, ask, self._records))

    async def stop(self) -> None:
        """Take no more, and end what runs."""
        self.on = False
        await self._copies.stop()

    async def _run(self, copy: Copy, ask: Ask, records: Records) -> None:
        try:
            async with self._places:
                record = None if self._busy() else await self._answered(copy, ask)
            if record is None:
                self._observer.shadowed("dropped")
                return
            self._observer.shadowed("failed" if record.candidate.code else "answered")
            await self._keeping.run(records.append, copy.alias.name, copy.alias.alias, record)
        except Exception as error:  # a full disk, a text that is no Unicode: nobody waits for this
            log.warning("a shadow's result could not be kept", alias=copy.alias.ref, error=str(error))

    async def _answered(self, copy: Copy, ask: Ask) -> ShadowRecord | None:
        """None when there was no room for it, which says nothing of the candidate."""
        body = {key: value for key, value in copy.body.items() if key not in _OF_THE_CALLER}
        keep = copy.alias.policy.shadow is not None and copy.alias.policy.shadow.record_bodies
        candidate = Side(ref=copy.candidate.ref, digest=copy.candidate.digest)
        choices: list[Choice] = []
        try:
            async with asyncio.timeout(self._limits.seconds):
                answer = await ask(copy.kind, body, copy.candidate)
        except (EngineDead, Overloaded):
            return None
        except DabtError as error:
            candidate = candidate.model_copy(update={"code": error.code})
        except TimeoutError:
            candidate = candidate.model_copy(update={"code": "timeout"})
        except Exception as error:
            log.warning("a shadow failed", alias=copy.alias.ref, candidate=copy.candidate.ref, exc_info=error)
            candidate = candidate.model_copy(update={"code": UNEXPECTED})
        else:
            choices = choices_of(answer.body)
            candidate = answered(candidate.ref, candidate.digest, choices, answer.tally, keep=keep)
        failed = copy.served.code or candidate.code
        return ShadowRecord(
            at=datetime.now(UTC),
            alias=copy.alias.ref,
            request_id=copy.request_id,
            kind=copy.kind,
            request=request_digest(copy.body),
            served=copy.served,
            candidate=candidate,
            agree=None if failed else agree(copy.choices, choices),
            body=body if keep else None,
        )
