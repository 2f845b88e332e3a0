"""What requests cost their key, over the fake engine: whole, streamed, failed, and left before the end."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from service.access.accounts import tokens_about
from service.request_context import RequestContext

pytestmark = pytest.mark.timeout(300)


def used(house: Any) -> list[tuple[str, int, int, int]]:
    return [
        (use.version, use.requests, use.prompt_tokens, use.completion_tokens) for use in house.registry.usage.between()
    ]


async def test_usage_is_what_the_answers_said_streamed_or_not(house: Any, start: Any) -> None:
    house.prod("triage", prompt={"system": "a system text"})
    key = house.key("app")
    async with start(house) as running:
        whole = (await running.chat("triage", headers=key)).json()["usage"]
        await running.chat("triage", headers=key, stream=True)
        base = await running.client.post("/v1/completions", json={"model": "tiny", "prompt": "a b c"}, headers=key)
    # The end of the service writes what was not yet written.
    assert used(house) == [
        ("tiny", 1, 3, base.json()["usage"]["completion_tokens"]),
        ("triage:1", 2, 2 * whole["prompt_tokens"], 2 * whole["completion_tokens"]),
    ]
    assert whole["prompt_tokens"] > 4, "the version's own text is part of the prompt"


async def test_our_failures_and_refusals_cost_nothing(house: Any, start: Any) -> None:
    key = house.key("app")
    async with start(house) as running:
        assert (await running.chat("nothing", headers=key)).status_code == 404
        assert (await running.chat("tiny", headers=key, max_tokens="many")).status_code == 400
        assert (await running.chat("tiny", headers=key, max_tokens="many", stream=True)).status_code == 400
        running.engine.faults.break_stream_after = 2
        broken = await running.chat("tiny", headers=key, stream=True)
        assert "engine_dead" in broken.text
    assert used(house) == []


async def test_who_leaves_early_pays_for_what_was_begun(house: Any, start: Any, until: Any) -> None:
    key = house.key("app")
    text = "word " * 400
    async with start(house) as running:
        running.engine.faults.hold = asyncio.Event()
        asking = asyncio.ensure_future(running.chat("tiny", text, headers=key))
        await until(lambda: running.engine.active)
        asking.cancel()
        await until(lambda: not running.engine.active)
    ((version, requests, prompt, completion),) = used(house)
    assert (version, requests, completion) == ("tiny", 1, 0)
    assert 400 <= prompt <= 600, "about a token for four bytes"


async def test_a_stream_that_is_left_pays_for_the_pieces_that_were_sent(house: Any, start: Any) -> None:
    house.key("app")
    async with start(house) as running:
        service = running.app.state.service
        body = {"model": "tiny", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        (known,) = running.app.state.parts.catalogue.snapshot.keys.values()
        reply = await service.answer("chat", body, RequestContext(key=known))
        await anext(reply.events)
        await anext(reply.events)
        await reply.events.aclose()
    assert [(requests, completion) for _, requests, _, completion in used(house)] == [(1, 3)]


async def test_a_spent_minute_is_refused_in_the_openai_way_and_others_go_on(house: Any, start: Any, until: Any) -> None:
    key = house.key("app", limits={"tokens_per_minute": 15, "requests_per_minute": 100})
    other = house.key("other")
    async with start(house) as running:
        accounts = running.app.state.parts.accounts

        async def answered(**fields: Any) -> Any:
            """An answer is there before it is charged."""
            reply = await running.chat("tiny", headers=key, **fields)
            await until(lambda: not accounts._charging)
            return reply

        first, second, third = await answered(), await answered(stream=True), await answered()
        listed = await running.client.get("/v1/models", headers=key)
        assert (await running.chat("tiny", headers=other)).status_code == 200
    cost = first.json()["usage"]["total_tokens"]
    assert cost < 15 < 2 * cost
    for reply, left in ((first, 15), (second, 15 - cost)):
        assert reply.status_code == 200
        assert reply.headers["x-ratelimit-limit-tokens"] == "15"
        assert reply.headers["x-ratelimit-remaining-tokens"] == str(left)
    assert second.headers["x-ratelimit-remaining-requests"] == "98"
    error = third.json()["error"]
    assert (third.status_code, error["type"], error["code"]) == (429, "rate_limit_error", "rate_limit_exceeded")
    assert 1 <= int(third.headers["retry-after"]) <= 120
    assert third.headers["x-ratelimit-remaining-tokens"] == "0"
    assert listed.status_code == 200, "looking costs nothing"


async def test_a_spent_day_is_refused_and_not_tried_again_by_clients(house: Any, start: Any) -> None:
    import openai

    key = house.key("app", limits={"tokens_per_day": 5})
    secret = key["authorization"].removeprefix("Bearer ")
    async with start(house) as running:
        assert (await running.chat("tiny", headers=key)).status_code == 200
        asked: list[httpx.Request] = []
        running.client.event_hooks["request"].append(_noting(asked))
        client = openai.AsyncOpenAI(
            base_url="http://service/v1", api_key=secret, http_client=running.client, max_retries=3
        )
        with pytest.raises(openai.RateLimitError) as caught:
            await client.chat.completions.create(model="tiny", messages=[{"role": "user", "content": "hi"}])
    assert caught.value.code == "insufficient_quota"
    assert int(caught.value.response.headers["retry-after"]) <= 24 * 3600
    assert len(asked) == 1
    async with start(house) as again:
        assert (await again.chat("tiny", headers=key)).status_code == 429, "a restart is no new day"


def _noting(asked: list[httpx.Request]) -> Any:
    async def note(request: httpx.Request) -> None:
        asked.append(request)

    return note


async def test_an_admin_makes_revokes_and_counts_over_http(house: Any, start: Any) -> None:
    admin = house.key("boss", role="admin")
    async with start(house) as running:
        grant = {"name": "app", "models": ["tiny"], "limits": {"requests_per_minute": 60}}
        made = await running.client.post("/admin/keys", json=grant, headers=admin)
        key = {"authorization": f"Bearer {made.json()['secret']}"}
        assert made.status_code == 201
        assert made.headers["cache-control"] == "no-store"
        assert (await running.chat("tiny", headers=key)).status_code == 200, "it works at once here"
        listed = await running.client.get("/admin/keys", headers=admin)
        twice = await running.client.post("/admin/keys", json=grant, headers=admin)
        revoked = await running.client.post("/admin/keys/app/revoke", json={"reason": "done"}, headers=admin)
        assert revoked.json()["revoked_at"]
        assert (await running.chat("tiny", headers=key)).status_code == 401, "and ends at once"
    assert [one["name"] for one in listed.json()["keys"]] == ["boss", "app"]
    assert "secret" not in listed.text
    assert "digest" not in listed.text
    assert (twice.status_code, twice.json()["error"]["param"]) == (400, "name")
    async with start(house) as again:
        told = (await again.client.get("/admin/usage?key=app", headers=admin)).json()["usage"]
        text = (await again.client.get("/admin/usage?format=csv&since=2026-01-01", headers=admin)).text
        wrong = await again.client.get("/admin/usage?since=yesterday", headers=admin)
    assert [(one["version"], one["requests"]) for one in told] == [("tiny", 1)]
    assert text.splitlines()[0].startswith("day,key,name,version")
    assert ",app,tiny,1," in text
    assert (wrong.status_code, wrong.json()["error"]["param"]) == (400, "since")


async def test_the_first_key_is_not_made_over_http(house: Any, start: Any) -> None:
    """Whoever could, would shut out everyone who was let in without one."""
    async with start(house) as running:
        refused = await running.client.post("/admin/keys", json={"name": "mine", "role": "admin"})
    assert refused.status_code == 403
    assert "dabt keys create" in refused.json()["error"]["message"]
    assert house.registry.keys.all() == []


async def test_a_key_has_so_many_requests_at_once_and_gets_the_place_back_at_the_end(
    house: Any, start: Any, until: Any
) -> None:
    key, other = house.key("app", limits={"requests_at_once": 2}), house.key("other")
    async with start(house) as running:
        running.engine.faults.hold = asyncio.Event()
        streamed = asyncio.ensure_future(running.chat("tiny", headers=key, stream=True))
        whole = asyncio.ensure_future(running.chat("tiny", headers=key))
        await until(lambda: len(running.engine.active) == 2)
        refused = await running.chat("tiny", headers=key)
        error = refused.json()["error"]
        assert (refused.status_code, error["code"]) == (429, "rate_limit_exceeded")
        assert "2 requests under way" in error["message"]
        assert refused.headers["retry-after"] == "1"
        assert (await running.client.get("/v1/models", headers=key)).status_code == 200, "looking takes no place"
        for_other = asyncio.ensure_future(running.chat("tiny", headers=other))
        running.engine.faults.hold.set()
        assert [(await reply).status_code for reply in (streamed, whole, for_other)] == [200] * 3
        assert (await running.chat("tiny", headers=key)).status_code == 200
        assert running.app.state.parts.accounts._under_way == {}, "and nothing stays in memory"


async def test_a_place_comes_back_however_the_request_ends(house: Any, start: Any, until: Any) -> None:
    key = house.key("app", limits={"requests_at_once": 1, "requests_per_minute": 6})
    async with start(house) as running:
        assert (await running.chat("nobody", headers=key)).status_code == 404
        assert (await running.client.post("/v1/completions", content=b"{", headers=key)).status_code == 400
        assert (await running.client.post("/no/such/route", headers=key)).status_code == 404
        running.engine.faults.hold = asyncio.Event()
        asking = asyncio.ensure_future(running.chat("tiny", headers=key))
        await until(lambda: running.engine.active)
        asking.cancel()
        await until(lambda: not running.app.state.parts.accounts._under_way)
        running.engine.faults.hold = None
        assert (await running.chat("tiny", headers=key)).status_code == 200
        running.engine.faults.break_stream_after = 1
        assert "engine_dead" in (await running.chat("tiny", headers=key, stream=True)).text
        assert "6 requests per minute" in (await running.chat("tiny", headers=key)).text, "a refusal takes no place"
        assert running.app.state.parts.accounts._under_way == {}


async def test_a_key_without_a_limit_may_fill_half_of_the_queue(house: Any, start: Any, until: Any) -> None:
    key, other = house.key("app"), house.key("other")
    async with start(house, max_queue=6) as running:
        running.engine.faults.hold = asyncio.Event()
        asking = [asyncio.ensure_future(running.chat("tiny", headers=key)) for _ in range(3)]
        await until(lambda: len(running.engine.active) == 3)
        assert (await running.chat("tiny", headers=key)).status_code == 429
        asking.append(asyncio.ensure_future(running.chat("tiny", headers=other)))
        await until(lambda: len(running.engine.active) == 4)
        running.engine.faults.hold.set()
        assert [(await reply).status_code for reply in asking] == [200] * 4


@pytest.mark.parametrize(
    ("body", "place", "says"),
    [
        ({"n": 3}, "n", "3 answers are asked for"),
        ({"prompt": ["a"] * 5}, "prompt", "has 5 prompts"),
        ({"prompt": [[1]] * 5, "n": 2}, "prompt", "has 5 prompts"),
    ],
)
async def test_choices_and_prompts_of_one_request_have_their_keys_limit(
    house: Any, start: Any, body: dict[str, Any], place: str, says: str
) -> None:
    key, free = house.key("app", limits={"choices_per_request": 2, "prompts_per_request": 4}), house.key("free")
    async with start(house) as running:
        asked = {"model": "tiny", "prompt": "x", **body}
        refused = await running.client.post("/v1/completions", json=asked, headers=key)
        assert (refused.status_code, refused.json()["error"]["param"]) == (400, place)
        assert says in refused.json()["error"]["message"]
        assert "app" in refused.json()["error"]["message"]
        assert (await running.client.post("/v1/completions", json=asked, headers=free)).status_code == 200
        for fine in ({"n": 2}, {"prompt": ["a"] * 4, "n": 2}, {"prompt": [1] * 9}):
            reply = await running.client.post(
                "/v1/completions", json={"model": "tiny", "prompt": "x", **fine}, headers=key
            )
            assert reply.status_code == 200, fine


@pytest.mark.parametrize(("choices", "prompts"), [(128, 5), (1, 513), (128, 100)])
async def test_more_answers_than_the_queue_holds_are_the_callers_fault_and_no_busy_moment(
    house: Any, start: Any, choices: int, prompts: int
) -> None:
    async with start(house) as running:
        body = {"model": "tiny", "prompt": ["x"] * prompts, "n": choices}
        reply = await running.client.post("/v1/completions", json=body)
        assert reply.status_code == 400
        assert f"{choices * prompts} answers are asked for at once" in reply.json()["error"]["message"]
        assert "--max-queue" in reply.json()["error"]["message"]
        assert "retry-after" not in reply.headers
        body = {"model": "tiny", "prompt": ["x"] * 4, "n": 128}
        assert (await running.client.post("/v1/completions", json=body)).status_code == 200


async def test_no_request_has_more_than_128_choices(house: Any, start: Any) -> None:
    async with start(house, max_queue=2000) as running:
        assert (await running.chat("tiny", n=128)).status_code == 200
        reply = await running.chat("tiny", n=129)
        assert (reply.status_code, reply.json()["error"]["param"]) == (400, "n")


@pytest.mark.parametrize(
    ("body", "tokens"),
    [
        ({"prompt": "x" * 400}, 100),
        ({"prompt": "ع" * 400}, 200),
        ({"prompt": [5] * 300}, 300),
        ({"prompt": [[5] * 300, [7] * 10]}, 310),
        ({"messages": [{"role": "user", "content": [{"type": "text", "text": "x" * 400}]}]}, 102),
        ({"n": 5, "stop": None, "messages": []}, 0),
    ],
)
def test_what_nobody_counted_is_charged_by_its_texts_and_its_tokens(body: dict[str, Any], tokens: int) -> None:
    assert tokens_about(body) == tokens
