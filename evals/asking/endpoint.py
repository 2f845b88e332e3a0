"""The OpenAI-compatible endpoint under test: many requests in flight, patient with a busy server, honest about time.

It knows HTTP and nothing of tasks; `asker.py` asks a version by it.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, Self, TypeVar

import httpx
import uvloop
from pydantic import Field, ValidationError

from evals.asking.connection import Response
from evals.asking.wire import Broken, wire
from evals.config import ENDPOINT
from lifecycle.deployment import Deployment
from lifecycle.errors import NotAllowed, NotFound, Unavailable
from lifecycle.version import Frozen

_T = TypeVar("_T")
_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Statuses that may be gone on another try; any other of 400 and above would come again."""
_LONGEST_PAUSE = 30.0


class Endpoint(Frozen):
    """Where the models answer. `api_key` is read from DABT_API_KEY or OPENAI_API_KEY when it is not given."""

    url: str = Field(default=ENDPOINT, pattern=r"^https?://")
    """With the version path: …/v1."""
    api_key: str = ""
    timeout: float = Field(default=120.0, gt=0.0)
    """Seconds without a byte until a request counts as failed."""
    retries: int = Field(default=8, ge=0)
    """Further tries after a failure that may pass: a minute and more in all, in which a service can start again."""
    pause: float = Field(default=0.25, ge=0.0)
    """Seconds before the first further try; they double, and a server may ask for more."""
    jitter: float = Field(default=0.25, ge=0.0)
    """So much of a pause is added at most, by a seeded chance: requests that failed together come back apart."""
    patience: float = Field(default=20.0, ge=0.0)
    """Seconds to wait for a version that was made a moment ago to be known to the server."""

    @property
    def root(self) -> str:
        """Without the version path: where /tokenize is."""
        return self.url.rstrip("/").removesuffix("/v1")

    @property
    def place(self) -> str:
        """The root as answers are kept under: one spelling of an address, and no user or password in it."""
        root = httpx.URL(self.root)
        return str(root.copy_with(userinfo=b"", query=None, fragment=None)).rstrip("/")


@dataclass(frozen=True, slots=True)
class Reply:
    """One request's outcome: a JSON `body`, or an `error` in words."""

    body: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    """0 when there was no HTTP answer at all."""
    error: str = ""
    latency: float = 0.0
    retries: int = 0
    served: str = ""
    """The digest of the version that answered, from the x-dabt-digest header; empty from another server."""
    deployment: str = ""
    """The digest of what it answered on, from the x-dabt-deployment header."""
    shared: int = 1
    """Answers that came with it: of each, the latency is a share."""
    timing: dict[str, float] = field(default_factory=dict)
    """Seconds of its parts, from the server-timing header: `ttft` is from arrival to the first token."""

    again: bool = True
    """False when the server says that another try is of no use (x-should-retry: false)."""
    wait: float = 0.0
    """Seconds that it asks to wait for before another try."""

    @property
    def final(self) -> bool:
        """False when the failure may be gone on another try: no answer at all, one cut short, or a server's trouble."""
        return not self.error or (self.status >= 400 and self.status not in _PASSING)


