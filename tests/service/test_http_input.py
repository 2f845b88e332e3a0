"""The door: bodies that are no JSON object, or are one that two readers would read differently."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest

from lifecycle.errors import InvalidInput
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.openai.http_input import parse_json
from tests.service.socketed import socketed

pytestmark = pytest.mark.timeout(300)

MIB = 2**20


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"{", "not JSON"),
        (b'{"a": tru', "not JSON"),
        (b'{"a": 1}{"b": 2}', "trailing"),
        (b'{"a": 1,}', "not JSON"),
        (b"{'a': 1}", "not JSON"),
        ("\ufeff{}".encode(), "not JSON"),
        (b'{"a": "\x01"}', "control character"),
        (b'{"a": NaN}', "no NaN"),
        (b'{"a": [Infinity]}', "no Infinity"),
        (b'{"a": -Infinity}', "no -Infinity"),
        (b'{"a": 1e400}', "too large: 1e400"),
        (b'{"a": ' + b"9" * 5000 + b"}", "too large: more than 4,300 digits"),
        (b'{"model": "\xff"}', "byte 11"),
        (b'{"a": "\\ud800"}', "surrogate pair"),
        (b'{"a": "\\udc00\\ud800"}', "surrogate pair"),
        (b'{"model": "red", "x": {"y": 1}, "model": "blue"}', "'model' twice"),
        (b'{"x": [{"y": 1, "y": 1}]}', "'y' twice"),
        (b"[" * 300 + b"]" * 300, "nested too deeply"),
        (b'{"a":' * 100_000, "nested too deeply"),
    ],
)
def test_what_readers_might_take_for_different_things_is_refused(body: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        parse_json(body)


@pytest.mark.parametrize(
    "value",
    [
        {"emoji": "\N{GRINNING FACE}", "العيادة": ["أهلاً", None, True, 1.5, -0.0, 2**70]},
        {"a": json.loads("[" * 150 + "]" * 150)},
    ],
)
def test_what_is_allowed_comes_through_as_it_is(value: Any) -> None:
    assert parse_json(json.dumps(value).encode()) == value
    assert parse_json(json.dumps(value, ensure_ascii=False).encode()) == value


@pytest.fixture
def url(house: Any) -> Iterator[str]:
    """The service behind a real socket: what a client sees when it is cut off differs from a call."""
    config = ServeConfig(base=house.base, max_body_mib=8, embedding_model="none")
    with socketed(create_app(config, FakeEngine(), house.registry, house.store)) as found:
        yield found


def ask(model: str = "tiny") -> bytes:
    return json.dumps({"model": model, "messages": [{"role": "user", "content": "x"}]}).encode()


def test_a_body_of_50_mb_is_told_so_with_its_length_or_without(url: str) -> None:
    body = b'{"a": "' + b"x" * 50_000_000 + b'"}'

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(body), MIB):
            yield body[at : at + MIB]

    with httpx.Client(base_url=url, timeout=50) as client:
        announced = client.post("/v1/chat/completions", content=body)
        chunked = client.post("/v1/chat/completions", content=pieces())
        after = client.post("/v1/chat/completions", content=ask())
    for reply in (announced, chunked):
        assert reply.status_code == 413
        error = reply.json()["error"]
        assert (error["type"], error["code"]) == ("invalid_request_error", "request_too_large")
        assert "8 MiB" in error["message"]
    assert after.status_code == 200


def test_the_official_client_is_told_too(url: str) -> None:
    client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        client.chat.completions.create(model="x", messages=[{"role": "user", "content": "x" * 50_000_000}])
    assert (caught.value.status_code, caught.value.code) == (413, "request_too_large")


def test_a_client_that_asks_first_is_refused_before_it_sends(url: str) -> None:
    host, _, port = url.removeprefix("http://").partition(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 50000000\r\n"
        connection.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_a_client_cannot_keep_its_connection_by_sending_for_ever(url: str) -> None:
    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while sent < 2**30:
            sent += MIB
            yield b"x" * MIB

    with httpx.Client(base_url=url, timeout=50) as client, suppress(httpx.TransportError):
        assert client.post("/v1/chat/completions", content=endless()).status_code == 413
    assert sent < 2**30


def test_what_this_door_refuses_never_costs_the_service_a_thing(url: str) -> None:
    """A list of hostile bodies over the socket, on every route that takes one, and after them a plain request."""
    hostile = [
        b"",
        b"[]",
        b"[" * 10**6,
        b'{"model": "\xff"}',
        b'{"a":' * 10**5,
        b"\x00" * 1000,
        b'{"model": {}}',
        b'"x"',
    ]
    routes = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/embeddings", "/tokenize", "/detokenize"]
    with httpx.Client(base_url=url, timeout=50) as client:
        for route in routes:
            for body in hostile:
                reply = client.post(route, content=body)
                assert 400 <= reply.status_code < 500, (route, body[:20], reply.text)
                assert set(reply.json()["error"]) == {"message", "type", "param", "code"}
                assert reply.headers["x-request-id"]
        assert client.post("/v1/chat/completions", content=ask()).status_code == 200
