"""A client that leaves: the request, the lease and the count are given back at once."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

pytestmark = pytest.mark.timeout(300)


class RawCall:
    """One ASGI call by hand, so that the client can leave at a chosen moment."""

    def __init__(self, app: Any, body: dict[str, Any]) -> None:
        self.app = app
        self.body = json.dumps(body).encode()
        self.path = "/v1/chat/completions"
        self.sent: list[dict[str, Any]] = []
        self.leave = asyncio.Event()
        self.some = asyncio.Event()
        self._given = False

    async def _receive(self) -> dict[str, Any]:
        if not self._given:
            self._given = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self.leave.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)
        if message.get("body"):
            self.some.set()

    async def run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "query_string": b"",
            "root_path": "",
            "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
            "client": ("127.0.0.1", 1),
            "server": ("127.0.0.1", 80),
        }
        await self.app(scope, self._receive, self._send)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_client_that_leaves_frees_the_request_and_the_lease(
    house: Any, start: Any, until: Any, stream: bool
) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        residency = running.app.state.parts.residency
        await running.chat("triage")
        running.engine.faults.hold = asyncio.Event()
        body = {"model": "triage", "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        call = RawCall(running.app, body)
        task = asyncio.create_task(call.run())
        await until(lambda: running.engine.active)
        assert residency.leases() == 1
        call.leave.set()
        await task
        assert residency.leases() == 0
        assert running.engine.active == set()
        metrics = (await running.client.get("/metrics")).text
        assert 'dabt_request_errors_total{code="disconnected",version="triage:1"} 1.0' in metrics
        assert "dabt_requests_in_flight 0.0" in metrics


async def test_a_client_that_leaves_in_the_middle_of_a_stream_frees_everything(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        hold = asyncio.Event()
        hold.set()
        running.engine.faults.hold = hold
        body = {"model": "triage", "stream": True, "messages": [{"role": "user", "content": "hi"}]}
        call = RawCall(running.app, body)
        original = call._send

        async def slow(message: dict[str, Any]) -> None:
            await original(message)
            if call.some.is_set():
                hold.clear()  # the engine stops in the middle of the answer

        call._send = slow  # type: ignore[method-assign]
        task = asyncio.create_task(call.run())
        await call.some.wait()
        assert running.app.state.parts.residency.leases() == 1
        call.leave.set()
        await task
        assert running.app.state.parts.residency.leases() == 0
        assert running.engine.active == set()
