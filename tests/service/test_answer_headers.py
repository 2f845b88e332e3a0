"""The headers that every answer carries, whatever the answer is."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)


async def test_every_answer_names_its_request(house: Any, start: Any) -> None:
    async with start(house) as running:
        replies = [
            await running.chat("tiny"),
            await running.chat("tiny", stream=True),
            await running.chat("nobody"),
            await running.client.get("/v1/models"),
            await running.client.get("/v1/nothing"),
            await running.client.get("/v1/chat/completions"),
            await running.client.post("/v1/chat/completions", content=b"{"),
            await running.client.get("/health"),
        ]
    names = [reply.headers["x-request-id"] for reply in replies]
    assert all(re.fullmatch(r"[0-9a-f]{32}", name) for name in names)
    assert len(set(names)) == len(names)


async def test_a_fault_of_ours_names_its_request_and_who_should_have_answered(
    house: Any, start: Any, monkeypatch: Any
) -> None:
    async with start(house) as running:

        async def fault(call: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(running.engine, "generate", fault)
        with pytest.raises(ZeroDivisionError):
            await running.chat("tiny")
        # A server sends what Starlette made of it; this client only without raising.
        running.client._transport.raise_app_exceptions = False
        reply = await running.chat("tiny", headers={"x-request-id": "fault-7"})
    assert (reply.status_code, reply.json()["error"]["code"]) == (500, "error")
    assert (reply.headers["x-request-id"], reply.headers["x-dabt-version"]) == ("fault-7", "tiny")


async def test_a_callers_own_id_comes_back_and_is_not_the_engines(house: Any, start: Any) -> None:
    async with start(house) as running:
        headers = {"x-request-id": "trace/42.a:b"}
        twice = await asyncio.gather(*(running.chat("tiny", headers=headers) for _ in range(2)))
    assert [reply.headers["x-request-id"] for reply in twice] == ["trace/42.a:b"] * 2
    assert len({reply.json()["id"] for reply in twice}) == 2


@pytest.mark.parametrize("given", ["", "x" * 129, "two words", "naïve", "a\tb", '"quoted"'])
async def test_an_id_that_no_log_wants_is_replaced(house: Any, start: Any, given: str) -> None:
    async with start(house) as running:
        reply = await running.client.get("/health", headers={"x-request-id": given.encode()})
    assert re.fullmatch(r"[0-9a-f]{32}", reply.headers["x-request-id"])


@pytest.mark.parametrize("body", [{"messages": []}, {"temperature": "hot"}, {"stream": "yes"}])
async def test_an_error_says_which_version_it_is_about(house: Any, start: Any, body: dict[str, Any]) -> None:
    version = house.prod("faq", prompt={"system": "Answer."})
    async with start(house) as running:
        asked = {"model": "faq", "messages": [{"role": "user", "content": "x"}], **body}
        wrong = await running.client.post("/v1/chat/completions", json=asked)
        unknown = await running.chat("nobody")
    assert wrong.status_code == 400
    assert (wrong.headers["x-dabt-version"], wrong.headers["x-dabt-digest"]) == ("faq:1", version.digest)
    assert "x-dabt-version" not in unknown.headers


async def test_a_base_of_any_name_can_be_named_in_a_header(house: Any, start: Any) -> None:
    async with start(house, base_name="عيادة 1") as running:
        reply = await running.chat("عيادة 1")
    assert reply.status_code == 200
    assert reply.headers["x-dabt-version"] == "%D8%B9%D9%8A%D8%A7%D8%AF%D8%A9 1"


async def test_requests_do_not_see_each_others_headers(house: Any, start: Any) -> None:
    house.prod("faq", prompt={"system": "Answer."})
    async with start(house) as running:
        replies = await asyncio.gather(*(running.chat(model) for model in ["tiny", "faq", "nobody"] * 8))
    for reply, model in zip(replies, ["tiny", "faq:1", None] * 8, strict=True):
        assert reply.headers.get("x-dabt-version") == model
