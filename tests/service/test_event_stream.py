"""A stream on the wire: when it begins, what keeps it alive, and how it ends."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx
import openai
import pytest

from tests.service.test_disconnect import RawCall

pytestmark = pytest.mark.timeout(300)

COMMENT = b": keep-alive\n\n"
CHAT = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
RESPONSE = {"model": "tiny", "input": "hi", "stream": True}


def asked(running: Any, body: dict[str, Any], path: str = "/v1/chat/completions") -> tuple[RawCall, asyncio.Task[None]]:
    call = RawCall(running.app, body)
    call.path = path
    return call, asyncio.create_task(call.run())


def said(call: RawCall) -> bytes:
    return b"".join(message.get("body", b"") for message in call.sent)


def comments(call: RawCall) -> int:
    return said(call).count(COMMENT)


async def test_a_stream_whose_first_event_comes_in_time_has_no_comment(house: Any, start: Any) -> None:
    async with start(house) as running:
        reply = await running.chat("tiny", stream=True)
    assert reply.text.startswith('data: {"dabt"')
    assert COMMENT.decode() not in reply.text
    assert reply.text.endswith("data: [DONE]\n\n")


async def test_a_long_prefill_is_kept_alive_before_the_first_event(house: Any, start: Any, until: Any) -> None:
    async with start(house, keep_alive_seconds=0.001) as running:
        running.engine.faults.hold = asyncio.Event()
        call, work = asked(running, CHAT)
        await until(lambda: comments(call) > 3)
        assert call.sent[0]["status"] == 200
        assert dict(call.sent[0]["headers"])[b"x-dabt-version"] == b"tiny"
        assert said(call).replace(COMMENT, b"") == b""
        running.engine.faults.hold.set()
        await work
        whole = await running.chat("tiny", "hi")
    events = [line.removeprefix("data: ") for line in said(call).decode().splitlines() if line.startswith("data: ")]
    pieces = [json.loads(event)["choices"][0]["delta"]["content"] for event in events[:-1]]
    assert "".join(pieces) == whole.json()["choices"][0]["message"]["content"]
    assert events[-1] == "[DONE]"


async def test_silence_between_two_tokens_is_broken_by_comments_and_nothing_follows_the_end(
    house: Any, start: Any, until: Any
) -> None:
    async with start(house, keep_alive_seconds=0.001) as running:
        gate = running.engine.faults.hold = asyncio.Event()
        gate.set()
        stream = running.engine.stream

        async def stopping(call: Any) -> Any:
            first = True
            async for item in stream(call):
                yield item
                if first:
                    gate.clear()
                first = False

        running.engine.stream = stopping
        call, work = asked(running, CHAT)
        await until(lambda: b"data: " in said(call) and not gate.is_set())
        before = comments(call)
        await until(lambda: comments(call) > before + 3)
        gate.set()
        await work
    assert said(call).endswith(b"data: [DONE]\n\n")
    assert call.sent[-1] == {"type": "http.response.body", "body": b"", "more_body": False}


async def test_an_error_before_the_stream_has_begun_has_its_own_status(house: Any, start: Any) -> None:
    async with start(house, keep_alive_seconds=60) as running:
        for fields, wanted in (({"model": "nobody"}, 404), ({"temperature": "hot"}, 400), ({"stream": "yes"}, 400)):
            reply = await running.client.post("/v1/chat/completions", json={**CHAT, **fields})
            assert (reply.status_code, reply.headers["content-type"]) == (wanted, "application/json")


@pytest.mark.parametrize(("path", "body"), [("/v1/chat/completions", CHAT), ("/v1/responses", RESPONSE)])
async def test_an_error_after_the_stream_has_begun_is_told_inside_and_counted(
    house: Any, start: Any, until: Any, path: str, body: dict[str, Any]
) -> None:
    async with start(house, keep_alive_seconds=0.001) as running:
        running.engine.faults.hold = asyncio.Event()
        call, work = asked(running, body, path)
        await until(lambda: comments(call) > 0 and running.engine.active)
        running.engine.die()
        await work
        page = (await running.client.get("/metrics")).text
    (event, *rest) = said(call).decode().replace(COMMENT.decode(), "").split("\n\n")
    if path == "/v1/responses":
        name, data = event.split("\n")
        assert (name, rest) == ("event: error", [""])
    else:
        data = event
        assert rest == ["data: [DONE]", ""]
    assert json.loads(data.removeprefix("data: "))["error"]["code"] == "engine_dead"
    assert 'dabt_request_errors_total{code="engine_dead",version="tiny"} 1.0' in page


@pytest.mark.parametrize("begun", [False, True])
async def test_a_reader_who_leaves_before_the_first_event_frees_the_request(
    house: Any, start: Any, until: Any, begun: bool
) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house, keep_alive_seconds=0.001 if begun else 60) as running:
        running.engine.faults.hold = asyncio.Event()
        call, work = asked(running, {**CHAT, "model": "triage"})
        await until(lambda: running.engine.active and (comments(call) > 0 or not begun))
        call.leave.set()
        await work
        assert running.engine.active == set()
        assert running.app.state.parts.residency.leases() == 0


async def test_the_official_client_reads_over_comments(house: Any, start: Any, until: Any) -> None:
    async with start(house, keep_alive_seconds=0.001) as running:
        transport = httpx.ASGITransport(app=running.app, client=("127.0.0.1", 50000))
        async with (
            httpx.AsyncClient(transport=transport) as http,
            openai.AsyncOpenAI(base_url="http://service/v1", api_key="none", http_client=http) as client,
        ):
            messages: Any = CHAT["messages"]

            async def chat() -> str:
                stream = await client.chat.completions.create(model="tiny", messages=messages, stream=True)
                return "".join([chunk.choices[0].delta.content or "" async for chunk in stream])

            async def response() -> str:
                async with client.responses.stream(model="tiny", input="hi") as stream:
                    return (await stream.get_final_response()).output_text

            whole = await running.chat("tiny", "hi")
            for ask in (chat, response):
                running.engine.faults.hold = asyncio.Event()
                asking = asyncio.create_task(ask())
                await until(lambda: running.engine.active)
                for _ in range(5):  # comments among the events
                    await asyncio.get_running_loop().run_in_executor(None, lambda: None)
                running.engine.faults.hold.set()
                assert await asking == whole.json()["choices"][0]["message"]["content"]
