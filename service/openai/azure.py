"""Azure's way of asking for the same: its paths, its header for the key, and an `api-version`, which changes nothing.

`AzureOpenAI` of OpenAI's clients sends `/openai/files` for `/v1/files`, `/openai/deployments/NAME/chat/completions` for
`/v1/chat/completions` with the model NAME in its body too, and the key as `api-key`. Everything behind this knows
OpenAI's way alone.
"""

from __future__ import annotations

import re

from starlette.types import ASGIApp, Receive, Scope, Send

_PATH = re.compile(r"/openai(?:/v1)?(?:/deployments/[^/]+)?(?P<rest>/.+)")


class AzurePaths:
    """ASGI middleware, outside of all others."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and (match := _PATH.fullmatch(scope["path"])):
            path = f"/v1{match['rest']}"
            scope = {**scope, "path": path, "raw_path": path.encode(), "headers": _headers(scope["headers"])}
        await self._app(scope, receive, send)


def _headers(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """With `api-key` as OpenAI's own clients send a key, where no such header is there."""
    names = {name for name, _ in headers}
    if b"authorization" in names:
        return headers
    return [(b"authorization", b"Bearer " + value) if name == b"api-key" else (name, value) for name, value in headers]
