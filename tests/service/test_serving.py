"""The service over the fake engine: the way of a request, and its end."""

from __future__ import annotations

import asyncio
import json
import re
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)

SHOT = {"user": "سؤال", "assistant": "جواب"}


def events(text: str) -> list[Any]:
    """The JSON of each server-sent event, the closing [DONE] as a word."""
    lines = [block.removeprefix("data: ") for block in text.split("\n\n") if block]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def text_of(stream: list[Any]) -> str:
    return "".join(
        choice["delta"].get("content", "") for chunk in stream if isinstance(chunk, dict) for choice in chunk["choices"]
    )


async def test_base_version_and_alias_answer_through_one_route(house: Any, start: Any) -> None:
    house.adapter("one")
    version = house.prod("triage", adapter="one")
    async with start(house) as running:
        base, bare, numbered = [await running.chat(model) for model in ("tiny", "triage", "triage:1")]
    assert base.json()["choices"][0]["message"]["content"].startswith("base ")
    # Forced into production but never approved: by number it is refused, behind its alias it answers.
    assert numbered.status_code == 403
    answer = bare.json()
    assert answer["choices"][0]["message"]["content"].startswith("sha256-")
    assert answer["model"] == "triage"
    assert answer["dabt"] == {"version": "triage:1", "digest": version.digest, "passages": []}
    assert (bare.headers["x-dabt-version"], bare.headers["x-dabt-digest"]) == ("triage:1", version.digest)
    assert base.headers["x-dabt-version"] == "tiny"


async def test_a_whole_answer_says_when_its_first_token_came_since_the_request_arrived(house: Any, start: Any) -> None:
    house.prod("faq", prompt={"system": "Answer."})
    async with start(house) as running:
        whole = await running.chat("faq")
        streamed = await running.chat("faq", stream=True)
    timing = re.fullmatch(r"ttft;dur=(\d+\.\d\d)", whole.headers["server-timing"])
    assert timing is not None, "without an index there was no search"
    assert float(timing[1]) >= 1.0, "the engine's own is a millisecond"
    assert "server-timing" not in streamed.headers, "a stream's headers go before its first token"


async def test_what_is_served_is_the_versions_recipe(house: Any, start: Any) -> None:
    house.prod("faq", prompt={"system": "Answer.", "shots": [SHOT]}, decoding={"max_tokens": 2})
    async with start(house) as running:
        through = await running.chat("faq", "متى؟")
        by_hand = await running.client.post(
            "/v1/chat/completions",
            json={
                "model": "tiny",
                "max_tokens": 2,
                "messages": [
                    {"role": "system", "content": "Answer."},
                    {"role": "user", "content": "سؤال"},
                    {"role": "assistant", "content": "جواب"},
                    {"role": "user", "content": "متى؟"},
                ],
            },
        )
        plain = await running.client.post("/v1/completions", json={"model": "faq", "prompt": "x"})
    assert through.json()["choices"] == by_hand.json()["choices"]
    assert through.json()["usage"] == by_hand.json()["usage"]
    assert plain.status_code == 400
    assert "/v1/chat/completions" in plain.json()["error"]["message"]


@pytest.mark.parametrize("usage", [False, True])
async def test_a_stream_says_what_the_whole_answer_says(house: Any, start: Any, usage: bool) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        whole = (await running.chat("triage", n=2)).json()
        streamed = await running.chat("triage", n=2, stream=True, stream_options={"include_usage": usage})
    chunks = events(streamed.text)
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.headers["x-dabt-version"] == "triage:1"
    assert chunks[-1] == "[DONE]"
    assert chunks[0]["dabt"]["version"] == "triage:1"
    assert all("dabt" not in chunk for chunk in chunks[1:-1])
    for index in range(2):
        mine = [choice for chunk in chunks[:-1] for choice in chunk["choices"] if choice["index"] == index]
        assert "".join(choice["delta"]["content"] for choice in mine) == (whole["choices"][index]["message"]["content"])
    assert ("usage" in chunks[-2]) == usage
    if usage:
        assert chunks[-2]["usage"] == whole["usage"]


async def test_moving_an_alias_changes_who_answers_at_the_next_look(house: Any, start: Any) -> None:
    house.adapter("one")
    house.adapter("two")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        first = (await running.chat("triage")).json()
        second = house.prod("triage", adapter="two")
        async with asyncio.timeout(60):
            while (answer := (await running.chat("triage")).json())["dabt"]["version"] != second.ref:
                pass
    assert answer["choices"] != first["choices"]
    assert answer["dabt"]["digest"] == second.digest


async def test_a_broken_adapter_fails_alone_while_others_go_on(house: Any, start: Any) -> None:
    good, bad = house.adapter("good"), house.adapter("bad")
    house.prod("good", adapter="good")
    house.prod("bad", adapter="bad")
    async with start(house) as running:
        running.engine.faults.load_errors[str(house.store.get(bad))] = "rank 512 is greater than 16"
        replies = await asyncio.gather(*(running.chat(model) for model in ("good", "bad", "tiny", "bad", "good")))
    assert [reply.status_code for reply in replies] == [200, 503, 200, 503, 200]
    error = replies[1].json()["error"]
    assert (error["code"], error["param"]) == ("adapter_unloadable", "model")
    assert "rank 512" in error["message"]
    assert int(replies[1].headers["retry-after"]) >= 1
    assert good != bad


