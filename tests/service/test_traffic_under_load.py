"""Moves of an alias under load, over real sockets: nobody is failed, or answered by a version of another time.

How it is proved: every answer names the registry's revision by which its version was chosen. The trail says what the
alias pointed at from that revision on, and the version must be among it. The revision must be no older than the last
move that was acknowledged before the request was sent, and no newer than the last that was begun before its answer was
complete. And what was said must be the words of the version's own adapter.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from lifecycle.registry import Registry
from service.adapters.residency import internal_name
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.service.conftest import wait_until as until
from tests.service.logged import logged
from tests.service.socketed import socketed

pytestmark = pytest.mark.timeout(300)

REQUESTS, MOVES, CLIENTS = 2000, 20, 24


@dataclass
class Moved:
    """Moves of `triage:prod`, counted: nothing else changes the registry meanwhile."""

    first: int
    """The registry's revision before them."""
    begun: int = 0
    acknowledged: int = 0


@dataclass(frozen=True)
class Answered:
    status: int
    revision: int
    version: str
    words: str
    oldest: int
    newest: int


async def test_two_thousand_requests_under_twenty_moves_lose_nothing(house: Any) -> None:
    adapters = {f"triage:{number}": house.adapter(f"a{number}") for number in (1, 2, 3)}
    house.prod("triage", adapter="a1")
    for number in (2, 3):
        house.version("triage", adapter=f"a{number}")
    config = ServeConfig(base=house.base, max_cpu_loras=4, max_loras=2, embedding_model="none")
    app = create_app(config, FakeEngine(), house.registry, house.store)
    moved, answers = Moved(house.registry.revision()), list[Answered]()
    with logged("error"), socketed(app) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as client:
            numbers = iter(range(REQUESTS))
            asking = [ask(client, numbers, moved, answers) for _ in range(CLIENTS)]
            await asyncio.gather(move(client, house, moved, answers), *asking)

    assert len(answers) == REQUESTS
    assert {one.status for one in answers} == {200}
    pointed_at = {
        entry.id: set(entry.detail["to"])
        for entry in house.registry.audit("triage:prod", limit=1000)
        if entry.action in ("alias.move", "alias.force", "alias.rollback")
    }
    assert sum(revision > moved.first for revision in pointed_at) == MOVES
    stood = {}
    for revision in range(min(pointed_at), house.registry.revision() + 1):
        stood[revision] = pointed_at.get(revision) or stood[revision - 1]
    assert [one for one in answers if one.version not in stood[one.revision]] == []
    assert [one for one in answers if not one.oldest <= one.revision <= one.newest] == []
    assert [one for one in answers if not one.words.startswith(internal_name(adapters[one.version]))] == []
    assert len({one.revision for one in answers}) > MOVES / 2, "the moves were among the requests"
    assert {one.version for one in answers} == set(adapters)


async def ask(client: httpx.AsyncClient, numbers: Any, moved: Moved, answers: list[Answered]) -> None:
    """One caller: whole answers and streams by turns, some with a session and some without."""
    for at in numbers:
        oldest = moved.first + moved.acknowledged
        body = {"model": "triage", "messages": [{"role": "user", "content": f"{at}"}], "stream": at % 3 == 0}
        headers = {"x-dabt-session": f"s{at % 50}"} if at % 2 else {}
        reply = await client.post("/v1/chat/completions", json=body, headers=headers)
        newest = moved.first + moved.begun
        version, words = said(reply, stream=bool(body["stream"]))
        revision = int(reply.headers.get("x-dabt-revision", -1))
        answers.append(Answered(reply.status_code, revision, version, words, oldest, newest))


def said(reply: httpx.Response, *, stream: bool) -> tuple[str, str]:
    if not stream:
        answer = reply.json()
        return answer["dabt"]["version"], answer["choices"][0]["message"]["content"]
    chunks = [json.loads(event.removeprefix("data: ")) for event in reply.text.split("\n\n")[:-2]]
    assert reply.text.endswith("data: [DONE]\n\n")
    words = "".join(choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"])
    return chunks[0]["dabt"]["version"], words


async def served(client: httpx.AsyncClient, revision: int) -> bool:
    seen: int = (await client.get("/ready")).json()["registry"]["revision"]
    return seen >= revision


async def move(client: httpx.AsyncClient, house: Any, moved: Moved, answers: list[Answered]) -> None:
    """Promotions, canaries, splits and rollbacks, evenly among the requests, some as another process does it."""
    orders = itertools.cycle(
        [
            ("/admin/promote", {"ref": "triage:2"}),
            ("/admin/promote", {"ref": "triage:3", "share": 0.3}),
            ("/admin/rollback", {"name": "triage"}),
            ("/admin/traffic/split", {"alias": "triage", "targets": [{"number": 1, "weight": 1}, {"number": 3}]}),
            ("/admin/promote", {"ref": "triage:1"}),
        ]
    )
    with Registry.open(house.home.registry_url) as elsewhere:
        for at, (path, order) in zip(range(MOVES), orders, strict=False):
            await until(lambda due=(at + 1) * REQUESTS // (MOVES + 2): len(answers) >= due)
            moved.begun += 1
            if path == "/admin/promote" and at % 2:
                options = {"share": order.get("share"), "force": True}
                await asyncio.to_thread(elsewhere.promote, order["ref"], actor="test", reason="load", **options)
                await until(lambda: served(client, moved.first + moved.begun))
            else:
                force = {} if path == "/admin/rollback" else {"force": True}
                reply = await client.post(path, json={**order, "reason": "load", **force})
                assert reply.status_code == 200, reply.text
            moved.acknowledged += 1
