"""Limits per minute: exact for requests, with debts for tokens, the same in memory and in Redis, and without Redis."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from lifecycle.access.keys import ApiKey, KeyLimits, digest_of_secret
from lifecycle.errors import InvalidConfig
from service.access.limiter import Limiter, Standing, seconds_until_free
from tests.ports import free_port
from tests.service.logged import logged

pytestmark = pytest.mark.timeout(300)


def key(name: str = "app", **limits: int) -> ApiKey:
    return ApiKey(
        id=f"key-{name}",
        name=name,
        hint="abcd",
        digest=digest_of_secret(name),
        limits=KeyLimits(**limits),
        created_at=datetime.now(UTC),
        created_by="test",
    )


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.e2e)])
async def limiters(request: pytest.FixtureRequest) -> AsyncIterator[list[Limiter]]:
    """Two services of one registry; in memory they are one."""
    if request.param == "redis":
        url = f"redis://127.0.0.1:{request.getfixturevalue('redis_port')}/0"
        made = [Limiter(url), Limiter(url)]
    else:
        made = [Limiter("memory://")] * 2
    yield made
    for limiter in made:
        await limiter.close()


async def refused(limiter: Limiter, asking: ApiKey) -> str:
    """Why a request is refused; empty when it is admitted."""
    standing = await limiter.admit(asking)
    return str(standing.refusal or "")


async def test_as_many_requests_as_allowed_are_admitted_and_not_one_more(limiters: list[Limiter]) -> None:
    asking = key(requests_per_minute=5)
    standings = await asyncio.gather(*(limiters[at % 2].admit(asking) for at in range(12)))
    assert sum(one.refusal is None for one in standings) == 5
    left = sorted(int(one.headers["x-ratelimit-remaining-requests"]) for one in standings if one.refusal is None)
    assert left[0] == 0
    (refusal, *_) = [one.refusal for one in standings if one.refusal is not None]
    assert 0 < refusal.retry_after <= 60
    assert "5 requests per minute" in str(refusal)


async def test_keys_do_not_share_a_limit_and_one_without_has_none(limiters: list[Limiter]) -> None:
    one, other, free = key("one", requests_per_minute=1), key("other", requests_per_minute=1), key("free")
    limiter, _ = limiters
    assert [bool(await refused(limiter, asking)) for asking in (one, one, other, other)] == [False, True, False, True]
    assert [(await limiter.admit(free)).headers for _ in range(5)] == [{}] * 5


async def test_tokens_are_charged_as_they_were_and_refuse_what_comes_after(limiters: list[Limiter]) -> None:
    asking = key(tokens_per_minute=100)
    here, there = limiters
    assert (await here.admit(asking)).headers["x-ratelimit-remaining-tokens"] == "100"
    await here.charge(asking, 60)
    standing = await there.admit(asking)
    assert standing.refusal is None
    assert standing.headers["x-ratelimit-remaining-tokens"] == "40"
    await there.charge(asking, 41)
    standing = await here.admit(asking)
    assert standing.refusal is not None
    assert "100 tokens per minute" in str(standing.refusal)
    assert standing.headers["x-ratelimit-remaining-tokens"] == "0"
    assert 0 < standing.refusal.retry_after < 61


async def test_an_answer_over_the_limit_is_a_debt_and_not_forgotten(limiters: list[Limiter]) -> None:
    """The library itself refuses to count what does not fit, and an answer is counted when it is over."""
    asking = key(tokens_per_minute=100)
    limiter, _ = limiters
    await limiter.charge(asking, 80)
    await limiter.charge(asking, 1000)
    standing = await limiter.admit(asking)
    assert standing.refusal is not None
    assert standing.refusal.retry_after > 40, "it is paid off in the minute after"


async def test_a_request_refused_for_its_tokens_is_not_counted_as_a_request(limiters: list[Limiter]) -> None:
    asking = key(tokens_per_minute=10, requests_per_minute=2)
    limiter, _ = limiters
    await limiter.charge(asking, 20)
    assert "tokens" in await refused(limiter, asking)
    unlimited = asking.model_copy(update={"limits": KeyLimits(requests_per_minute=2)})
    assert [await refused(limiter, unlimited) for _ in range(2)] == ["", ""]


@pytest.mark.e2e
async def test_without_redis_each_service_counts_for_itself_and_shares_again_afterwards(
    redis_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asking = key(requests_per_minute=2)
    limiter = Limiter(f"redis://:a-password@127.0.0.1:{free_port()}/0")
    with logged() as log:
        assert [bool(await refused(limiter, asking)) for _ in range(3)] == [False, False, True]
        warnings = [line for line in log.lines() if line["level"] == "warning"]
        assert [line["event"] for line in warnings] == ["limits are counted by this process alone"]
        assert "a-password" not in log.text()
        await limiter.close()
        limiter = Limiter(f"redis://127.0.0.1:{redis_port}/0")
        limiter._away_until = 1e-9  # it was away, and the pause is over
        assert [bool(await refused(limiter, asking)) for _ in range(3)] == [False, False, True]
        assert log.lines()[-1]["event"] == "limits are shared again"
    await limiter.close()


async def test_a_clock_that_is_set_back_shuts_no_key_out(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter = Limiter("memory://")
    asking = key(requests_per_minute=2, tokens_per_minute=10)
    assert [bool(await refused(limiter, asking)) for _ in range(3)] == [False, False, True]
    await limiter.charge(asking, 20)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now - 3600)
    assert [bool(await refused(limiter, asking)) for _ in range(3)] == [False, False, True]


async def test_a_clock_that_is_set_back_is_said_with_its_seconds_and_one_that_is_kept_right_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asking = key(requests_per_minute=2)
    for back, said in ((1.5, []), (3600.0, [3600])):
        limiter = Limiter("memory://")
        ahead = time.time
        with logged() as log, monkeypatch.context() as patch:
            patch.setattr(time, "time", lambda ahead=ahead, back=back: ahead() - back)
            await limiter.admit(asking)
            warned = [line["seconds"] for line in log.lines() if "set back" in line["event"]]
        assert warned == said


class _Shared:
    """The windows in Redis, which is there or is not."""

    def __init__(self) -> None:
        self.away = False
        self.asked = 0

    async def admit(self, key: ApiKey) -> Standing:
        self.asked += 1
        if self.away:
            raise OSError("connection refused")
        return Standing({"shared": "yes"})


async def test_each_outage_of_redis_is_said_once_and_so_is_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Redis is asked again five seconds after it failed; meanwhile no request waits for it."""
    limiter, shared, now = Limiter("memory://"), _Shared(), 1000.0
    limiter._shared = shared  # type: ignore[assignment]
    monkeypatch.setattr(time, "monotonic", lambda: now)
    monkeypatch.setattr(time, "time", lambda: 1e9 + now)
    limiter._clock = 1e9
    asking = key(requests_per_minute=100)

    async def shares() -> bool:
        return "shared" in (await limiter.admit(asking)).headers

    with logged() as log:
        for _ in range(2):
            shared.away, shared.asked = True, 0
            assert [await shares() for _ in range(3)] == [False] * 3
            assert shared.asked == 1
            now += 5.0
            assert not await shares()
            assert shared.asked == 2
            shared.away = False
            now += 4.9
            assert not await shares()
            now += 0.2
            assert await shares()
            assert await shares()
        events = [line["event"] for line in log.lines()]
    assert events == ["limits are counted by this process alone", "limits are shared again"] * 2