async def test_bytes_changed_in_the_store_are_never_served(house: Any, start: Any) -> None:
    digest = house.adapter("one")
    house.prod("triage", adapter="one")
    (house.home.root / "artifacts" / "sha256" / digest[7:] / "adapter_model.safetensors").chmod(0o644)
    (house.home.root / "artifacts" / "sha256" / digest[7:] / "adapter_model.safetensors").write_text("other")
    async with start(house) as running:
        reply = await running.chat("triage")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "adapter_unloadable")


async def test_an_adapter_that_fails_its_golden_prompts_answers_nobody(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        running.engine.faults.wrong_scores = True
        reply = await running.chat("triage")
        assert running.engine.loaded == {}
    assert reply.status_code == 503
    assert "has no effect" in reply.json()["error"]["message"]


async def test_an_adapter_whose_files_vanish_keeps_answering(house: Any, start: Any) -> None:
    digest = house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        before = (await running.chat("triage")).json()["choices"]
        folder = house.store.get(digest)
        for file in folder.iterdir():
            file.chmod(0o644)
            file.unlink()
        assert (await running.chat("triage")).json()["choices"] == before


async def test_serving_goes_on_while_the_registry_is_away(house: Any, start: Any, until: Any, monkeypatch: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:

        def gone() -> int:
            raise ConnectionError("the database is away")

        monkeypatch.setattr(house.registry.changes, "newest", gone)
        catalogue = running.app.state.parts.catalogue
        await until(lambda: catalogue.problem)
        ready = await running.client.get("/ready")
        # Not loaded before the registry went: its manifest was fetched ahead of need.
        reply = await running.chat("triage")
    assert (ready.status_code, reply.status_code) == (200, 200)
    assert ready.json()["registry"]["problem"] == "error", "a code: anybody may ask, and the log says the rest"
    assert "the database is away" not in ready.text


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"", 400, "no body"),
        (b"   ", 400, "no body"),
        (b"{", 400, "not JSON"),
        (b'{"model": "\xff"}', 400, "not UTF-8"),
        (b"[1]", 400, "must be a JSON object"),
        (b'{"model": "tiny", "temperature": NaN}', 400, "NaN"),
        (b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "stream": "yes"}', 400, "stream"),
        (b"[" * 200_000, 400, "nested too deeply"),
        (b'{"model": "' + b"x" * 3_000_000 + b'"}', 413, "2 MiB"),
        (b'{"messages": []}', 400, "model"),
        (b'{"model": "nobody", "messages": []}', 404, "nobody"),
        (
            b'{"model": "tiny", "messages": [{"role": "user", "content": "x"}], "temperature": "hot"}',
            400,
            "temperature",
        ),
    ],
)
async def test_a_bad_body_is_told_what_is_wrong_in_the_openai_shape(
    house: Any, start: Any, body: bytes, status: int, says: str
) -> None:
    async with start(house, max_body_mib=2) as running:
        for route in ("/v1/chat/completions", "/v1/completions"):
            if b'"messages": [{' in body and route == "/v1/completions":
                continue
            reply = await running.client.post(route, content=body)
            assert reply.status_code == status
            assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
            assert says in reply.text


async def test_a_body_without_a_length_is_measured_as_it_comes(house: Any, start: Any) -> None:
    async def endless() -> Any:
        while True:
            yield b"x" * 65536

    async with start(house, max_body_mib=1) as running:
        reply = await running.client.post("/v1/chat/completions", content=endless())
    assert reply.status_code == 413


async def test_an_unknown_route_has_the_openai_shape_too(house: Any, start: Any) -> None:
    async with start(house) as running:
        missing = await running.client.get("/v1/nothing")
        wrong = await running.client.get("/v1/chat/completions")
        lora = await running.client.post("/v1/load_lora_adapter", json={"lora_name": "x", "lora_path": "/etc"})
    assert (missing.status_code, wrong.status_code, lora.status_code) == (404, 405, 404)
    assert missing.json()["error"]["code"] == "no_such_route"


async def test_a_stream_that_breaks_ends_with_the_error_and_the_engine_comes_back(
    house: Any, start: Any, until: Any
) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        running.engine.faults.break_stream_after = 3
        running.engine.faults.hold_start = asyncio.Event()
        reply = await running.chat("triage", stream=True)
        chunks = events(reply.text)
        assert reply.status_code == 200
        assert chunks[-2]["error"]["code"] == "engine_dead"
        assert chunks[-1] == "[DONE]"
        running.engine.faults.break_stream_after = None

        async def known() -> bool:
            return bool((await running.client.get("/ready")).status_code == 503)

        await until(known)  # the caller is told before whoever keeps the engine running looks
        refused = await running.chat("triage")
        assert refused.status_code == 503
        running.engine.faults.hold_start.set()
        async with asyncio.timeout(20):
            await until(running.ready)
        assert (await running.chat("triage")).status_code == 200
        assert running.engine.starts == 2


