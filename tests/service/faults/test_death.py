"""The engine dies while requests are everywhere on their way: each is told, and afterwards all is as before.

Over the fake engine, at chosen moments; `test_engine_faults.py` kills, hangs and starves the real one.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import EngineDead, Overloaded
from service.concurrency import Bulkhead
from service.config import ServeConfig
from service.engine.vllm.engine import VllmEngine

pytestmark = pytest.mark.timeout(300)


async def test_every_request_is_told_wherever_it_was_and_all_is_rebuilt(house: Any, start: Any, until: Any) -> None:
    for name in ("a", "b", "c", "d"):
        house.adapter(name)
        house.prod(name, adapter=name)
    history = house.registry.audit()
    async with start(house, max_loras=1, max_cpu_loras=2) as running:
        parts, engine = running.app.state.parts, running.engine
        before = {name: (await running.chat(name)).json()["choices"] for name in ("a", "b", "tiny")}
        engine.faults.hold = asyncio.Event()
        engine.faults.hold_load = asyncio.Event()
        asked = [
            asyncio.create_task(running.chat("a")),  # answered
            asyncio.create_task(running.chat("a", stream=True)),
            asyncio.create_task(running.chat("tiny", stream=True)),
            asyncio.create_task(running.chat("b")),  # waits for the slot
            asyncio.create_task(running.chat("c")),  # waits for room in memory
        ]
        await until(lambda: len(engine.active) == 3 and parts.gate.waiting == 1)
        engine.die()
        for reply in await asyncio.gather(*asked):
            assert reply.status_code == 503
            assert reply.json()["error"]["code"] == "engine_dead"
            assert int(reply.headers["retry-after"]) > 0
        assert (await running.client.get("/ready")).status_code == 503
        assert (await running.client.get("/health")).status_code == 200
        engine.faults.hold = engine.faults.hold_load = None
        await until(running.ready)
        assert parts.residency.residents() == []
        assert parts.residency.leases() == 0
        assert parts.gate.taken == 0
        for name, choices in before.items():
            assert (await running.chat(name)).json()["choices"] == choices
        assert (await running.chat("c")).status_code == 200, "its load was cut short, and is no fault of it"
    assert house.registry.audit() == history


ROUTES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/responses": {"input": "hi"},
    "/tokenize": {"prompt": "hi"},
    "/detokenize": {"tokens": [1]},
    "/admin/preload": {"ref": "a"},
}


async def test_requests_that_meet_a_restarting_engine_are_told_to_come_again(
    house: Any, start: Any, until: Any
) -> None:
    house.adapter("a")
    house.prod("a", adapter="a")
    async with start(house) as running:
        gate, begin = asyncio.Event(), running.engine.start

        async def starting() -> Any:
            await gate.wait()
            return await begin()

        running.engine.start = starting
        running.engine.die()
        for state in ("just died", "being restarted"):
            if state == "being restarted":
                await until(lambda: "restarted" in " ".join(running.app.state.parts.supervisor.waiting_for()))
            for path, body in ROUTES.items():
                reply = await running.client.post(path, json=body if "ref" in body else {"model": "a", **body})
                assert reply.status_code == 503, (state, path, reply.text)
                assert reply.headers["retry-after"] == "5", (state, path)
                assert reply.json()["error"]["code"] in ("engine_dead", "unavailable")
        gate.set()
        await until(running.ready)
        assert (await running.chat("a")).status_code == 200


async def test_an_engine_that_is_still_being_built_answers_nobody() -> None:
    engine = VllmEngine(ServeConfig(base=Path("tiny")))
    engine._llm = Silent()  # vLLM is there, and its handlers are not
    with pytest.raises(EngineDead, match="being started") as told:
        await engine.tokenize({"prompt": "hi"})
    assert told.value.retry_after == 5.0


async def test_a_load_that_the_death_cuts_short_is_told_and_done_again(house: Any, start: Any, until: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        running.engine.faults.hold_load = asyncio.Event()
        asked = [asyncio.create_task(running.chat("triage")) for _ in range(3)]
        await until(lambda: running.engine.loads)
        running.engine.die()
        replies = await asyncio.gather(*asked)
        assert {(reply.status_code, reply.json()["error"]["code"]) for reply in replies} == {(503, "engine_dead")}
        running.engine.faults.hold_load = None
        await until(running.ready)
        assert (await running.chat("triage")).status_code == 200


async def test_a_stream_that_has_begun_ends_with_the_error_and_its_word(house: Any, start: Any, until: Any) -> None:
    async with start(house) as running:
        running.engine.faults.break_stream_after = 4
        reply = await running.chat("tiny", stream=True)
        events = [line.removeprefix("data: ") for line in reply.text.split("\n\n") if line]
        assert reply.status_code == 200
        assert json.loads(events[-2])["error"]["code"] == "engine_dead"
        assert events[-1] == "[DONE]"
        running.engine.faults.break_stream_after = None
        await until(running.ready)


class Silent:
    """vLLM's client, whose core dies before it has answered; nobody resolves what was asked then."""

    errored = False

    def asked(self) -> Coroutine[Any, Any, bool]:
        async def answer() -> bool:
            await asyncio.Event().wait()
            return True

        return answer()


async def test_what_vllm_leaves_open_for_ever_when_its_core_dies_is_not_waited_for(
    house: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.vllm.engine._LOOK_EVERY", 0.01)
    engine, llm = VllmEngine(ServeConfig(base=house.base)), Silent()
    engine._llm = llm
    waiting = asyncio.create_task(engine._answered(llm.asked()))
    await asyncio.sleep(0.05)
    assert not waiting.done()
    llm.errored = True
    with pytest.raises(EngineDead):
        await waiting
    llm.errored = False
    waiting = asyncio.create_task(engine._answered(llm.asked()))
    await asyncio.sleep(0.05)
    engine._llm = Silent()  # another one has been started meanwhile
    with pytest.raises(EngineDead):
        await waiting


async def test_who_waits_behind_others_is_refused_when_they_are_too_many_and_told_at_the_end(until: Any) -> None:
    import threading

    gate = threading.Event()
    room = Bulkhead("registry", at_once=1, waiting=1, seconds=None)
    first, second = (asyncio.create_task(room.run(gate.wait)) for _ in range(2))
    await until(lambda: room.calls() == 2)
    with pytest.raises(Overloaded):
        await room.run(gate.wait)
    first.cancel()
    await asyncio.sleep(0.02)
    assert not second.done(), "who leaves does not give up the place of what still runs"
    gate.set()
    assert await second
    assert room.calls() == 0
