"""The last 60 seconds of each key, in a Redis that several services share, by the clock of that Redis.

Services whose clocks are minutes apart so count as one. Requests are counted by a script of ours, which asks Redis for
the time: the limits library does the same with the time of the caller. Its sliding counters, which tokens use, know no
time but what Redis has left until a key expires. `windows.py` is the same in one process.
"""

from __future__ import annotations

from typing import Any, cast

from limits import RateLimitItemPerMinute
from limits.aio.storage import Storage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import ConfigurationError, StorageError
from limits.storage import storage_from_string

from lifecycle.errors import InvalidConfig, Problem
from service.access.windows import SET_BACK, WINDOW

_PATIENCE = 1.0
"""Seconds that a request waits for Redis."""
_ANYTHING = 2**53
"""More tokens than a window can hold: what was used is charged, whatever was allowed."""
_NAMESPACE = "dabt"

REQUEST = """
local window, most, set_back = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local time = redis.call('time')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local newest = tonumber(redis.call('lindex', KEYS[1], 0))
if newest and newest > now + set_back then
    redis.call('del', KEYS[1])
elseif newest and newest > now then
    now = newest
end
redis.call('ltrim', KEYS[1], 0, most - 1)
local oldest = tonumber(redis.call('lindex', KEYS[1], -1))
while oldest and oldest <= now - window do
    redis.call('rpop', KEYS[1])
    oldest = tonumber(redis.call('lindex', KEYS[1], -1))
end
local admitted = 0
if redis.call('llen', KEYS[1]) < most then
    admitted = 1
    redis.call('lpush', KEYS[1], now)
    redis.call('pexpire', KEYS[1], window)
end
return {admitted, most - redis.call('llen', KEYS[1]), (oldest or now) + window - now}
"""
"""Times of requests, newest first, in milliseconds: `Windows.request`, with all times from Redis. What is in the list
counts anew when that clock was set back; a little is taken for no time at all.
"""


class _Tokens(RateLimitItemPerMinute):
    """Named without its amount, so that what is charged and what is allowed are two looks at one window."""

    def key_for(self, *identifiers: bytes | str | float) -> str:
        return "/".join([self.namespace, "tokens", *map(str, identifiers)])


class RedisWindows:
    """`Windows` says what each method means. All of them raise `StorageError`, or an `OSError`, without Redis."""

    def __init__(self, url: str) -> None:
        """`redis://host:port/db` or `rediss://…`. Raises `InvalidConfig` for what cannot be used."""
        try:
            from redis.asyncio import BlockingConnectionPool, Redis
            from redis.exceptions import RedisError

            self._pool: Any = BlockingConnectionPool.from_url(
                url, timeout=_PATIENCE, socket_timeout=_PATIENCE, socket_connect_timeout=_PATIENCE, max_connections=64
            )
            options: dict[str, Any] = {"implementation": "redispy", "connection_pool": self._pool}
            storage = cast(Storage, storage_from_string(f"async+{url}", wrap_exceptions=True, **options))
        except (ImportError, ConfigurationError, ValueError) as error:
            cure = "install dabt[redis], or use memory://"
            raise InvalidConfig(
                "The limits cannot be kept there:", [Problem("--limits-url", str(error).splitlines()[0], cure)]
            ) from error
        self._errors = RedisError
        self._request: Any = Redis(connection_pool=self._pool).register_script(REQUEST)
        self._storage: Any = storage
        self._tokens = SlidingWindowCounterRateLimiter(storage)

    async def request(self, key_id: str, most: int) -> tuple[bool, int, float]:
        name = f"{self._storage.PREFIX}:{_NAMESPACE}/requests/{key_id}"
        arguments = [int(WINDOW * 1000), most, int(SET_BACK * 1000)]
        try:
            admitted, left, reset = await self._request(keys=[name], args=arguments)
        except self._errors as error:
            raise StorageError(error) from error
        return bool(admitted), left, reset / 1000

    async def tokens(self, key_id: str, most: int) -> tuple[int, float, int, float]:
        window: tuple[int, float, int, float]
        window = await self._storage.get_sliding_window(_tokens(most).key_for(key_id), int(WINDOW))
        return window

    async def charge(self, key_id: str, tokens: int) -> None:
        await self._tokens.hit(_tokens(_ANYTHING), key_id, cost=tokens)

    async def close(self) -> None:
        await self._pool.aclose()


def _tokens(amount: int) -> _Tokens:
    return _Tokens(amount, namespace=_NAMESPACE)