class Session:
    """Blocking use of the endpoint over one event loop and one pool of connections. A context manager.

    `transport` takes the place of the network in tests. `runner` is another session's, so that work may ask both.
    Must be used outside a running event loop; what is async, inside.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        transport: httpx.AsyncBaseTransport | None = None,
        runner: asyncio.Runner | None = None,
    ) -> None:
        self.endpoint = endpoint
        key = endpoint.api_key or os.environ.get("DABT_API_KEY") or os.environ.get("OPENAI_API_KEY") or ""
        headers = {"x-dabt-purpose": "evaluation"}
        if key and not httpx.URL(endpoint.url).userinfo:  # a user in the address stands before a key
            headers["Authorization"] = f"Bearer {key}"
        self.deployment: Deployment | None = None
        """What answers, once `ask_deployment` has asked; None when the endpoint does not say."""
        self._transport, self._beside = transport, ExitStack()
        self._chance = random.Random(0)
        # uvloop takes half of asyncio's own work for a request, of the processor that the engine may be computing on.
        self.runner = runner or asyncio.Runner(loop_factory=uvloop.new_event_loop)
        self._own = runner is None
        self._wire = wire(headers, endpoint.timeout, transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._beside.close()
            self.run(self._wire.close())
        finally:
            if self._own:
                self.runner.close()

    def beside(self, url: str) -> Session:
        """A session with another endpoint on the same loop, which ends with it; its key is in DABT_JUDGE_API_KEY."""
        key = os.environ.get("DABT_JUDGE_API_KEY", "")
        endpoint = self.endpoint.model_copy(update={"url": url, "api_key": key})
        return self._beside.enter_context(Session(endpoint, self._transport, self.runner))

    def run(self, work: Coroutine[Any, Any, _T]) -> _T:
        return self.runner.run(work)

    def gather(
        self, work: Sequence[Callable[[], Awaitable[_T]]], *, concurrency: int, done: Callable[[_T], None]
    ) -> list[_T]:
        """Runs `work` with `concurrency` pieces in flight and returns the results in the order given.

        `done` is called as each is finished: what it has saved is safe when the run is interrupted.
        """

        async def all_of_it() -> list[_T]:
            results: dict[int, _T] = {}
            waiting = iter(enumerate(work))

            async def worker() -> None:
                for place, piece in waiting:
                    results[place] = await piece()
                    done(results[place])

            async with asyncio.TaskGroup() as group:
                for _ in range(min(concurrency, len(work))):
                    group.create_task(worker())
            return [results[place] for place in range(len(work))]

        try:
            return self.run(all_of_it())
        except BaseExceptionGroup as group:  # our own errors must reach the caller as they are
            raise group.exceptions[0] from None

    def check(self) -> None:
        """`checked`, outside a loop."""
        self.run(self.checked())

    async def checked(self) -> None:
        """Raises `Unavailable` when nothing answers there, without waiting, and `NotAllowed` when it wants a key."""
        reply = await self._tried("GET", self._at("models"), None)
        if reply.status == 0:
            raise Unavailable(f"no model answers at {self.endpoint.url} ({reply.error}); start one with `dabt serve`")
        if reply.status in (401, 403):
            raise NotAllowed(f"{self.endpoint.url} asks for a key ({reply.error}); set DABT_API_KEY")

    def ask_deployment(self) -> Deployment | None:
        """What answers here, which every answer must then name. None when the endpoint does not say.

        Raises `Unavailable` when it cannot say now, `NotAllowed` when it says it as this release does not understand.
        """
        reply = self.run(self.get("dabt/deployment"))
        if reply.error and not reply.final and reply.status != 200:
            raise Unavailable(f"{self.endpoint.url} does not say now on what it answers ({reply.error}); try again")
        self.deployment = None if reply.error else _deployment(reply.body, self.endpoint.url)
        return self.deployment

    def must_be_the_same(self, reply: Reply) -> None:
        """Raises `Unavailable` when the reply comes from another deployment than the one that was asked at first."""
        known = self.deployment.digest if self.deployment else ""
        if reply.deployment and reply.deployment != known:
            was = f"{known[:19]}…" if known else "one that did not say"
            raise Unavailable(
                f"{self.endpoint.url} was another deployment when this run began ({was}; now "
                f"{reply.deployment[:19]}…): answers and latencies of two deployments are not compared. What is "
                "finished is kept under its own: run the same command again"
            )

    def warm_up(self, model: str, body: dict[str, Any], path: str = "chat/completions") -> Reply:
        """`warmed_up`, outside a loop."""
        return self.run(self.warmed_up(model, body, path))

    async def warmed_up(self, model: str, body: dict[str, Any], path: str) -> Reply:
        """One request outside the measurement: the server fetches and loads what `model` needs, once.

        A version made a moment ago may not be known yet: 404 is asked again until `patience` has passed. Raises
        `NotFound`, `NotAllowed` or `Unavailable`, with the server's own words, when the model cannot answer at all.
        """
        deadline = time.monotonic() + self.endpoint.patience
        while True:
            reply = await self.post(path, {"model": model, **body})
            if reply.status != 404 or time.monotonic() >= deadline:
                break
            await asyncio.sleep(0.25)
        if not reply.error:
            self.must_be_the_same(reply)
            return reply
        kind = {404: NotFound, 401: NotAllowed, 403: NotAllowed, 400: NotAllowed}.get(reply.status, Unavailable)
        raise kind(f"{model} does not answer at {self.endpoint.url}: {reply.error}")

    async def get(self, path: str) -> Reply:
        return await self._request("GET", self._at(path), None)

    async def post(self, path: str, body: dict[str, Any]) -> Reply:
        """Sends `body` to `/v1/<path>`; failures come back in the reply, they are results as well."""
        return await self._request("POST", self._at(path), body)

    async def tokenize(self, model: str, text: str) -> list[int]:
        """Token ids of `text` as a prompt, special tokens included. Raises `Unavailable` without /tokenize."""
        reply = await self._request("POST", f"{self.endpoint.root}/tokenize", {"model": model, "prompt": text})
        ids = reply.body.get("tokens")
        if reply.error or not isinstance(ids, list):
            raise Unavailable(
                f"log-likelihood tasks need {self.endpoint.root}/tokenize to find where the answer begins, "
                f"and it does not answer: {reply.error or 'no tokens in its reply'}"
            )
        return [int(token) for token in ids]

    def _at(self, path: str) -> str:
        return f"{self.endpoint.url.rstrip('/')}/{path}"

    async def _request(self, method: str, url: str, body: dict[str, Any] | None) -> Reply:
        """With further tries while the failure may pass, and the server does not say that they are of no use."""
        for attempt in range(self.endpoint.retries):
            reply = await self._tried(method, url, body, attempt)
            if reply.final or not reply.again:
                return reply
            await asyncio.sleep(self._pause(reply, attempt))
        return await self._tried(method, url, body, self.endpoint.retries)

    async def _tried(self, method: str, url: str, body: dict[str, Any] | None, attempt: int = 0) -> Reply:
        began = time.perf_counter()
        try:
            response = await self._wire.send(method, url, body)
        except Broken as error:
            return Reply(status=0, error=str(error), latency=time.perf_counter() - began, retries=attempt)
        return _read(response, time.perf_counter() - began, attempt)

    def _pause(self, reply: Reply, attempt: int) -> float:
        """Seconds until the next try: doubling, or what the server asks for when that is more; 30 s at most."""
        seconds = min(max(self.endpoint.pause * 2.0**attempt, reply.wait), _LONGEST_PAUSE)
        return seconds * (1 + self.endpoint.jitter * self._chance.random())


def _read(response: Response, latency: float, retries: int) -> Reply:
    try:
        body = json.loads(response.content)
    except (ValueError, RecursionError):  # of thousands of nested brackets
        body = None
    told: dict[str, Any] = {
        "status": response.status,
        "latency": latency,
        "retries": retries,
        "served": response.headers.get("x-dabt-digest", ""),
        "deployment": response.headers.get("x-dabt-deployment", ""),
        "timing": dict(_parts(response.headers.get("server-timing", ""))),
        "again": response.headers.get("x-should-retry", "").lower() != "false",
        "wait": _seconds(response.headers.get("retry-after", "")),
    }
    if 200 <= response.status < 300 and isinstance(body, dict):
        return Reply(body=body, **told)
    words = body.get("error") if isinstance(body, dict) else None
    if isinstance(words, dict):
        words = words.get("message")
    said = words if isinstance(words, str) and words else response.text[:200] or "no body"
    return Reply(error=f"HTTP {response.status}: {said}", **told)


def _parts(timing: str) -> Iterator[tuple[str, float]]:
    """Name and seconds of each part that has a duration, in milliseconds there (W3C Server Timing)."""
    for metric in timing.split(","):
        name, *said = (part.strip() for part in metric.split(";"))
        for key, _, value in (part.partition("=") for part in said):
            if name and key.strip().lower() == "dur":
                yield name, _seconds(value.strip().strip('"')) / 1000


def _seconds(asked: str) -> float:
    """What a header asks for or says; 0 where it says nothing, a date, or nonsense."""
    try:
        seconds = float(asked)
    except ValueError:
        return 0.0
    return seconds if 0.0 <= seconds < math.inf else 0.0


def _deployment(body: dict[str, Any], url: str) -> Deployment | None:
    digest = body.get("digest")
    if not isinstance(digest, str) or "deployment" not in body:
        return None  # another server's word for something else
    try:
        told = Deployment.model_validate(body["deployment"])
    except ValidationError:
        told = None
    if told is None or told.digest != digest:
        raise NotAllowed(
            f"{url} describes its deployment as this release does not understand: evaluate with the release of Dabt "
            "that serves there"
        )
    return told