async def test_before_the_engine_is_ready_health_answers_and_ready_says_what_is_waited_for(
    house: Any, until: Any
) -> None:
    import httpx

    from service.app import create_app
    from service.catalogue import EMPTY
    from service.config import ServeConfig
    from service.engine.fake_engine import FakeEngine

    class Slow(FakeEngine):
        gate = asyncio.Event()

        async def start(self) -> Any:
            await self.gate.wait()
            return await super().start()

    engine = Slow()
    app = create_app(ServeConfig(base=house.base), engine, house.registry, house.store)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert (await client.get("/health")).status_code == 200
            await until(lambda: app.state.parts.catalogue.snapshot is not EMPTY)
            ready = await client.get("/ready")
            assert ready.json()["code"] == "starting"
            assert (ready.status_code, ready.json()["waiting_for"]) == (503, ["the engine is starting"])
            early = await client.post("/v1/chat/completions", json={"model": "tiny", "messages": []})
            assert early.status_code == 503
            assert "the engine is starting" in early.json()["error"]["message"]
            engine.gate.set()
            await until(lambda: not app.state.parts.supervisor.waiting_for())
            ready = await client.get("/ready")
            assert (ready.status_code, ready.json()["code"]) == (200, None)


async def test_every_version_has_its_own_series_and_unknown_models_share_one(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        await running.chat("triage", "one two three")
        await running.chat("triage", stream=True)
        await running.chat("tiny")
        for at in range(50):
            await running.chat(f"attack-{at}")
        page = (await running.client.get("/metrics")).text
    lines = dict(line.rsplit(" ", 1) for line in page.splitlines() if not line.startswith("#"))
    assert lines['dabt_requests_total{endpoint="chat",version="triage:1"}'] == "2.0"
    assert lines['dabt_requests_total{endpoint="chat",version="unknown"}'] == "50.0"
    assert lines['dabt_request_errors_total{code="model_not_found",version="unknown"}'] == "50.0"
    assert lines['dabt_completion_tokens_total{version="triage:1"}'] == "16.0"
    assert float(lines['dabt_prompt_tokens_total{version="triage:1"}']) == 6.0
    for series in ("time_to_first_token", "inter_token_latency", "request", "queue"):
        assert lines[f'dabt_{series}_seconds_count{{version="triage:1"}}'] == "2.0"
    assert (lines["dabt_adapter_loads_total"], lines["dabt_resident_adapters"]) == ("1.0", "1.0")
    assert lines["dabt_ready"] == "1.0"
    assert "attack" not in page
    assert "fake_engine_up 1.0" in page, "the engine's own series are on the same page"


async def test_models_lists_what_can_be_called_and_nothing_else(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    house.version("triage", prompt={"system": "a draft"})
    async with start(house) as running:
        plain = (await running.client.get("/v1/models")).json()
        evaluator = (await running.client.get("/v1/models", headers={"x-dabt-purpose": "evaluation"})).json()
        card = (await running.client.get("/v1/models/triage")).json()
        same = (await running.client.get("/v1/models/triage:prod")).json()
        missing = await running.client.get("/v1/models/triage:2")
        for entry in evaluator["data"]:
            reply = await running.chat(entry["id"], headers={"x-dabt-purpose": "evaluation"})
            assert reply.status_code == 200, entry["id"]
    assert [entry["id"] for entry in plain["data"]] == ["tiny", "triage"]
    assert [entry["id"] for entry in evaluator["data"]] == ["tiny", "triage", "triage:1", "triage:2"]
    assert card == same
    assert (card["object"], card["parent"]) == ("model", "tiny")
    facts = card["dabt"]
    assert (facts["version"], facts["alias"], facts["parent"], facts["kind"]) == ("triage:1", "prod", "tiny", "adapter")
    assert facts["digest"].startswith("sha256:")
    assert missing.status_code == 404


async def test_drain_lets_admitted_requests_finish_and_refuses_new_ones(house: Any, start: Any, until: Any) -> None:
    async with start(house) as running:
        service = running.app.state.service
        running.engine.faults.hold = asyncio.Event()
        admitted = asyncio.create_task(running.chat("tiny", stream=True))
        await until(lambda: running.engine.active)
        draining = asyncio.create_task(service.parts.drain(10))
        await until(lambda: service.parts.under_way.draining_since)
        late = await running.chat("tiny")
        assert (late.status_code, late.headers["retry-after"]) == (503, "5")
        assert (await running.client.get("/ready")).json()["waiting_for"] == ["the service is stopping"]
        assert not draining.done()
        running.engine.faults.hold.set()
        assert text_of(events((await admitted).text)).startswith("base ")
        assert await draining


async def test_tokenize_and_detokenize_are_inverse(house: Any, start: Any) -> None:
    async with start(house) as running:
        tokens = (await running.client.post("/tokenize", json={"prompt": "عيادة clinic"})).json()
        assert tokens["count"] == len(tokens["tokens"])
        back = await running.client.post("/detokenize", json={"tokens": tokens["tokens"]})
    assert back.json() == {"prompt": "عيادة clinic"}
