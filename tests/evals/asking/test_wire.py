"""Over a real socket: what is sent, what comes back, and every way in which no whole answer comes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx
import pytest

from evals.asking.endpoint import Endpoint, Reply, Session
from evals.asking.wire import Broken, wire

OK = b'HTTP/1.1 200 OK\r\nX-Dabt-Digest: sha256:1\r\ncontent-length: 14\r\n\r\n{"choices":[]}'
Said = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def answering(say: Said) -> AsyncIterator[tuple[str, list[int]]]:
    """An address where `say` answers each request, and how many connections there were."""
    connections: list[int] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(len(connections))
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                sizes = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length")]
                body = await reader.readexactly(int(sizes[0].split(b":")[1])) if sizes else b""
                await say(head + body, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", connections
    finally:
        server.close()


def saying(answer: bytes, heard: list[bytes] | None = None, end: bool = False) -> Said:
    async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
        if heard is not None:
            heard.append(request)
        writer.write(answer)
        if end:
            writer.close()

    return say


async def asked(say: Said, user: str = "", limit: float = 60.0) -> Reply:
    async with answering(say) as (root, _):
        address = root.replace("//", f"//{user}") + "/v1"
        session = Session(Endpoint(url=address, retries=0, timeout=limit))
        try:
            return await session.post("chat/completions", {"model": "m:1", "messages": "مرحبا"})
        finally:
            await session._wire.close()


def test_a_request_has_the_body_that_it_had_by_httpx_and_says_what_it_is_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DABT_API_KEY", "secret")
    heard: list[bytes] = []
    reply = asyncio.run(asked(saying(OK, heard)))
    assert (reply.status, reply.error, reply.served, reply.body) == (200, "", "sha256:1", {"choices": []})
    head, body = heard[0].split(b"\r\n\r\n")
    assert body == httpx.Request("POST", "http://x", json={"model": "m:1", "messages": "مرحبا"}).content
    lines = head.lower().split(b"\r\n")
    assert lines[0] == b"post /v1/chat/completions http/1.1"
    assert {b"x-dabt-purpose: evaluation", b"authorization: bearer secret"} < set(lines)
    assert b"content-type: application/json" in lines


def test_a_user_in_the_address_stands_before_a_key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DABT_API_KEY", "secret")
    heard: list[bytes] = []
    assert asyncio.run(asked(saying(OK, heard), user="me:pass@")).error == ""
    assert b"authorization: basic bwu6cgfzcw==" in heard[0].lower()


@pytest.mark.parametrize(
    ("answer", "error", "final"),
    [
        (b"HTTP/1.1 400 no\r\ncontent-length: 7\r\n\r\ntoo big", "HTTP 400: too big", True),
        (b"HTTP/1.1 302 Found\r\nlocation: /v2\r\ncontent-length: 0\r\n\r\n", "HTTP 302: no body", False),
        (b"HTTP/1.1 503 busy\r\nretry-after: 2\r\ncontent-length: 4\r\n\r\nbusy", "HTTP 503: busy", False),
        (b'HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{"a', 'HTTP 200: {"a', False),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n{}", "ClientPayloadError: ", False),
        (b"", "ServerDisconnectedError: ", False),
        (b"nonsense\r\n\r\n", "ClientResponseError: ", False),
    ],
)
def test_what_is_no_answer_is_a_failure_in_words(answer: bytes, error: str, final: bool) -> None:
    reply = asyncio.run(asked(saying(answer, end=True)))
    assert reply.error.startswith(error)
    assert reply.final is final
    assert reply.status == (0 if "Error: " in error else int(answer[9:12]))


def test_silence_longer_than_the_limit_is_a_failure() -> None:
    async def nothing(request: bytes, writer: asyncio.StreamWriter) -> None:
        pass

    reply = asyncio.run(asked(nothing, limit=0.05))
    assert (reply.status, reply.final) == (0, False)
    assert reply.error.startswith("SocketTimeoutError: ")


def test_where_nothing_listens_it_is_refused() -> None:
    async def sent() -> str:
        async with answering(saying(OK)) as (root, _):
            pass
        return await broken(root, {})

    assert asyncio.run(sent()).startswith("ClientConnectorError: ")


def test_a_key_that_is_no_header_is_told() -> None:
    async def sent() -> str:
        async with answering(saying(OK)) as (root, _):
            return await broken(root, {"Authorization": "Bearer a\n"})

    assert asyncio.run(sent()).startswith("ValueError: ")


async def broken(url: str, headers: dict[str, str]) -> str:
    network = wire(headers, 1.0, None)
    try:
        with pytest.raises(Broken) as told:
            await network.send("GET", url, None)
    finally:
        await network.close()
    return str(told.value)


def test_as_many_connections_as_requests_in_flight_and_each_is_used_again() -> None:
    async def all_of_it() -> int:
        arrived = asyncio.Barrier(8)

        async def say(request: bytes, writer: asyncio.StreamWriter) -> None:
            await arrived.wait()  # eight at once, or none is answered
            writer.write(OK)

        async with answering(say) as (root, connections):
            network = wire({}, 60.0, None)
            for _ in range(3):
                answers = await asyncio.gather(*(network.send("POST", root, {"n": n}) for n in range(8)))
                assert [json.loads(answer.content) for answer in answers] == [{"choices": []}] * 8
            await network.close()
            return len(connections)

    assert asyncio.run(all_of_it()) == 8
