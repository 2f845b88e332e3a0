"""Windows in a Redis: by its clock alone, whatever those of the services are, and under names of their own."""

from __future__ import annotations

import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from service.access.limiter import Limiter
from service.access.redis_windows import RedisWindows
from tests.service.test_limiter import key

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]


@pytest.mark.parametrize("ahead", [420.0, -420.0, 86_400.0])
async def test_services_whose_clocks_are_apart_count_as_one(
    redis_port: int, monkeypatch: pytest.MonkeyPatch, ahead: float
) -> None:
    url, now = f"redis://127.0.0.1:{redis_port}/0", time.time
    services = [(Limiter(url), 0.0), (Limiter(url), 0.0)]
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: now() + ahead)
        services[1] = (Limiter(url), ahead)
    asking = key(requests_per_minute=8, tokens_per_minute=1000)
    standings = []
    for at in range(32):
        limiter, off = services[at % 2]
        with monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda off=off: now() + off)
            standings.append(await limiter.admit(asking))
            await limiter.charge(asking, 10)
    assert [each.refusal is None for each in standings] == [True] * 8 + [False] * 24
    told = [each.headers["x-ratelimit-remaining-requests"] for each in standings]
    assert told == [str(max(0, 7 - at)) for at in range(32)]
    resets = [float(each.headers["x-ratelimit-reset-requests"].rstrip("s")) for each in standings]
    assert resets == sorted(resets, reverse=True)
    assert resets[0] == 60.0
    waits = [each.refusal.retry_after for each in standings if each.refusal is not None]
    assert waits == resets[8:]
    assert standings[-1].headers["x-ratelimit-remaining-tokens"] == str(1000 - 31 * 10)
    for limiter, _ in services:
        await limiter.close()


@pytest.fixture
async def in_redis(redis_port: int) -> AsyncIterator[tuple[RedisWindows, Callable[[float], Awaitable[None]]]]:
    """Windows, and what makes Redis believe that so many seconds have passed since the requests of the key `one`."""
    windows = RedisWindows(f"redis://127.0.0.1:{redis_port}/0")
    redis: Any = windows._storage.bridge.get_connection()

    async def pass_time(seconds: float) -> None:
        (name,) = [each async for each in redis.scan_iter("*requests/one")]
        for at, moment in enumerate(await redis.lrange(name, 0, -1)):
            await redis.lset(name, at, int(moment) - int(seconds * 1000))

    yield windows, pass_time
    await windows.close()


async def test_requests_in_redis_are_counted_one_by_one_until_they_are_a_minute_old(in_redis: Any) -> None:
    windows, pass_time = in_redis
    assert await windows.request("one", 2) == (True, 1, 60.0)
    await pass_time(20)
    admitted, left, reset = await windows.request("one", 2)
    assert (admitted, left, math.ceil(reset / 10)) == (True, 0, 4)
    admitted, left, reset = await windows.request("one", 2)
    assert (admitted, left, math.ceil(reset / 10)) == (False, 0, 4)
    assert await windows.request("two", 2) == (True, 1, 60.0)
    await pass_time(40)
    admitted, left, reset = await windows.request("one", 2)
    assert (admitted, left, math.ceil(reset / 10)) == (True, 0, 2)
    await pass_time(60)
    assert await windows.request("one", 2) == (True, 1, 60.0)


async def test_a_limit_in_redis_that_is_lowered_says_when_there_is_room_under_it(in_redis: Any) -> None:
    windows, pass_time = in_redis
    for _ in range(4):
        assert (await windows.request("one", 5))[0]
        await pass_time(10)
    admitted, left, reset = await windows.request("one", 2)
    assert (admitted, left, math.ceil(reset / 10)) == (False, 0, 4)
    assert (await windows.request("one", 3))[0]


async def test_a_clock_of_redis_that_is_set_back_shuts_no_key_out_and_one_that_is_kept_right_forgets_nothing(
    in_redis: Any,
) -> None:
    windows, pass_time = in_redis
    for back, admitted_anew in ((-1.0, False), (-3600.0, True)):
        for _ in range(2):
            await windows.request("one", 2)
        await pass_time(back)
        admitted, left, reset = await windows.request("one", 2)
        assert (admitted, left) == (admitted_anew, 1 if admitted_anew else 0)
        assert 0 < reset <= 60


async def test_a_shared_redis_has_the_windows_under_names_of_their_own(in_redis: Any) -> None:
    windows, _ = in_redis
    await windows.charge("one", 5)
    await windows.request("one", 2)
    names = await windows._storage.bridge.get_connection().keys("*")
    assert sorted(names) == [b"LIMITS:dabt/requests/one", b"LIMITS:{dabt/tokens/one}"]
