"""A teacher on loopback that answers as OpenAI's chat completions do, and fails as it is told to."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Reply:
    """One answer, or one way to fail."""

    text: str | None = None
    status: int = 200
    error: dict[str, Any] | None = None
    headers: dict[str, str] = field(default_factory=dict)
    finish: str = "stop"
    refusal: str | None = None
    usage: dict[str, int] | None = field(default_factory=lambda: {"prompt_tokens": 40, "completion_tokens": 10})
    raw: bytes | None = None
    hang: float = 0.0
    """Seconds before it answers; the test's client gives up sooner."""
    cut: bool = False
    """Close the connection without a word."""


def failing(status: int, message: str = "no", **headers: str) -> Reply:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return Reply(status=status, error={"message": message, "param": None, "code": None}, headers=named)


def refusing(message: str, *, param: str | None = None, code: str | None = None, status: int = 400) -> Reply:
    return Reply(status=status, error={"message": message, "param": param, "code": code})


class FakeTeacher:
    """`says` answers a question; `script` has what is said to a question first, one reply for each request."""

    def __init__(self) -> None:
        self.says: Callable[[str], Reply] = lambda question: Reply(json.dumps({"intent": "advice", "note": question}))
        self.script: dict[str, deque[Reply]] = defaultdict(deque)
        self.refuse: Callable[[dict[str, Any]], Reply | None] = lambda body: None
        """What the endpoint does not take, whatever the question."""
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.most_at_once = 0
        self._now = 0
        self._lock = threading.Lock()
        self.url = ""

    def asked(self) -> list[str]:
        return [question_of(body) for body in self.bodies]

    def answer(self, body: dict[str, Any], key: str) -> Reply:
        with self._lock:
            self.bodies.append(body)
            self.keys.append(key)
            if reply := self.refuse(body):
                return reply
            question = question_of(body)
            if self.script[question]:
                return self.script[question].popleft()
        return self.says(question)

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        try:
            yield
        finally:
            with self._lock:
                self._now -= 1


def question_of(body: dict[str, Any]) -> str:
    """The input's own text, also in the request for a repair."""
    said = [turn["content"] for turn in body["messages"] if turn["role"] == "user"]
    return str(said[-2] if said[-1].startswith("That answer cannot be used") else said[-1])


@contextmanager
def teaching() -> Iterator[FakeTeacher]:
    teacher = FakeTeacher()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            with teacher.counted():
                reply = teacher.answer(body, self.headers.get("authorization", ""))
                if reply.hang:
                    time.sleep(reply.hang)
            if reply.cut:
                self.close_connection = True
                return
            payload = reply.raw if reply.raw is not None else json.dumps(_body(reply, body["model"])).encode()
            try:
                self.send_response(reply.status)
                for name, value in {"content-type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
            except OSError:
                self.close_connection = True  # who gave up does not read it

        def log_message(self, format: str, *args: object) -> None: ...

    httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    httpd.daemon_threads = True
    teacher.url = f"http://127.0.0.1:{httpd.server_port}/v1"
    thread = threading.Thread(target=httpd.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield teacher
    finally:
        httpd.shutdown()
        httpd.server_close()


def _body(reply: Reply, model: str) -> dict[str, Any]:
    if reply.error is not None:
        return {"error": reply.error}
    message = {"role": "assistant", "content": reply.text, "refusal": reply.refusal}
    body: dict[str, Any] = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": f"{model}-2026-01-01",
        "choices": [{"index": 0, "message": message, "finish_reason": reply.finish}],
    }
    return body if reply.usage is None else {**body, "usage": reply.usage}
