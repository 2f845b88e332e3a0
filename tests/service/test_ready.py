"""/ready: what is waited for, and since when."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)


def since(reply: Any) -> datetime:
    moment = datetime.fromisoformat(reply.json()["since"])
    assert moment.tzinfo is not None
    return moment


async def test_ready_says_since_when_and_a_death_begins_anew(house: Any, start: Any, until: Any) -> None:
    async with start(house) as running:
        supervisor = running.app.state.parts.supervisor
        began = supervisor.since
        first = await running.client.get("/ready")
        assert first.json()["ready"] is True
        assert since(first) == began.replace(microsecond=0)
        supervisor.since = began - timedelta(hours=1)
        assert since(await running.client.get("/ready")) == (began - timedelta(hours=1)).replace(microsecond=0)
        supervisor._engine_state = "the engine died and is being restarted"
        waiting = await running.client.get("/ready")
        assert waiting.status_code == 503
        assert waiting.json()["ready"] is False
        assert waiting.json()["waiting_for"] == ["the engine died and is being restarted"]
        assert since(waiting) >= began.replace(microsecond=0)
        again = await running.client.get("/ready")
        assert since(again) == since(waiting), "what it waits for may change; since when it waits does not"


async def test_ready_tells_by_a_code_whether_answers_can_be_held_to_a_schema(house: Any, start: Any) -> None:
    async with start(house) as running:
        for code in ("ok", "stalled"):
            running.engine.faults.structured_output = code
            reply = await running.client.get("/ready")
            assert (reply.status_code, reply.json()["structured_output"]) == (200, code), (
                "other answers are not held up"
            )


async def test_a_service_that_stops_says_since_when_it_does(house: Any, start: Any, until: Any) -> None:
    async with start(house) as running:
        service = running.app.state.service
        running.engine.faults.hold = asyncio.Event()
        asked = datetime.now(UTC).replace(microsecond=0)
        admitted = asyncio.create_task(running.chat("tiny"))
        await until(lambda: running.engine.active)
        running.app.state.parts.supervisor.since = asked - timedelta(days=1)
        draining = asyncio.create_task(service.parts.drain(10))
        await until(lambda: service.parts.under_way.draining_since)
        reply = await running.client.get("/ready")
        assert reply.json()["waiting_for"] == ["the service is stopping"]
        assert since(reply) >= asked
        running.engine.faults.hold.set()
        assert (await admitted).status_code == 200
        assert await draining
