"""How much each key may still use: its limits per minute, its quota of the day, and what every request cost.

A request is let in by `admit` before its body is read, and charged by `settle` when its end is known: the real tally,
or an estimate when the caller left before there was one. `limiter.py` holds the minutes, `ledger.py` the days.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from lifecycle.access.keys import ApiKey
from service.access.ledger import Ledger
from service.access.limiter import Limiter
from service.request_context import DISCONNECTED, RequestContext, RequestFigures

_BYTES_A_TOKEN = 4
"""Of a prompt that nobody counted. A guess that suits English; it is there so that leaving early is not free."""


class Accounts:
    """Belongs to one event loop."""

    def __init__(self, limiter: Limiter, ledger: Ledger) -> None:
        self._limiter = limiter
        self._ledger = ledger
        self._charging: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        await asyncio.to_thread(self._ledger.start)

    async def stop(self) -> None:
        """Write what was used, so that a clean end loses nothing."""
        await asyncio.gather(*self._charging, return_exceptions=True)
        await asyncio.to_thread(self._ledger.stop)
        await self._limiter.close()

    async def admit(self, key: ApiKey, context: RequestContext) -> None:
        """Count the request and put what is left of its limits on its answer. Raises `QuotaSpent`, `LimitReached`."""
        self._ledger.check(key)
        standing = await self._limiter.admit(key)
        context.tell(standing.headers)
        if standing.refusal is not None:
            raise standing.refusal

    def settle(self, key: ApiKey | None, version: str, body: Mapping[str, Any], figures: RequestFigures) -> None:
        """Charge a request whose answer is over, by how it went: call it once. Returns at once.

        Our own failures cost nothing. A caller that left did let the engine work, so it pays for the prompt by its
        size and for each piece of the answer that it has had.
        """
        if key is None:
            return
        if figures.tally is not None:
            self.charge(key, version, figures.tally.prompt_tokens, figures.tally.completion_tokens)
        elif figures.code == DISCONNECTED:
            prompt = len(json.dumps(body, ensure_ascii=False).encode()) // _BYTES_A_TOKEN
            self.charge(key, version, prompt, figures.sent)

    def charge(self, key: ApiKey, version: str, prompt_tokens: int, completion_tokens: int) -> None:
        """The minute's window is charged in the background, where Redis cannot hold up an answer."""
        self._ledger.add(key.id, version, prompt_tokens, completion_tokens)
        task = asyncio.ensure_future(self._limiter.charge(key, prompt_tokens + completion_tokens))
        self._charging.add(task)
        task.add_done_callback(self._charging.discard)
