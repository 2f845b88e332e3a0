"""Who comes in at /ui, and what a browser may do with what it gets.

A page takes the cookie alone, as /v1 takes the header `Authorization` alone, so that neither opens the other. What
changes something must come from a page of this very host (Fetch Metadata, and Origin where a browser sends none: OWASP,
Cross-Site Request Forgery Prevention). The policy of content lets a page load nothing but the files of this service,
run nothing that stands in it, and be shown in no frame.
"""

from __future__ import annotations

import html
from typing import cast
from urllib.parse import quote

from starlette.datastructures import Headers
from starlette.requests import HTTPConnection, Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from console.language import LANGUAGES, preferred
from console.navigation import screen_of
from console.rendering import error_page
from console.sessions import COOKIE, Sessions
from console.viewer import Preferences, Theme, Viewer, let_in
from evals.report.words import Digits
from lifecycle.errors import Forbidden
from service.access.authentication import Access
from service.catalogue import Catalogue
from service.host_names import host_of, host_of_origin
from service.request_context import context_of

SIGN_IN = "/ui/sign-in"
OPEN = (SIGN_IN, "/ui/preferences", "/ui/static")
"""What anybody gets, signed in or not: no word of what the service does stands there."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
}
_SAFE = frozenset({"GET", "HEAD"})


class Door:
    """ASGI middleware around all pages. `access` says whether keys are asked for now."""

    def __init__(self, app: ASGIApp, access: Access, catalogue: Catalogue, sessions: Sessions) -> None:
        self._app, self._access, self._catalogue, self._sessions = app, access, catalogue, sessions

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        connection = HTTPConnection(scope)
        headers = Headers(scope=scope)
        key = self._sessions.key(connection.cookies.get(COOKIE, ""), self._catalogue.snapshot)
        asked = self._access.keys_asked()
        viewer = Viewer(
            key if asked else None, _preferences(connection), scope.get("client"), headers.get("host", ""),
            scope.get("scheme", "http"),
        )  # fmt: skip
        let_in(scope, viewer)
        if viewer.key is not None:
            context_of(connection).key_id = viewer.key.id
        path = scope["path"]
        is_open = any(path == start or path.startswith(f"{start}/") for start in OPEN)

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                named = {name.decode().lower() for name, _ in message["headers"]}
                added = {"cache-control": "no-store", **HEADERS}
                more = [(name.encode(), value.encode()) for name, value in added.items() if name not in named]
                message = {**message, "headers": [*message["headers"], *more]}
            await send(message)

        refused = None
        if scope["method"] not in _SAFE and not _from_here(headers):
            refused = Forbidden("a page of another site asked for this, and nothing was changed; open the page here")
        elif asked and viewer.key is None and not is_open:
            await _sign_in_first(scope, headers)(scope, receive, guarded)
            return
        elif not is_open and (screen := screen_of(path)) is not None and not viewer.may(screen.role):
            refused = Forbidden(f"the {viewer.key} may not see this page; it needs the role {screen.role} or more")
        answer = self._app if refused is None else error_page(Request(scope), refused)
        await answer(scope, receive, guarded)


def _from_here(headers: Headers) -> bool:
    """Whether a page of this host asks. A client that says nothing of where it comes from is no browser of today."""
    site = headers.get("sec-fetch-site")
    if site is not None:
        return site == "same-origin"
    name = host_of(host_of_origin(headers.get("origin", "")))
    return bool(name[0]) and name == host_of(headers.get("host", ""))


def _sign_in_first(scope: Scope, headers: Headers) -> Response:
    """A link from another site brings no Strict cookie, though its reader is signed in: the page asks itself again."""
    query = scope["query_string"].decode("latin-1")
    here = scope["path"] + (f"?{query}" if query else "")
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") == "navigate":
        again = html.escape(here, quote=True)
        return HTMLResponse(f'<!doctype html><title>Dabt</title><meta http-equiv="refresh" content="0;url={again}">')
    place = here if scope["method"] in _SAFE else "/ui"
    to = f"{SIGN_IN}?next={quote(place, safe='')}"
    if headers.get("hx-request"):
        return Response(status_code=204, headers={"HX-Redirect": to})
    return RedirectResponse(to, 303)


def _preferences(connection: HTTPConnection) -> Preferences:
    cookies = connection.cookies
    code, theme, digits = (cookies.get(f"dabt_{name}", "") for name in ("language", "theme", "digits"))
    return Preferences(
        code if code in LANGUAGES else preferred(connection.headers.get("accept-language", "")),
        cast(Theme, theme if theme in ("light", "dark") else "auto"),
        cast(Digits, digits if digits == "arab" else "latn"),
    )
