"""One HTTP exchange at a time: over the network by aiohttp, which takes a fraction of httpx's work per request, and by
an httpx transport where a test puts one in the network's place. `endpoint.py` reads what comes back.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Protocol

import aiohttp
import httpx
from yarl import URL

_CONNECT = 10.0
"""Seconds until there must be a connection."""
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_KEPT_OPEN = 2.0
"""Seconds for which an idle connection is used again: less than the five after which uvicorn closes it."""


class Broken(Exception):
    """No whole answer came: refused, reset, cut off, or too long without a byte. Its words say which."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}".rstrip(": "))


@dataclass(frozen=True, slots=True)
class Response:
    """A whole answer of any status."""

    status: int
    headers: Mapping[str, str]
    """Names in any case."""
    content: bytes

    @property
    def text(self) -> str:
        return self.content.decode("utf-8", "replace")


class Wire(Protocol):
    """Sends JSON and waits for the whole answer. Follows no redirect, and reads no proxy from the environment, which
    must not stand between a measurement and a local server."""

    async def send(self, method: str, url: str, body: dict[str, Any] | None) -> Response:
        """Raises `Broken`."""

    async def close(self) -> None: ...


def wire(headers: Mapping[str, str], timeout: float, transport: httpx.AsyncBaseTransport | None) -> Wire:
    """`timeout` in seconds without a byte. `headers` go with every request."""
    return _Network(headers, timeout) if transport is None else _Stand(headers, timeout, transport)


class _Network:
    """A pool of connections, as many as there are requests in flight."""

    def __init__(self, headers: Mapping[str, str], timeout: float) -> None:
        self._headers = {"Accept": "*/*", **headers}
        self._timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT, sock_read=timeout)
        self._session: aiohttp.ClientSession | None = None

    async def send(self, method: str, url: str, body: dict[str, Any] | None) -> Response:
        session = self._session = self._session or self._opened()  # a session wants the loop to run
        content, kind = (None, None) if body is None else (_written(body), {"Content-Type": "application/json"})
        try:
            sent = session.request(method, _address(url), data=content, headers=kind, allow_redirects=False)
            async with sent as reply:
                return Response(reply.status, reply.headers, await reply.read())
        except (aiohttp.ClientError, OSError, ValueError) as error:  # a key with a line's end is no header
            raise Broken(error) from error

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()

    def _opened(self) -> aiohttp.ClientSession:
        connector = aiohttp.TCPConnector(limit=0, ssl=_certificates(), keepalive_timeout=_KEPT_OPEN)
        nothing = aiohttp.DummyCookieJar()
        return aiohttp.ClientSession(
            connector=connector, headers=self._headers, timeout=self._timeout, cookie_jar=nothing
        )


class _Stand:
    """What a test answers with: asked without httpx's client, whose cookies and redirects nobody needs here."""

    def __init__(self, headers: Mapping[str, str], timeout: float, transport: httpx.AsyncBaseTransport) -> None:
        self._headers = {"Accept": "*/*", **headers}
        self._told = {"timeout": httpx.Timeout(timeout, connect=_CONNECT).as_dict()}
        self._transport = transport

    async def send(self, method: str, url: str, body: dict[str, Any] | None) -> Response:
        content, kind = (None, {}) if body is None else (_written(body), {"Content-Type": "application/json"})
        try:
            request = httpx.Request(
                method, url, headers={**self._headers, **kind}, content=content, extensions=self._told
            )
            response = await self._transport.handle_async_request(request)
            return Response(response.status_code, response.headers, await response.aread())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Broken(error) from error

    async def close(self) -> None:
        await self._transport.aclose()


def _written(body: dict[str, Any]) -> bytes:
    return _JSON.encode(body).encode()


@lru_cache(maxsize=64)
def _address(url: str) -> URL:
    """Of an evaluation, which has few: each is read once."""
    return URL(url)


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)
