"""A slow reader: gets his whole answer, and holds up nothing while he does not read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any

import pytest

from lifecycle.errors import EngineDead
from service.openai.relay import Relays

pytestmark = pytest.mark.timeout(300)
name: ContextVar[str] = ContextVar("name")


class Bench:
    def __init__(self, count: int = 5) -> None:
        self.now = 0.0
        self.count = count
        self.relays = Relays(clock=lambda: self.now)
        self.given_back = 0
        self.closed = False
        self.fails_at: int | None = None
        self.hold: asyncio.Event | None = None

    async def engine(self) -> AsyncGenerator[str, None]:
        name.set("request")
        try:
            for at in range(self.count):
                if self.hold is not None and at:
                    await self.hold.wait()
                if at == self.fails_at:
                    raise EngineDead("gone")
                await asyncio.sleep(0)
                yield f"{name.get()} {at}"
        finally:
            self.closed = True

    async def back(self) -> None:
        self.given_back += 1

    def stream(self) -> AsyncGenerator[str, None]:
        return self.relays.through(self.engine(), self.back)

    def look(self) -> None:
        """Long after whatever happened last."""
        self.now += 10
        self.relays._look()

    def whole(self) -> list[str]:
        return [f"request {at}" for at in range(self.count)]


async def test_a_reader_who_keeps_up_gets_every_item_as_it_comes() -> None:
    bench = Bench()
    async with aclosing(bench.stream()) as items:
        got = []
        async for item in items:
            got.append(item)
            assert not bench.closed or len(got) == bench.count
    assert got == bench.whole()
    assert (bench.given_back, bench.closed) == (1, True)


async def test_for_a_reader_who_stays_away_the_engine_goes_on_and_is_given_back(until: Any) -> None:
    bench = Bench()
    async with aclosing(bench.stream()) as items:
        first = await anext(items)
        bench.look()
        await until(lambda: bench.given_back)
        assert bench.closed
        assert [first, *[item async for item in items]] == bench.whole()
    assert bench.given_back == 1


async def test_a_reader_who_waits_for_the_engine_is_not_away(until: Any) -> None:
    bench = Bench()
    bench.hold = asyncio.Event()
    async with aclosing(bench.stream()) as items:
        await anext(items)
        waiting = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        bench.look()
        bench.hold.set()
        assert await waiting == "request 1"
        assert len([item async for item in items]) == 3


async def test_a_reader_who_comes_back_before_the_end_goes_on_where_he_was(until: Any) -> None:
    bench = Bench()
    bench.hold = asyncio.Event()
    async with aclosing(bench.stream()) as items:
        got = [await anext(items)]
        bench.look()
        await asyncio.sleep(0)
        coming = asyncio.ensure_future(anext(items))
        await asyncio.sleep(0)
        assert not coming.done()
        bench.hold.set()
        got.append(await coming)
        got += [item async for item in items]
    assert got == bench.whole()


@pytest.mark.parametrize("away", [False, True])
async def test_an_error_comes_after_the_items_before_it_and_gives_back(away: bool, until: Any) -> None:
    bench = Bench()
    bench.fails_at = 3
    async with aclosing(bench.stream()) as items:
        got = [await anext(items)]
        if away:
            bench.look()
            await until(lambda: bench.given_back)
        got += [await anext(items), await anext(items)]
        with pytest.raises(EngineDead):
            await anext(items)
    assert got == bench.whole()[:3]
    assert bench.given_back == 1


@pytest.mark.parametrize("away", [False, True])
async def test_a_reader_who_leaves_closes_the_engines_stream(away: bool, until: Any) -> None:
    bench = Bench()
    bench.hold = asyncio.Event()
    async with aclosing(bench.stream()) as items:
        await anext(items)
        if away:
            bench.look()
            await asyncio.sleep(0)
    assert bench.closed


async def test_nobody_looks_when_there_are_no_streams() -> None:
    bench = Bench()
    async with aclosing(bench.stream()) as items:
        assert len([item async for item in items]) == bench.count
    assert bench.relays._timer is not None
    bench.look()
    assert bench.relays._timer is None
