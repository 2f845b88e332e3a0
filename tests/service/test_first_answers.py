"""Who answers while the service is put together: /health from the first second, and nothing that would be a promise."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from lifecycle.errors import InvalidConfig, Unavailable
from service.first_answers import STARTING, FirstAnswers
from service.openai import http_errors

pytestmark = pytest.mark.timeout(300)


@pytest.fixture
def first() -> Iterator[FirstAnswers]:
    made = FirstAnswers("127.0.0.1", 0)
    yield made
    made.close()


def test_health_is_200_and_the_rest_503_with_a_code(first: FirstAnswers) -> None:
    assert (health := httpx.get(f"{first.url}/health?from=lb", timeout=60)).status_code == 200
    assert health.json() == {"status": "ok"}
    head = httpx.head(f"{first.url}/health")
    assert (head.status_code, head.content) == (200, b"")
    ready = httpx.get(f"{first.url}/ready", timeout=60)
    assert (ready.status_code, ready.json()["code"], ready.json()["ready"]) == (503, "starting", False)
    assert ready.json()["waiting_for"] == [STARTING]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/admin/promote", "/v1/models", "/metrics", "/"])
def test_every_other_route_is_told_as_the_service_itself_would(first: FirstAnswers, path: str) -> None:
    reply = httpx.post(f"{first.url}{path}", content=b"x" * 200_000, timeout=60)
    assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
    assert reply.json() == http_errors.body_of(Unavailable(STARTING))
    assert reply.headers["content-type"] == "application/json"


def test_a_client_that_says_nothing_or_nonsense_holds_up_nobody(first: FirstAnswers) -> None:
    address = (first.url.removeprefix("http://").split(":")[0], int(first.url.rpartition(":")[2]))
    silent = [socket.create_connection(address) for _ in range(20)]
    for said in (b"\x16\x03\x01\x00", b"GET\r\n\r\n", b"\r\n\r\n", b"x" * 100_000 + b"\r\n\r\n"):
        silent.append(socket.create_connection(address))
        silent[-1].sendall(said)
    assert httpx.get(f"{first.url}/health", timeout=60).status_code == 200
    for line in silent:
        line.close()


def test_who_connects_at_the_hand_over_is_answered_by_who_comes_next(first: FirstAnswers) -> None:
    url = first.url
    assert httpx.get(f"{url}/health", timeout=60).status_code == 200
    listener = first.hand_over()
    assert first.hand_over() is listener, "a second time changes nothing"
    with socket.create_connection(listener.getsockname()) as line:
        line.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        taken, _ = listener.accept()
        with taken:
            assert taken.recv(100) == b"GET /health HTTP/1.1\r\n\r\n"


def test_whoever_is_accepted_in_the_last_moment_is_answered_and_not_reset() -> None:
    """Many at the very hand-over: each has the first answer whole, or waits for who comes next."""
    for _ in range(40):
        first = FirstAnswers("127.0.0.1", 0)
        address = first.listener.getsockname()
        lines = []
        for _ in range(30):
            lines.append(socket.create_connection(address))
            lines[-1].sendall(b"GET /ready HTTP/1.1\r\n\r\n")
            lines[-1].shutdown(socket.SHUT_WR)
        listener = first.hand_over()
        listener.setblocking(False)
        waiting = set()
        with suppress(BlockingIOError):
            while True:
                taken, client = listener.accept()
                waiting.add(client)
                taken.close()
        for line in lines:
            if line.getsockname() not in waiting:
                assert line.recv(4096).startswith(b"HTTP/1.1 503")
            line.close()
        listener.close()


def test_an_address_that_is_taken_or_no_address_is_told_at_once(first: FirstAnswers) -> None:
    port = int(first.url.rpartition(":")[2])
    with pytest.raises(InvalidConfig, match=rf"127\.0\.0\.1:{port} cannot be had"):
        FirstAnswers("127.0.0.1", port)
    with pytest.raises(InvalidConfig, match=r"nowhere\.invalid:0 cannot be had"):
        FirstAnswers("nowhere.invalid", 0)


def test_it_needs_nothing_that_takes_long_to_import() -> None:
    heavy = ("fastapi", "sqlalchemy", "uvicorn", "starlette", "prometheus_client", "torch", "vllm")
    code = f"import sys, json, service.first_answers; print(json.dumps([m for m in {heavy} if m in sys.modules]))"
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == []
