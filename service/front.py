"""What stands in front of the API on the same port: whoever asks below /ui is answered by the console.

The service does not know the console; `service/cli.py` alone, which starts both, does.
"""

from __future__ import annotations

from typing import Protocol

from starlette.types import ASGIApp, Receive, Scope, Send

PATH = "/ui"


class Front(Protocol):
    """An ASGI application that begins and ends with the service."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None: ...
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class InFront:
    """ASGI middleware, inside of the log and of the check of hosts, and outside of the check of API keys."""

    def __init__(self, app: ASGIApp, front: Front) -> None:
        self._app, self._front = app, front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and (scope["path"] == PATH or scope["path"].startswith(f"{PATH}/"))
        await (self._front if ours else self._app)(scope, receive, send)
