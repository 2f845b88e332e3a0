"""The line of each request: there is exactly one, it names who and what, and it tells nothing of what was said."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from lifecycle.access.keys import KeyGrant, KeyLimits
from tests.service.logged import Log, logged

pytestmark = pytest.mark.timeout(300)

SECRET = "حديث بين الطبيب ومريضه"


@pytest.fixture
def log() -> Iterator[Log]:
    with logged() as made:
        yield made


async def test_one_line_says_who_answered_whom_how_long_and_at_what_cost(house: Any, start: Any, log: Log) -> None:
    house.adapter("one")
    version = house.prod("triage", adapter="one")
    async with start(house) as running:
        reply = await running.chat("triage", "one two")
        streamed = await running.chat("triage", "one two", stream=True)
    whole, stream = log.requests()
    assert whole["level"] == "info"
    assert (whole["method"], whole["route"], whole["status"]) == ("POST", "/v1/chat/completions", 200)
    assert (whole["version"], whole["digest"], whole["outcome"]) == ("triage:1", version.digest, "ok")
    assert whole["prompt_tokens"] == reply.json()["usage"]["prompt_tokens"]
    assert whole["completion_tokens"] == reply.json()["usage"]["completion_tokens"]
    assert min(whole["seconds"], whole["ttft_seconds"]) > 0
    assert whole["key"] == "anonymous"
    assert whole["request_id"] == reply.headers["x-request-id"]
    assert stream["request_id"] == streamed.headers["x-request-id"]
    assert stream["completion_tokens"] == whole["completion_tokens"]


async def test_refused_requests_have_a_line_with_the_code(house: Any, start: Any, log: Log) -> None:
    async with start(house, max_body_mib=1) as running:
        await running.chat("nobody")
        await running.client.post("/v1/chat/completions", content=b"{")
        await running.client.post("/v1/chat/completions", content=b"x" * 2**21)
        await running.client.get("/v1/chat/completions")
        await running.client.get("/no/such/place")
    chat = "/v1/chat/completions"
    assert [(line["status"], line["outcome"], line["route"]) for line in log.requests()] == [
        (404, "model_not_found", chat),
        (400, "invalid_input", chat),
        (413, "request_too_large", chat),
        (405, "no_such_route", chat),
        (404, "no_such_route", "none"),
    ]


async def test_a_fault_of_ours_has_a_line_too(house: Any, start: Any, log: Log, monkeypatch: Any) -> None:
    async with start(house) as running:
        monkeypatch.setattr(running.engine, "generate", None)
        with pytest.raises(TypeError):  # the test's transport raises what the server would only log
            await running.chat("tiny")
    (line,) = log.requests()
    assert (line["status"], line["outcome"]) == (500, "unexpected")


async def test_a_stream_that_breaks_is_not_called_ok(house: Any, start: Any, log: Log) -> None:
    async with start(house) as running:
        running.engine.faults.break_stream_after = 2
        await running.chat("tiny", stream=True)
    (line,) = log.requests()
    assert (line["status"], line["outcome"]) == (200, "engine_dead")


async def test_a_caller_that_leaves_has_a_line(house: Any, start: Any, until: Any, log: Log) -> None:
    async with start(house) as running:
        running.engine.faults.hold = asyncio.Event()
        for stream in (False, True):
            gone = asyncio.Event()
            leaving = asyncio.create_task(ask_and_leave(running.app, gone, stream))
            await until(lambda: running.engine.active)
            gone.set()
            await leaving
    assert [line["outcome"] for line in log.requests()] == ["disconnected", "disconnected"]


async def ask_and_leave(app: Any, gone: asyncio.Event, stream: bool) -> None:
    body = json.dumps({"model": "tiny", "stream": stream, "messages": [{"role": "user", "content": "x"}]}).encode()
    messages = iter([{"type": "http.request", "body": body, "more_body": False}])

    async def receive() -> dict[str, Any]:
        for message in messages:
            return message
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        return None

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/chat/completions", "headers": headers}
    await app({**scope, "query_string": b"", "client": ("127.0.0.1", 1), "http_version": "1.1"}, receive, send)


async def test_nothing_that_was_said_and_no_credential_is_ever_logged(
    house: Any, start: Any, log: Log, monkeypatch: Any
) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one", prompt={"system": f"system {SECRET}"})
    headers = {"authorization": f"Bearer {SECRET.encode().hex()}", "cookie": f"c={SECRET.encode().hex()}"}
    async with start(house) as running:
        answer = (await running.chat("triage", SECRET, headers=headers)).json()["choices"][0]["message"]["content"]
        await running.chat("triage", SECRET, headers=headers, temperature="hot")
        await running.client.get(f"/v1/models/{SECRET}?q={SECRET}", headers=headers)
        await running.client.post("/v1/chat/completions", content=f'{{"model": "{SECRET}'.encode(), headers=headers)
        monkeypatch.setattr(running.engine, "generate", None)
        with pytest.raises(TypeError):
            await running.chat("triage", SECRET, headers=headers)
    text = json.dumps(log.lines(), ensure_ascii=False)
    assert "a fault in the service" in text, "the traceback of a fault is among what was searched"
    for secret in (SECRET, SECRET.encode().hex(), answer):
        assert secret not in text


async def test_probes_are_heard_only_in_debugging(house: Any, start: Any, log: Log) -> None:
    async with start(house) as running:
        for path in ("/health", "/ready", "/metrics"):
            await running.client.get(path)
    probes = [line for line in log.lines() if line.get("route") in ("/health", "/ready", "/metrics")]
    assert {line["level"] for line in probes} == {"debug"}


async def test_lines_between_arrival_and_end_name_the_request(house: Any, start: Any, log: Log) -> None:
    house.adapter("one")
    version = house.version("triage", adapter="one")  # behind no alias, so that nothing loads it ahead of the request
    headers = {"x-request-id": "mine-1", "x-dabt-purpose": "evaluation"}
    async with start(house) as running:
        reply = await running.chat("triage:1", headers=headers)
    (loaded,) = [line for line in log.lines() if line["event"] == "adapter loaded"]
    assert reply.headers["x-request-id"] == "mine-1"
    assert (loaded["request_id"], loaded["version"], loaded["digest"]) == ("mine-1", "triage:1", version.digest)
    assert not any("request_id" in line for line in log.lines() if line["event"] == "engine ready")


async def test_every_answer_is_counted_by_route_and_by_key(house: Any, start: Any) -> None:
    async with start(house) as running:
        await running.chat("tiny", "one two three")
        await running.chat("nobody")
        await running.client.get("/no/such/place")
        await running.client.get("/v1/models")
        page = (await running.client.get("/metrics")).text
    values = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert values['dabt_http_responses_total{route="/v1/chat/completions",status="200"}'] == "1.0"
    assert values['dabt_http_responses_total{route="/v1/chat/completions",status="404"}'] == "1.0"
    assert values['dabt_http_responses_total{route="none",status="404"}'] == "1.0"
    assert values['dabt_key_requests_total{key="anonymous"}'] == "3.0"
    assert values['dabt_key_request_errors_total{code="model_not_found",key="anonymous"}'] == "1.0"
    assert values['dabt_key_prompt_tokens_total{key="anonymous"}'] == "4.0"
    assert values['dabt_key_completion_tokens_total{key="anonymous"}'] == "8.0"
    assert "no/such" not in page


async def test_requests_that_come_too_early_are_counted_as_errors(house: Any, start: Any) -> None:
    async with start(house) as running:
        running.app.state.parts.supervisor._engine_state = "the engine died"
        assert (await running.chat("tiny")).status_code == 503
        page = (await running.client.get("/metrics")).text
    assert 'dabt_request_errors_total{code="unavailable",version="unknown"} 1.0' in page
    assert "dabt_engine_up 0.0" in page


async def test_a_known_key_is_named_by_its_id_where_it_is_refused_too(house: Any, start: Any, log: Log) -> None:
    caller, secret = house.registry.keys.create(KeyGrant(name="clinic-app"), actor="test")
    revoked, old = house.registry.keys.create(KeyGrant(name="old-app"), actor="test")
    house.registry.keys.revoke(revoked.id, actor="test")
    async with start(house) as running:
        for sent in (secret, old):
            await running.client.get("/admin/keys", headers={"authorization": f"Bearer {sent}"})
    asked = [line for line in log.requests() if line["route"].startswith("/admin")]
    assert [(line["status"], line["key"]) for line in asked] == [(403, caller.id), (401, revoked.id)]


async def test_the_key_is_named_by_its_id_and_an_unknown_one_by_nothing(house: Any, start: Any, log: Log) -> None:
    limits = KeyLimits(requests_per_minute=1)
    key, secret = house.registry.keys.create(KeyGrant(name="clinic-app", limits=limits), actor="test")
    async with start(house) as running:
        for sent in (secret, secret, "dabt-" + "x" * 43):
            await running.chat("tiny", headers={"authorization": f"Bearer {sent}"})
        page = running.app.state.parts.telemetry.page().decode()
    asked = [line for line in log.requests() if line["route"].startswith("/v1")]
    assert [(line["status"], line["key"]) for line in asked] == [(200, key.id), (429, key.id), (401, "anonymous")]
    assert f'dabt_key_requests_total{{key="{key.id}"}} 2.0' in page
    assert f'dabt_key_request_errors_total{{code="rate_limit_exceeded",key="{key.id}"}} 1.0' in page
    assert 'dabt_key_request_errors_total{code="invalid_api_key",key="anonymous"} 1.0' in page
    assert secret not in log.text()
