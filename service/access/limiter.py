"""Requests and tokens per minute of each key, counted in this process (`windows.py`) or, for several, in Redis
(`redis_windows.py`).

Requests are counted one by one over the last 60 seconds (a moving window, exact). Tokens are too many to keep one by
one: two counters, of this minute and the one before, give the share of the last 60 seconds (a sliding window counter,
https://limits.readthedocs.io/en/stable/strategies.html). What an answer cost is known at its end, so a request is let
in while anything is left, and what it takes beyond that is a debt that the next minute begins with.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, TypeVar
from urllib.parse import urlsplit

import structlog
from limits.errors import StorageError

from lifecycle.access.keys import ApiKey
from lifecycle.errors import LimitReached
from service.access.redis_windows import RedisWindows
from service.access.windows import SET_BACK, WINDOW, Windows

T = TypeVar("T")

_AGAIN_AFTER = 5.0
"""Seconds without Redis before it is tried again: not every request should wait for it in vain."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a key stands: the headers that tell it what is left, and why this request is refused, if it is."""

    headers: dict[str, str]
    refusal: LimitReached | None = None


class Limiter:
    """One per service. Several services share their counts through Redis; while it is away each counts for itself."""

    def __init__(self, url: str) -> None:
        """`memory://`, `redis://host:port/db` or `rediss://…`. Raises `InvalidConfig` for what cannot be used."""
        self._where = urlsplit(url).hostname or "memory"
        self._redis = None if urlsplit(url).scheme == "memory" else RedisWindows(url)
        self._local = _Counts(_InProcess())
        self._shared = None if self._redis is None else _Counts(self._redis)
        self._away_until = 0.0
        self._clock = _clock()

    @property
    def counted_in(self) -> Literal["process", "redis", "away"]:
        """`away`: there is a Redis, and it did not answer when it was asked last."""
        if self._shared is None:
            return "process"
        return "away" if self._away_until else "redis"

    async def admit(self, key: ApiKey) -> Standing:
        """Count one request, unless it is refused."""
        before, self._clock = self._clock, _clock()
        if self._clock < before - SET_BACK:
            # What is counted here is counted by this clock: it would stay in the window until then came again.
            log.warning("the clock was set back; limits are counted anew", seconds=round(before - self._clock))
            self._local = _Counts(_InProcess())
        return await self._counted(lambda counts: counts.admit(key))

    async def charge(self, key: ApiKey, tokens: int) -> None:
        if key.limits.tokens_per_minute is not None and tokens > 0:
            await self._counted(lambda counts: counts.charge(key, tokens))

    async def close(self) -> None:
        if self._redis is not None:
            with suppress(OSError, StorageError):
                await self._redis.close()

    async def _counted(self, work: Callable[[_Counts], Awaitable[T]]) -> T:
        if self._shared is None or time.monotonic() < self._away_until:
            return await work(self._local)
        try:
            done = await work(self._shared)
        except (StorageError, OSError) as error:  # a time-out is an OSError
            if not self._away_until:
                log.warning("limits are counted by this process alone", redis=self._where, problem=str(error))
            self._away_until = time.monotonic() + _AGAIN_AFTER
            return await work(self._local)
        if self._away_until:
            self._away_until = 0.0
            log.info("limits are shared again", redis=self._where)
        return done


class _Places(Protocol):
    """Where windows are kept; `Windows` says what each method means."""

    async def request(self, key_id: str, most: int) -> tuple[bool, int, float]: ...
    async def tokens(self, key_id: str, most: int) -> tuple[int, float, int, float]: ...
    async def charge(self, key_id: str, tokens: int) -> None: ...


class _InProcess:
    def __init__(self) -> None:
        self._windows = Windows()

    async def request(self, key_id: str, most: int) -> tuple[bool, int, float]:
        return self._windows.request(key_id, most)

    async def tokens(self, key_id: str, most: int) -> tuple[int, float, int, float]:
        return self._windows.tokens(key_id)

    async def charge(self, key_id: str, tokens: int) -> None:
        self._windows.charge(key_id, tokens)


class _Counts:
    """What the windows say of a key."""

    def __init__(self, places: _Places) -> None:
        self._places = places

    async def admit(self, key: ApiKey) -> Standing:
        headers: dict[str, str] = {}
        if (most := key.limits.tokens_per_minute) is not None:
            window = await self._places.tokens(key.id, most)
            previous, previous_ends, current, current_ends = window
            left = most - current - previous * previous_ends / WINDOW
            reset = current_ends if current else previous_ends if previous else 0.0
            headers |= _headers("tokens", most, math.floor(left), reset)
            if (wait := seconds_until_free(most, *window)) > 0:
                return Standing(headers, _reached(key, f"{most} tokens", wait))
        if (most := key.limits.requests_per_minute) is not None:
            admitted, left_over, reset = await self._places.request(key.id, most)
            headers |= _headers("requests", most, left_over, reset)
            if not admitted:
                return Standing(headers, _reached(key, f"{most} requests", reset))
        return Standing(headers)

    async def charge(self, key: ApiKey, tokens: int) -> None:
        await self._places.charge(key.id, tokens)


def _clock() -> float:
    """How far the wall clock is from one that nobody sets."""
    return time.time() - time.monotonic()


def seconds_until_free(most: int, previous: int, previous_ends: float, current: int, current_ends: float) -> float:
    """Seconds until fewer than `most` tokens are counted, when no more come; 0 when that is so now.

    `previous` tokens fade evenly until they end, in at most a window; `current` ones count in full until this window
    turns, a window before they end, and fade from then on. All times are in seconds from now.
    """
    if current < most:
        if previous == 0:
            return 0.0
        return max(0.0, previous_ends - (most - current) * WINDOW / previous)
    return max(0.0, current_ends - WINDOW) + WINDOW * (1 - most / current)


def _reached(key: ApiKey, limit: str, wait: float) -> LimitReached:
    return LimitReached(
        f"the {key} has used its {limit} per minute; try again in {max(1, math.ceil(wait))} s",
        retry_after=wait,
    )


def _headers(what: str, most: int, left: int, reset: float) -> dict[str, str]:
    """As OpenAI names them, with the time as Go writes a duration."""
    return {
        f"x-ratelimit-limit-{what}": str(most),
        f"x-ratelimit-remaining-{what}": str(max(0, left)),
        f"x-ratelimit-reset-{what}": f"{max(0.0, reset):.3f}s",
    }
