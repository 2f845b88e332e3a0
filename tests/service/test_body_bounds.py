"""What a body holds is counted as a parser would find it, wherever its pieces are cut, and before one is asked."""

from __future__ import annotations

import asyncio
import json
import random
import threading
from typing import Any

import pytest

from lifecycle.text import strict_json
from service.openai import http_input
from service.openai.body_bounds import SLICE, Counter

pytestmark = pytest.mark.timeout(300)

MIB = 2**20
TEXTS = ["", "a", '"', "\\", '\\"', '[{,"', "العيادة", "\n\t", '\\\\",[', "{}", "\\" * 5 + '"']
ROUTES = ("chat/completions", "completions", "responses", "embeddings")
EVERYWHERE = [f"/v1/{route}" for route in ROUTES] + ["/tokenize", "/detokenize"]


def made(source: random.Random, depth: int = 0) -> Any:
    kind = source.random()
    if depth < 4 and kind < 0.35:
        return [made(source, depth + 1) for _ in range(source.randrange(4))]
    if depth < 4 and kind < 0.7:
        return {f"{at}{source.choice(TEXTS)}": made(source, depth + 1) for at in range(source.randrange(4))}
    return source.choice([*TEXTS, 0, -1.5, True, None])


def found(value: Any) -> tuple[int, int]:
    """Containers and values; an empty container counts one value, as if it had one."""
    if not isinstance(value, list | dict):
        return 0, 0
    inner = [found(item) for item in (value.values() if isinstance(value, dict) else value)]
    return 1 + sum(one for one, _ in inner), max(1, len(value)) + sum(other for _, other in inner)


@pytest.mark.parametrize("seed", range(200))
def test_a_body_is_counted_as_a_parser_finds_it_however_it_is_cut(seed: int) -> None:
    source = random.Random(seed)
    value = [made(source) for _ in range(5)]
    body = json.dumps(value, ensure_ascii=source.random() < 0.5).encode()
    counter, at = Counter(), 0
    while at < len(body):
        size = source.choice([1, 2, 3, 50])
        counter.add(body[at : at + size])
        at += size
    assert (counter.containers, counter.values) == found(value)
    assert counter.depth == 0


@pytest.mark.parametrize("body", [b'{"a": "' + b"\\" * 7, b"]" * 100, b'"' * 99, b"\xff\xfe{", b"\\" * 3 + b'"['])
def test_what_is_no_json_is_counted_without_a_fault(body: bytes) -> None:
    counter = Counter()
    for at in range(len(body)):
        counter.add(body[at : at + 1])
    assert counter.containers <= 1


def of_empty_items(size: int) -> bytes:
    """A chat request of `size` bytes, nearly all of it `{}` messages."""
    head, tail = b'{"model":"tiny","messages":[{}', b"]}"
    return head + b",{}" * ((size - len(head) - len(tail)) // 3) + tail


async def turns_during(work: Any) -> tuple[Any, int]:
    """What `work` gives, and how often the loop came round meanwhile."""
    turns, ended = 0, False

    async def count() -> None:
        nonlocal turns
        while not ended:
            turns += 1
            await asyncio.sleep(0)

    counting = asyncio.create_task(count())
    result = await work
    ended = True
    await counting
    return result, turns


@pytest.mark.parametrize("route", EVERYWHERE)
async def test_a_body_of_empty_items_is_refused_before_it_is_parsed(
    house: Any, start: Any, route: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    parsed: list[int] = []
    parse = strict_json.parse
    monkeypatch.setattr(strict_json, "parse", lambda text: parsed.append(len(text)) or parse(text))
    async with start(house) as running:
        stream = asyncio.ensure_future(running.chat("tiny", stream=True))
        reply = await running.client.post(route, content=of_empty_items(8 * MIB))
        assert (await stream).text.endswith("data: [DONE]\n\n"), "and a stream beside it is whole"
    assert (reply.status_code, reply.json()["error"]["code"]) == (413, "request_too_large")
    assert "65536 objects and lists" in reply.json()["error"]["message"]
    assert len(reply.content) < 1000
    assert max(parsed, default=0) < 1000, "only the stream's own body was"


async def test_the_loop_comes_round_for_every_slice_of_a_large_body(house: Any, start: Any) -> None:
    body = json.dumps({"model": "tiny", "messages": [{"role": "user", "content": "x" * 8_000_000}]}).encode()
    async with start(house) as running:
        _, few = await turns_during(running.chat("tiny"))
        _, turns = await turns_during(running.client.post("/v1/chat/completions", content=body))
    assert turns >= few + len(body) // SLICE - 1


async def test_a_large_body_is_parsed_beside_the_loop_and_a_small_one_on_it(
    house: Any, start: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    where: list[threading.Thread] = []
    parse = strict_json.parse
    monkeypatch.setattr(strict_json, "parse", lambda text: where.append(threading.current_thread()) or parse(text))
    async with start(house) as running:
        for count, text in ((1, "x" * 60_000), (1, "x" * 70_000), (600, "x")):
            messages = [{"role": "user", "content": text}] * count
            await running.client.post("/v1/chat/completions", json={"model": "tiny", "messages": messages})
    here = threading.current_thread()
    assert [thread is here for thread in where] == [True, False, False]


@pytest.mark.parametrize(
    ("items", "status"), [(http_input.MOST_VALUES - 2, 200), (http_input.MOST_VALUES - 1, 413)], ids=["most", "more"]
)
async def test_as_many_values_as_may_be_are_taken_and_not_one_more(
    house: Any, start: Any, items: int, status: int
) -> None:
    body = b'{"prompt":"x","a":[' + b",".join([b"1"] * items) + b"]}"
    async with start(house) as running:
        reply = await running.client.post("/tokenize", content=body)
    assert reply.status_code == status


async def test_as_many_containers_as_may_be_are_taken_and_not_one_more(house: Any, start: Any) -> None:
    async with start(house) as running:
        for items, status in ((http_input.MOST_CONTAINERS - 2, 200), (http_input.MOST_CONTAINERS - 1, 413)):
            body = b'{"prompt":"x","a":[' + b",".join([b"{}"] * items) + b"]}"
            reply = await running.client.post("/tokenize", content=body)
            assert reply.status_code == status


async def test_an_admin_route_takes_less(house: Any, start: Any) -> None:
    admin = house.key("boss", role="admin")
    async with start(house) as running:
        for body, says in (
            (b'{"a": "' + b"x" * MIB + b'"}', "larger than the 1 MiB"),
            (b'{"a": [' + b",".join([b"[]"] * 5000) + b"]}", "more than 4096 objects and lists"),
            (b'{"a": [' + b",".join([b"1"] * 20_000) + b"]}", "more than 16384 values"),
        ):
            headers = {**admin, "content-type": "application/json"}
            reply = await running.client.post("/admin/promote", content=body, headers=headers)
            assert reply.status_code == 413
            assert says in reply.json()["error"]["message"]
