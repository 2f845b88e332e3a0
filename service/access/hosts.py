"""Whose pages may call a service: names of hosts and origins, checked before anything else is done.

Without API keys a service listens on loopback, and still any page in a browser on that machine can reach it: by a form,
or by a name of its own that it turns to 127.0.0.1 (DNS rebinding). So without keys only requests that name a loopback
host, and come from a page of one if from any, are answered. Other names are `--allowed-host`; with keys any host may be
named, since no page has a key. Pages of other origins get an answer that they can read (CORS) where `--cors-origin`
names them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from lifecycle.errors import DabtError, Forbidden, InvalidInput, WrongHost
from service.access.authentication import OPEN
from service.config import is_loopback
from service.host_names import host_of, host_of_origin
from service.openai import http_errors
from service.request_context import context_of

_EXPOSED = (
    *("x-request-id", "x-dabt-version", "x-dabt-digest", "x-dabt-deployment", "x-dabt-revision", "retry-after"),
    *(f"x-ratelimit-{what}-{of}" for what in ("limit", "remaining", "reset") for of in ("requests", "tokens")),
)
"""Headers of an answer that a page of a named origin may read."""


class Hosts:
    """Loopback, and those that are named: `name` on any port, `name:port` on that one."""

    def __init__(self, named: Iterable[str]) -> None:
        self._named = {host_of(text) for text in named}

    def allow(self, text: str) -> bool:
        name, port = host_of(text)
        return bool(name) and (is_loopback(name) or (name, "") in self._named or (name, port) in self._named)


class HostGuard:
    """ASGI middleware, inside of the log alone. `keys_asked` says whether callers need an API key now."""

    def __init__(
        self, app: ASGIApp, keys_asked: Callable[[], bool], allowed_hosts: Sequence[str], cors_origins: Sequence[str]
    ) -> None:
        self._app = app
        self._keys_asked = keys_asked
        self._hosts = Hosts(allowed_hosts)
        self._origins = frozenset(cors_origins)
        self._shared = CORSMiddleware(
            app,
            allow_origins=list(cors_origins),
            allow_methods=["GET", "HEAD", "POST", "DELETE"],
            allow_headers=["*"],
            expose_headers=list(_EXPOSED),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        try:
            self._check(scope["path"], headers)
        except DabtError as error:
            await _refuse(scope, receive, send, error)
            return
        shared = scope["type"] == "http" and headers.get("origin") in self._origins
        await (self._shared if shared else self._app)(scope, receive, send)

    def _check(self, path: str, headers: Headers) -> None:
        """Raises `InvalidInput`, `WrongHost` or `Forbidden` when the request is not for here."""
        hosts = headers.getlist("host")
        if len(hosts) > 1:
            raise InvalidInput("The request has more than one header Host; send one")
        if self._keys_asked() or path in OPEN:
            return
        # A proxy writes into X-Forwarded-Host whom its caller asked for, and often another name into Host.
        forwarded = [name for line in headers.getlist("x-forwarded-host") for name in line.split(",")]
        for host in (*(hosts or [""]), *forwarded):
            if not self._hosts.allow(host):
                told = repr(host.strip()[:80]) if host else "no host"
                raise WrongHost(
                    f"without API keys this service answers to localhost alone, and the request names {told}; call it "
                    "by 127.0.0.1, or start it with --allowed-host for each other name"
                )
        for origin in headers.getlist("origin"):
            if origin not in self._origins and not self._hosts.allow(host_of_origin(origin)):
                raise Forbidden(
                    f"without API keys this service answers no page of {origin[:80]!r}; start it with --cors-origin "
                    "for each origin whose pages may call it"
                )


async def _refuse(scope: Scope, receive: Receive, send: Send, error: DabtError) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": error.code})
        return
    context_of(HTTPConnection(scope)).code = error.code
    await http_errors.response(error)(scope, receive, send)
