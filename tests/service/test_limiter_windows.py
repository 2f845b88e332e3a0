"""The windows of a limit at their edges, on a clock that the test sets: whose, until when, and what they take."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter

from service.access import limiter as limiter_module
from service.access.limiter import Limiter
from service.access.redis_windows import RedisWindows
from tests.service.logged import logged
from tests.service.test_limiter import key

MINUTE = 1_700_000_040.0
"""The beginning of a minute, which is where the library's windows begin."""


class Clock:
    """The wall clock and the one that nobody sets; both stand still but when the test moves them."""

    def __init__(self) -> None:
        self.wall, self.steady = MINUTE, 1000.0

    def run(self, seconds: float) -> None:
        self.wall, self.steady = self.wall + seconds, self.steady + seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    clock = Clock()
    assert clock.wall % 60 == 0
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: clock.wall)
        patch.setattr(time, "monotonic", lambda: clock.steady)
        yield clock


async def test_the_tokens_of_one_key_are_no_other_keys(clock: Clock) -> None:
    limiter = Limiter("memory://")
    spender, other = key("one", tokens_per_minute=10), key("two", tokens_per_minute=10)
    await limiter.charge(spender, 20)
    assert (await limiter.admit(spender)).refusal is not None
    standing = await limiter.admit(other)
    assert (standing.refusal, standing.headers["x-ratelimit-remaining-tokens"]) == (None, "10")


async def test_the_reset_of_tokens_is_when_the_last_of_them_is_forgotten(clock: Clock) -> None:
    limiter, asking = Limiter("memory://"), key(tokens_per_minute=100)
    clock.run(12)
    await limiter.charge(asking, 50)

    async def reset() -> str:
        return (await limiter.admit(asking)).headers["x-ratelimit-reset-tokens"]

    assert await reset() == "108.000s"  # 48 s to the turn of the minute, and a minute in which they fade
    clock.run(48)
    assert await reset() == "60.000s"
    clock.run(45)
    assert await reset() == "15.000s"
    clock.run(15)
    assert await reset() == "0.000s"


async def test_a_wait_of_less_than_a_second_is_a_wait(clock: Clock) -> None:
    limiter, asking = Limiter("memory://"), key(tokens_per_minute=100)
    await limiter.charge(asking, 200)
    clock.run(89.5)  # at 90 s half of the 200 have faded
    refusal = (await limiter.admit(asking)).refusal
    assert refusal is not None
    assert refusal.retry_after == pytest.approx(0.5)
    assert "try again in 1 s" in str(refusal)
    clock.run(0.5 + 1e-3)
    assert (await limiter.admit(asking)).refusal is None


async def test_whatever_an_answer_took_is_counted(clock: Clock) -> None:
    limiter, asking = Limiter("memory://"), key(tokens_per_minute=1)
    await limiter.charge(asking, 10**12)
    assert (await limiter.admit(asking)).refusal is not None
    clock.run(119.9)
    assert (await limiter.admit(asking)).refusal is not None


async def test_a_key_without_a_limit_of_tokens_is_charged_nothing(clock: Clock) -> None:
    limiter, asking = Limiter("memory://"), key(requests_per_minute=5)
    await limiter.charge(asking, 50)
    limited = key(tokens_per_minute=10)
    assert limited.id == asking.id
    await limiter.charge(limited, 0)
    assert (await limiter.admit(limited)).headers["x-ratelimit-remaining-tokens"] == "10"


@pytest.mark.parametrize(("back", "anew"), [(2.0, False), (2.5, True)])
async def test_a_clock_is_set_back_when_it_goes_back_by_more_than_two_seconds(
    clock: Clock, back: float, anew: bool
) -> None:
    limiter, asking = Limiter("memory://"), key(requests_per_minute=1)
    assert (await limiter.admit(asking)).refusal is None
    clock.wall -= back
    assert ((await limiter.admit(asking)).refusal is None) is anew


