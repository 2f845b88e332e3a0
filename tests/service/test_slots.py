"""The service with more adapters wanted than a batch has slots: bounded, grouped, and told from outside."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from typing import Any

import pytest

from service.engine.interface import Call, Tally
from service.openai.relay import Relays
from service.request_context import RequestContext

pytestmark = pytest.mark.timeout(300)

LETTERS = "abcdefgh"


@pytest.fixture
def crowd(house: Any) -> Any:
    """Eight adapters in production."""
    for letter in LETTERS:
        house.adapter(letter)
        house.prod(letter, adapter=letter)
    return house


class Watched:
    """Counts the adapters that the engine is answering with."""

    def __init__(self, engine: Any) -> None:
        self.now: Counter[str] = Counter()
        self.order: list[str] = []
        self.most = 0
        stream, score = engine.stream, engine.score

        async def watched(call: Call) -> AsyncGenerator[str | Tally, None]:
            with self.inside(call.adapter):
                async for item in stream(call):
                    yield item

        async def scored(adapter: Any, *ids: Any) -> list[float]:
            with self.inside(adapter):
                await asyncio.sleep(0)
                found: list[float] = await score(adapter, *ids)
                return found

        engine.stream, engine.score = watched, scored

    def inside(self, adapter: Any) -> Any:
        from contextlib import contextmanager, nullcontext

        if adapter is None:
            return nullcontext()

        @contextmanager
        def counted() -> Any:
            self.now[adapter.name] += 1
            self.order.append(adapter.name)
            self.most = max(self.most, len(+self.now))
            yield
            self.now[adapter.name] -= 1

        return counted()


async def test_the_engine_never_has_more_adapters_than_slots_golden_prompts_included(crowd: Any, start: Any) -> None:
    async with start(crowd, max_loras=2, max_cpu_loras=4) as running:
        watched = Watched(running.engine)
        asking = [running.chat(LETTERS[at % 8], stream=at % 3 == 0) for at in range(64)]
        replies = await asyncio.gather(*asking)
        assert {reply.status_code for reply in replies} == {200}
        assert watched.most == 2
        assert len(set(watched.order)) == 8


async def test_the_base_is_answered_while_adapters_wait(crowd: Any, start: Any, until: Any) -> None:
    async with start(crowd, max_loras=1) as running:
        gate = running.app.state.parts.gate
        async with gate.turn("somebody else's"):
            waiting = asyncio.create_task(running.chat("a"))
            await until(lambda: gate.waiting)
            assert (await running.chat("tiny")).status_code == 200
            assert not waiting.done()
        assert (await waiting).status_code == 200


async def test_the_first_request_for_a_new_adapter_waits_for_a_slot_once(crowd: Any, start: Any, until: Any) -> None:
    """Its golden prompts take the slot, and it follows them: nobody comes between who asked later."""
    async with start(crowd, max_loras=1) as running:
        parts = running.app.state.parts
        for letter in "bc":
            await running.chat(letter)
        watched = Watched(running.engine)
        async with parts.gate.turn("somebody else's"):
            first = asyncio.create_task(running.chat("a"))
            await until(lambda: parts.gate.waiting == 1)
            rival = asyncio.create_task(running.chat("b"))
            await until(lambda: parts.gate.waiting == 2)
        assert {reply.status_code for reply in await asyncio.gather(first, rival)} == {200}
        new, known = watched.order[0], watched.order[-1]
        assert watched.order == [new, new, known]


async def test_past_the_queue_limit_callers_are_told_when_to_come_back(crowd: Any, start: Any, until: Any) -> None:
    async with start(crowd, max_loras=1, max_queue=2) as running:
        gate = running.app.state.parts.gate
        for letter in "abc":
            await running.chat(letter)
        async with gate.turn("somebody else's"):
            waiting = [asyncio.create_task(running.chat(letter)) for letter in "ab"]
            await until(lambda: gate.waiting == 2)
            refused = await running.chat("c")
            assert (refused.status_code, refused.json()["error"]["code"]) == (503, "overloaded")
            assert int(refused.headers["retry-after"]) >= 1
        assert {reply.status_code for reply in await asyncio.gather(*waiting)} == {200}


async def test_who_goes_away_while_waiting_gives_everything_back(crowd: Any, start: Any, until: Any) -> None:
    async with start(crowd, max_loras=1) as running:
        parts = running.app.state.parts
        await running.chat("a")
        async with parts.gate.turn("somebody else's"):
            asking = asyncio.create_task(running.app.state.service.answer("completion", _prompt("a"), RequestContext()))
            await until(lambda: parts.gate.waiting == 1)
            asking.cancel()
            await asyncio.wait({asking})
            assert (parts.gate.waiting, parts.residency.leases()) == (0, 0)
        assert (await running.chat("a")).status_code == 200


async def test_draining_lets_those_who_wait_for_a_slot_finish(crowd: Any, start: Any, until: Any) -> None:
    async with start(crowd, max_loras=1) as running:
        service = running.app.state.service
        gate = running.app.state.parts.gate
        for letter in "ab":
            await running.chat(letter)
        async with gate.turn("somebody else's"):
            waiting = [asyncio.create_task(running.chat(letter)) for letter in "ab"]
            await until(lambda: gate.waiting == 2)
            draining = asyncio.create_task(service.parts.drain(30))
            await until(lambda: service.parts.under_way.draining_since)
        assert {reply.status_code for reply in await asyncio.gather(*waiting)} == {200}
        assert await draining


async def test_waiting_for_a_slot_is_counted_as_queueing(crowd: Any, start: Any, until: Any) -> None:
    async with start(crowd, max_loras=1) as running:
        gate = running.app.state.parts.gate
        await running.chat("a")
        now = [0.0]
        gate._clock = lambda: now[0]
        async with gate.turn("somebody else's"):
            waiting = asyncio.create_task(running.chat("a"))
            await until(lambda: gate.waiting == 1)
            assert "dabt_waiting_for_slot 1.0" in (await running.client.get("/metrics")).text
            now[0] = 7.0
        await waiting
        page = (await running.client.get("/metrics")).text
        (total,) = [line for line in page.splitlines() if line.startswith('dabt_queue_seconds_sum{version="a:1"}')]
        assert float(total.split()[-1]) == 7.0


def _prompt(model: str) -> dict[str, Any]:
    return {"model": model, "prompt": "hello"}


async def test_a_reader_who_stops_reading_holds_no_slot_and_no_place(crowd: Any, start: Any, until: Any) -> None:
    async with start(crowd, max_loras=1, max_cpu_loras=1) as running:
        service, parts = running.app.state.service, running.app.state.parts
        service._relays = Relays(patience=0.001)
        reply = await service.answer("completion", {**_prompt("a"), "stream": True}, RequestContext())
        await until(lambda: parts.gate.taken == 0)
        assert parts.residency.leases() == 0
        assert (await running.chat("b")).status_code == 200
        rest = [event async for event in reply.events]
        assert len(rest) > 3
        assert rest[-1] == "data: [DONE]\n\n"
        assert not any("error" in event for event in rest)
