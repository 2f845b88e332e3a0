"""One HTTP exchange at a time: over a pool of connections (`connection.py`), or by an httpx transport where a test puts
one in the network's place. `endpoint.py` reads what comes back.
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Any, Protocol

import httptools
import httpx

from evals.asking.connection import Connection, Ended, Response, Silent

_CONNECT = 10.0
"""Seconds until there must be a connection."""
_JSON = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)
_KEPT_OPEN = 2.0
"""Seconds for which an idle connection is used again: less than the five after which uvicorn closes it."""
_BREAKS = (OSError, ValueError, Ended, Silent, httptools.HttpParserError, httpx.HTTPError, httpx.InvalidURL)


class Broken(Exception):
    """No whole answer came: refused, reset, cut off, or too long without a byte. Its words say which."""

    def __init__(self, error: Exception) -> None:
        super().__init__(f"{type(error).__name__}: {error}".rstrip(": "))


class Wire(Protocol):
    """Sends JSON and waits for the whole answer. Follows no redirect, and reads no proxy from the environment, which
    must not stand between a measurement and a local server."""

    async def send(self, method: str, url: str, body: dict[str, Any] | None) -> Response:
        """Raises `Broken`."""

    async def close(self) -> None: ...


def wire(headers: Mapping[str, str], timeout: float, transport: httpx.AsyncBaseTransport | None) -> Wire:
    """`timeout` in seconds without a byte. `headers` go with every request."""
    return _Network(headers, timeout) if transport is None else _Stand(headers, timeout, transport)


@dataclass(frozen=True, slots=True)
class _Target:
    """Where requests of one method and address go, and how each of them begins."""

    host: str
    port: int
    encrypted: bool
    head: bytes

    @classmethod
    def of(cls, method: str, url: str, headers: Mapping[str, str]) -> _Target:
        """Raises `ValueError` for a header that is none: a key with a line's end in it."""
        address = httpx.URL(url)
        lines = {"Host": address.netloc.decode(), **headers}
        if address.userinfo:
            user = base64.b64encode(f"{address.username}:{address.password}".encode())
            lines["Authorization"] = f"Basic {user.decode()}"
        for name, value in lines.items():
            if any(sign in value for sign in "\r\n\0"):
                raise ValueError(f"the value of the header {name} has a line's end in it")
        told = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        encrypted = address.scheme == "https"
        head = f"{method} {address.raw_path.decode()} HTTP/1.1\r\n{told}".encode()
        return cls(address.host, address.port or (443 if encrypted else 80), encrypted, head)


class _Network:
    """A pool of connections, as many as there are requests in flight: an evaluation has one server."""

    def __init__(self, headers: Mapping[str, str], timeout: float) -> None:
        self._headers = {"Accept": "*/*", "Accept-Encoding": "gzip, deflate", **headers}
        self._timeout = timeout
        self._targets: dict[tuple[str, str], _Target] = {}
        self._idle: dict[tuple[str, int, bool], list[Connection]] = {}

    async def send(self, method: str, url: str, body: dict[str, Any] | None) -> Response:
        ending = _ending(body)
        try:
            if (target := self._targets.get((method, url))) is None:
                target = self._targets[method, url] = _Target.of(method, url, self._headers)
            idle = self._idle.setdefault((target.host, target.port, target.encrypted), [])
            connection = self._kept(idle) or await self._opened(target)
            response = await connection.exchange(target.head + ending)
            if connection.open:
                idle.append(connection)
            else:
                connection.close()
            return _unpacked(response)
        except _BREAKS as error:
            raise Broken(error) from error

    async def close(self) -> None:
        for connection in (one for idle in self._idle.values() for one in idle):
            connection.close()
        self._idle.clear()
        await asyncio.sleep(0)  # the loop takes leave of them

    def _kept(self, idle: list[Connection]) -> Connection | None:
        """The one that was used last; those that are too old, or that the server has ended, are let go."""
        while idle:
            connection = idle.pop()
            if connection.open and asyncio.get_running_loop().time() - connection.since < _KEPT_OPEN:
                return connection
            connection.close()
        return None

    async def _opened(self, target: _Target) -> Connection:
        certificates = _certificates() if target.encrypted else None
        loop, made = asyncio.get_running_loop(), partial(Connection, self._timeout)
        try:
            async with asyncio.timeout(_CONNECT):
                _, connection = await loop.create_connection(made, target.host, target.port, ssl=certificates)
        except TimeoutError:
            raise TimeoutError(f"no connection within {_CONNECT:g} s") from None
        return connection


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
            return Response(response.status_code, dict(response.headers), await response.aread())
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Broken(error) from error

    async def close(self) -> None:
        await self._transport.aclose()


def _written(body: dict[str, Any]) -> bytes:
    return _JSON.encode(body).encode()


def _ending(body: dict[str, Any] | None) -> bytes:
    """Of a request: what its head says of its content, and the content."""
    if body is None:
        return b"\r\n"
    content = _written(body)
    return b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def _unpacked(response: Response) -> Response:
    if "content-encoding" not in response.headers:
        return response
    content = httpx.Response(response.status, headers=response.headers, content=response.content).content
    return replace(response, content=content)


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: it takes longer than a request."""
    return httpx.create_ssl_context(trust_env=False)