async def test_a_limit_that_is_lowered_and_raised_counts_what_was_asked(clock: Clock) -> None:
    """The wait after a lowered one is until there is room under it, and not until the oldest of all has left."""
    limiter = Limiter("memory://")
    for _ in range(4):
        assert (await limiter.admit(key(requests_per_minute=5))).refusal is None
        clock.run(10)
    refusal = (await limiter.admit(key(requests_per_minute=2))).refusal
    assert refusal is not None
    assert refusal.retry_after == 40
    assert (await limiter.admit(key(requests_per_minute=3))).refusal is None


async def test_an_outage_names_the_host_that_is_away(clock: Clock) -> None:
    limiter = Limiter("redis://user:secret@127.0.0.1:1/0")
    with logged() as log:
        await limiter.admit(key(requests_per_minute=1))
        assert [line["redis"] for line in log.lines()] == ["127.0.0.1"]
    await limiter.close()
    assert limiter_module.Limiter("memory://")._where == "memory"


async def test_tokens_of_the_minute_before_fade_evenly(clock: Clock) -> None:
    limiter, asking = Limiter("memory://"), key(tokens_per_minute=100)
    await limiter.charge(asking, 60)
    left = []
    for seconds in (60, 15, 15, 29):
        clock.run(seconds)
        left.append((await limiter.admit(asking)).headers["x-ratelimit-remaining-tokens"])
    assert left == ["40", "55", "70", "99"]


async def test_a_limiter_that_is_closed_closes_its_connections(monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.asyncio import BlockingConnectionPool

    closed = []

    async def close(pool: BlockingConnectionPool) -> None:
        closed.append(pool)
        raise OSError("it is away")

    monkeypatch.setattr(BlockingConnectionPool, "aclose", close)
    await Limiter("redis://127.0.0.1:1/0").close()
    assert len(closed) == 1
    await Limiter("memory://").close()
    assert len(closed) == 1


async def test_a_part_of_a_token_is_not_left(clock: Clock) -> None:
    limiter, asking = Limiter("memory://"), key(tokens_per_minute=100)
    await limiter.charge(asking, 61)
    clock.run(75)  # 45.75 of the 61 count still
    assert (await limiter.admit(asking)).headers["x-ratelimit-remaining-tokens"] == "54"


async def test_the_librarys_windows_count_whatever_was_taken_key_by_key(clock: Clock) -> None:
    """As in Redis, which needs no server for this: the library's storage in memory has the same windows."""
    places = RedisWindows("redis://127.0.0.1:1/0")
    places._storage = MemoryStorage()
    places._tokens = SlidingWindowCounterRateLimiter(places._storage)
    clock.run(12)
    await places.charge("one", 10**12)
    assert (await places.tokens("one", 5))[2:] == pytest.approx((10**12, 108.0))
    assert (await places.tokens("two", 5))[2] == 0


async def test_a_request_waits_a_second_for_redis_and_no_longer(monkeypatch: pytest.MonkeyPatch) -> None:
    from redis.asyncio import BlockingConnectionPool

    asked: list[BlockingConnectionPool] = []

    async def away(pool: BlockingConnectionPool, *_: object, **__: object) -> None:
        asked.append(pool)
        raise OSError("it is away")

    monkeypatch.setattr(BlockingConnectionPool, "get_connection", away)
    await Limiter("redis://127.0.0.1:1/0").admit(key(requests_per_minute=1))
    (pool,) = asked
    waits = (pool.timeout, *(pool.connection_kwargs[f"socket_{what}timeout"] for what in ("", "connect_")))
    assert waits == (1.0, 1.0, 1.0)


class _Asked:
    """Redis, as far as it is told what was used."""

    def __init__(self) -> None:
        self.charged: list[int] = []

    async def charge(self, key: object, tokens: int) -> None:
        self.charged.append(tokens)


async def test_only_what_was_used_of_a_limit_is_told_to_redis() -> None:
    limiter, asked = Limiter("memory://"), _Asked()
    limiter._shared = asked  # type: ignore[assignment]
    for tokens in (0, 1, 2):
        await limiter.charge(key(tokens_per_minute=10), tokens)
        await limiter.charge(key(requests_per_minute=10), tokens)
    assert asked.charged == [1, 2]
