"""OpenAI's official client against the service over the fake engine."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx2
import openai
import pytest

from tests.service.conftest import Running, run_service


def rows(count: int = 12) -> bytes:
    """Conversations, one a line."""
    lines = (
        {"messages": [{"role": "user", "content": f"سؤال {n}"}, {"role": "assistant", "content": f"answer {n}"}]}
        for n in range(count)
    )
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


@pytest.fixture
def jsonl_rows() -> Callable[..., bytes]:
    return rows


class Asked(httpx2.AsyncBaseTransport):
    """The application as the client's transport."""

    def __init__(self, running: Running) -> None:
        self._inner = httpx2.ASGITransport(app=running.app, client=("127.0.0.1", 50001))
        self.requests: list[httpx2.Request] = []
        self.lose = 0
        """So many answers are lost on their way."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        self.requests.append(request)
        response = await self._inner.handle_async_request(request)
        if self.lose:
            self.lose -= 1
            await response.aclose()
            raise httpx2.ReadError("the answer was lost")
        return response


@asynccontextmanager
async def official(
    house: Any, *, key: dict[str, str] | None = None, running: Running | None = None, **options: object
) -> AsyncIterator[openai.AsyncOpenAI]:
    async with _service(house, running, options) as service:
        transport = Asked(service)
        secret = (key or {"authorization": "Bearer none"})["authorization"].removeprefix("Bearer ")
        async with httpx2.AsyncClient(transport=transport) as http:
            client = openai.AsyncOpenAI(base_url="http://service/v1", api_key=secret, http_client=http)
            client.asked = transport  # type: ignore[attr-defined]
            client.running = service  # type: ignore[attr-defined]
            yield client


@asynccontextmanager
async def _service(house: Any, running: Running | None, options: dict[str, object]) -> AsyncIterator[Running]:
    if running is not None:
        yield running
        return
    async with run_service(house, **options) as begun:
        yield begun


Official = Callable[..., AbstractAsyncContextManager[openai.AsyncOpenAI]]


@pytest.fixture
def client_of() -> Official:
    """`async with client_of(house, key=…, **options) as client`: of a service of its own, or of `running`."""
    return official
