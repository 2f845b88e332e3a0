"""Signing in and out, and how a person likes to read: the forms at the door."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import unquote, urlsplit

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.forms import form_of
from console.language import LANGUAGES, N_
from console.rendering import language_of, show
from console.sessions import COOKIE, HOURS
from lifecycle.errors import DabtError
from service.access.authentication import authenticate
from service.catalogue import EMPTY
from service.request_context import context_of

router = APIRouter()
_YEAR = 365 * 24 * 3600
_NOT_YET = N_("No key can be checked yet, because the registry has not been read. Try again in a moment.")
_UNKNOWN = N_("This key does not open the service: it is not known here, or it is revoked or has expired.")
_CHOICES = {"language": tuple(LANGUAGES), "theme": ("auto", "light", "dark"), "digits": ("latn", "arab")}


@router.get("/ui/sign-in")
async def ask(request: Request) -> Response:
    return show(request, "sign_in.html", next=_inside(request.query_params.get("next", "")), problem="")


@router.post("/ui/sign-in")
async def sign_in(request: Request) -> Response:
    form = await form_of(request)
    place, snapshot = _inside(form.get("next", "")), request.app.state.parts.catalogue.snapshot
    said = language_of(request)
    if snapshot is EMPTY:
        return show(request, "sign_in.html", 503, next=place, problem=said.text(_NOT_YET))
    try:
        bearer = f"Bearer {form.get('key', '').strip()}"
        key = authenticate(bearer, snapshot, datetime.now(UTC), context_of(request))
    except DabtError:
        return show(request, "sign_in.html", 401, next=place, problem=said.text(_UNKNOWN))
    answer = RedirectResponse(place, 303)
    secure = request.url.scheme == "https"
    answer.set_cookie(
        COOKIE, request.app.state.sessions.cookie(key), HOURS * 3600, path="/ui", secure=secure, httponly=True,
        samesite="strict",
    )  # fmt: skip
    return answer


@router.post("/ui/sign-out")
async def sign_out(request: Request) -> Response:
    answer = RedirectResponse("/ui/sign-in", 303)
    answer.delete_cookie(COOKIE, path="/ui", httponly=True, samesite="strict")
    return answer


@router.post("/ui/preferences")
async def prefer(request: Request) -> Response:
    form = await form_of(request)
    answer = RedirectResponse(_inside(form.get("here", "")), 303)
    for name, choices in _CHOICES.items():
        if form.get(name) in choices:
            answer.set_cookie(f"dabt_{name}", form[name], _YEAR, path="/ui", samesite="lax")
    return answer


def _inside(place: str) -> str:
    """Where to go on: a page of the console, or its first one. Never another site's, nor what is beside the console."""
    try:
        parts = urlsplit(place)
    except ValueError:  # such as `//[`
        return "/ui"
    path = unquote(parts.path)  # `%2e%2e` is `..` for a browser
    is_ours = not parts.scheme and not parts.netloc and (path == "/ui" or path.startswith("/ui/"))
    return place if is_ours and ".." not in path.split("/") and "\\" not in path and place.isprintable() else "/ui"
