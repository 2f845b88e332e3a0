"""The load generator: so many requests in flight at a time, and for each its times and the tokens that it was given.

Bytes are kept with the time at which they came and read only afterwards, so that the generator takes little of the
machine that it shares with what it measures.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import aiohttp
import numpy

PATIENCE = 600.0
"""Seconds that one request may take."""


@dataclass(frozen=True, slots=True)
class Ask:
    """One chat request, greedy, for exactly `tokens` tokens."""

    model: str
    text: str
    tokens: int
    path: ClassVar[str] = "/v1/chat/completions"
    headers: ClassVar[Mapping[str, str]] = {}

    def body(self) -> dict[str, Any]:
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": self.text}],
            "max_tokens": self.tokens,
            "temperature": 0,
            "ignore_eos": True,
            "stream": True,
            "return_token_ids": True,
        }


@dataclass(frozen=True, slots=True)
class Told:
    """What came of one request. Times are `time.perf_counter` seconds."""

    ask: Ask
    began: float
    ended: float
    tokens: tuple[int, ...] = ()
    arrivals: tuple[float, ...] = ()
    """When each event with tokens came."""
    error: str = ""
    """The status and the body of a refusal, or what broke the stream; empty when all went well."""
    headers: dict[str, str] = field(default_factory=dict)
    """Of the answer, names in lower case."""

    @property
    def first(self) -> float | None:
        """Seconds from the request to its first token."""
        return self.arrivals[0] - self.began if self.arrivals else None


@dataclass(frozen=True, slots=True)
class Run:
    """Some requests that were made together."""

    told: tuple[Told, ...]

    @property
    def seconds(self) -> float:
        """From the first request to the last answer's end."""
        return max(one.ended for one in self.told) - min(one.began for one in self.told)

    @property
    def throughput(self) -> float:
        """Generated tokens a second, of all requests together. Those that failed gave none."""
        return sum(len(one.tokens) for one in self.told) / self.seconds

    def first_token(self, quantile: float) -> float:
        """This quantile of the seconds to the first token; infinite when no request got one."""
        times = [one.first for one in self.told if one.first is not None]
        return float(numpy.quantile(times, quantile)) if times else float("inf")

    @property
    def failed(self) -> list[Told]:
        """Those that ended in an error, or without all of their tokens."""
        return [one for one in self.told if one.error or len(one.tokens) != one.ask.tokens]

    def differing(self, expected: dict[Ask, tuple[int, ...]]) -> list[Told]:
        """Those whose tokens are not the expected ones. Failures are not counted here."""
        failed = {id(one) for one in self.failed}
        return [one for one in self.told if id(one) not in failed and one.tokens != expected[one.ask]]


def speeds(runs: Sequence[Run]) -> list[float]:
    """The throughput of each."""
    return [run.throughput for run in runs]


def failures(runs: Sequence[Run]) -> tuple[float, ...]:
    """How many requests of each failed."""
    return tuple(float(len(run.failed)) for run in runs)


def run(url: str, asks: Sequence[Ask], concurrent: int, key: str = "") -> Run:
    """Make the requests in their order, `concurrent` of them in flight until they run out. `key` is an API key."""
    return asyncio.run(drive(url, asks, concurrent, key=key))


async def drive(
    url: str, asks: Sequence[Ask], concurrent: int, begins: Callable[[], None] = lambda: None, key: str = ""
) -> Run:
    """As `run`, inside an event loop. `begins` is called as each request begins."""
    waiting = deque(asks)
    told: list[Told] = []
    connector = aiohttp.TCPConnector(limit=0)  # `concurrent` alone decides
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with aiohttp.ClientSession(url, connector=connector, timeout=timeout, headers=headers) as session:

        async def caller() -> None:
            while waiting:
                begins()
                told.append(await _ask(session, waiting.popleft()))

        await asyncio.gather(*(caller() for _ in range(min(concurrent, len(asks)))))
    return Run(tuple(told))


async def _ask(session: aiohttp.ClientSession, ask: Ask) -> Told:
    came: list[tuple[float, bytes]] = []
    headers: dict[str, str] = {}
    began = time.perf_counter()
    try:
        async with session.post(ask.path, json=ask.body(), headers=ask.headers) as response:
            headers = {name.lower(): value for name, value in response.headers.items()}
            async for piece in response.content.iter_any():
                came.append((time.perf_counter(), piece))
            refused = f"{response.status}: " if response.status != 200 else ""
    except (aiohttp.ClientError, TimeoutError) as error:
        return Told(ask, began, time.perf_counter(), error=f"{type(error).__name__}: {error}", headers=headers)
    ended = time.perf_counter()
    if refused:
        body = b"".join(piece for _, piece in came).decode(errors="replace")
        return Told(ask, began, ended, error=refused + body[:500], headers=headers)
    tokens, arrivals, broken = read(came)
    return Told(ask, began, ended, tokens, arrivals, broken, headers)


def read(came: Sequence[tuple[float, bytes]]) -> tuple[tuple[int, ...], tuple[float, ...], str]:
    """Tokens, the time of each event that brought some, and the error that a server put into its stream."""
    tokens: list[int] = []
    arrivals: list[float] = []
    error, done = "", False
    for at, event in events(came):
        if event == b"[DONE]":
            done = True
            continue
        chunk = json.loads(event)
        if "error" in chunk:
            error = json.dumps(chunk["error"], ensure_ascii=False)
        done = done or chunk.get("stop") is True  # the last event of llama.cpp's own surface, which says no [DONE]
        given = [token for choice in chunk.get("choices", ()) for token in choice.get("token_ids") or ()]
        given += chunk.get("tokens", ())
        if given:
            tokens += given
            arrivals.append(at)
    return tuple(tokens), tuple(arrivals), error or ("" if done else "the stream ended without [DONE]")


def events(came: Sequence[tuple[float, bytes]]) -> Iterator[tuple[float, bytes]]:
    """The data of each server-sent event, at the time at which its last byte came."""
    rest = b""
    for at, piece in came:
        *whole, rest = (rest + piece).split(b"\n\n")
        for event in whole:
            if event.startswith(b"data:"):
                yield at, event[5:].strip()