async def test_the_headers_tell_what_is_left_and_until_when(monkeypatch: pytest.MonkeyPatch) -> None:
    limiter, asking = Limiter("memory://"), key(requests_per_minute=3, tokens_per_minute=50)
    now = float(int(time.time()) // 60 * 60 + 12)  # twelve seconds into a window
    monkeypatch.setattr(time, "time", lambda: now)
    headers = (await limiter.admit(asking)).headers
    assert headers == {
        "x-ratelimit-limit-requests": "3",
        "x-ratelimit-remaining-requests": "2",
        "x-ratelimit-reset-requests": "60.000s",
        "x-ratelimit-limit-tokens": "50",
        "x-ratelimit-remaining-tokens": "50",
        "x-ratelimit-reset-tokens": "0.000s",
    }


@pytest.mark.parametrize("url", ["unix:///tmp/redis.sock", "redis://127.0.0.1:not-a-port/0"])
def test_every_place_that_cannot_be_used_is_refused_alike(url: str) -> None:
    with pytest.raises(InvalidConfig) as caught:
        Limiter(url)
    (problem,) = caught.value.problems
    assert (problem.place, problem.cure) == ("--limits-url", "install dabt[redis], or use memory://")


def test_redis_without_its_client_is_refused_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "redis.asyncio", None)
    with pytest.raises(InvalidConfig) as caught:
        Limiter("redis://127.0.0.1/0")
    assert "dabt[redis]" in caught.value.problems[0].cure


def test_a_place_that_cannot_be_used_is_refused_with_the_option() -> None:
    with pytest.raises(InvalidConfig) as caught:
        Limiter("redis://127.0.0.1:not-a-port/0")
    assert caught.value.problems[0].place == "--limits-url"


# -- when there is room again ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("window", "seconds"),
    [
        ((0, 0.0, 0, 0.0), 0.0),
        ((0, 0.0, 99, 100.0), 0.0),
        ((0, 0.0, 100, 90.0), 30.0),  # at the turn of the window, when what is counted begins to fade
        ((0, 0.0, 200, 90.0), 60.0),  # 30 to the turn, and half a window until 200 have become 100
        ((200, 60.0, 0, 0.0), 30.0),
        ((100, 30.0, 0, 0.0), 0.0),
        ((100, 60.0, 50, 120.0), 30.0),
    ],
)
def test_the_wait_for_room_is_told_to_the_second(window: Any, seconds: float) -> None:
    assert seconds_until_free(100, *window) == pytest.approx(seconds)


def counted(after: float, previous: int, previous_ends: float, current: int, current_ends: float) -> float:
    """What the two counters say `after` seconds from now: the library's own formula."""
    turn = current_ends - 60.0
    if after >= turn and current:
        return current * max(0.0, 120.0 - (after - turn) - 60.0) / 60.0
    return previous * max(0.0, previous_ends - after) / 60.0 + current


def test_after_the_wait_there_is_room_and_before_it_there_is_none() -> None:
    reached: Counter[str] = Counter()

    @seed(1)
    @settings(database=None, deadline=None)
    @given(
        most=st.integers(1, 10_000),
        previous=st.integers(0, 30_000),
        current=st.integers(0, 30_000),
        into=st.floats(0.0, 59.9),
    )
    def holds(most: int, previous: int, current: int, into: float) -> None:
        window = (previous, 60.0 - into if previous else 0.0, current, 120.0 - into if current else 0.0)
        wait = seconds_until_free(most, *window)
        assert counted(wait + 1e-3, *window) < most + 1e-6
        if wait > 0.01:
            assert counted(wait - 1e-2, *window) >= most - 1e-6
        reached["no wait" if wait == 0 else "this window is full" if current >= most else "the one before is"] += 1

    holds()
    assert len(reached) == 3
    assert min(reached.values()) >= 5, reached
