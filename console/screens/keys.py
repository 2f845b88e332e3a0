"""API keys: an admin finds, makes and revokes them; everybody sees what their own key may and what it has used.

A new secret stands in the answer to the form alone. Nothing here keeps it, and no page can show it again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.api import Refused
from console.forms import form_of
from console.language import N_
from console.paging import Paging
from console.rendering import show
from console.viewer import viewer_of
from lifecycle.access.keys import ApiKey, KeyLimits, Role
from lifecycle.access.usage import Usage, as_csv
from lifecycle.errors import DabtError, Forbidden, NotFound

router = APIRouter(prefix="/ui/keys")

WINDOWS = (7, 30, 90)
"""Days of use, today included."""
LIMITS = {
    "requests_per_minute": N_("Requests a minute"),
    "tokens_per_minute": N_("Tokens a minute"),
    "tokens_per_day": N_("Tokens a day (UTC)"),
    "requests_at_once": N_("Requests at once"),
    "choices_per_request": N_("Answers to one prompt"),
    "prompts_per_request": N_("Prompts of one request"),
    "training_jobs": N_("Fine-tuning jobs at once"),
    "storage_mib": N_("Files it keeps, MiB"),
}
MAY = {
    Role.CALLER: N_("asks the base and versions that are approved or serve"),
    Role.EVALUATOR: N_("also asks versions that are not approved, reads reports and rates"),
    Role.TRAINER: N_("also sends rows and trains on them"),
    Role.PUBLISHER: N_("also moves traffic: promotes what passed its gate, rolls back"),
    Role.ADMIN: N_("also goes past the gate, and makes and revokes keys"),
}
"""What a key of the role does, beside all that those before it do."""
STATES = {"usable": N_("usable"), "revoked": N_("revoked"), "expired": N_("expired")}


@dataclass(frozen=True, slots=True)
class Day:
    day: date
    requests: int
    tokens: int
    share: float
    """Of the busiest day's tokens."""


def state_of(key: ApiKey, now: datetime) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "expired" if key.problem(now) is not None else "usable"


def chosen_keys(known: Mapping[Any, ApiKey], query: Mapping[str, str], now: datetime) -> list[ApiKey]:
    """The keys that fit, newest first. The hint, an id or a pattern finds a key as its name does."""
    wanted, role = query.get("state", "usable"), query.get("role", "")
    words = query.get("q", "").lower().split()
    keys = [
        key
        for key in known.values()
        if (wanted == "every" or state_of(key, now) == wanted)
        and (not role or key.role == role)
        and all(word in f"{key.name} {key.id} …{key.hint} {' '.join(key.models)}".lower() for word in words)
    ]
    keys.sort(key=lambda key: (key.created_at, key.id), reverse=True)
    return keys


def days_of(uses: Sequence[Usage], since: date, until: date) -> list[Day]:
    """Every day of the stretch, the newest first, those without use too."""
    requests: dict[date, int] = {}
    tokens: dict[date, int] = {}
    for use in uses:
        requests[use.day] = requests.get(use.day, 0) + use.requests
        tokens[use.day] = tokens.get(use.day, 0) + use.tokens
    most = max(tokens.values(), default=0)
    days = [until - timedelta(days=back) for back in range((until - since).days + 1)]
    return [
        Day(day, requests.get(day, 0), tokens.get(day, 0), tokens.get(day, 0) / most if most else 0.0) for day in days
    ]


@router.get("")
async def keys(request: Request) -> Response:
    viewer, state = viewer_of(request), request.app.state
    if not viewer.may(Role.ADMIN):
        assert viewer.key is not None, "without keys everybody is an admin"
        return await _of_key(request, viewer.key)
    snapshot, now = state.parts.catalogue.snapshot, datetime.now(UTC)
    query = dict(request.query_params)
    chosen = await asyncio.to_thread(chosen_keys, snapshot.keys, query, now)
    paged = Paging.of(query.get("page", ""), len(chosen), request.url)
    here = paged.of_all(chosen)
    ids = [key.id for key in here]
    spent: dict[str, int] = {}
    problem = ""
    try:
        spent = await state.parts.at_registry.run(state.registry.usage.tokens_of, now.date(), ids)
    except DabtError as error:
        problem = str(error)
    return show(
        request,
        "keys/list.html",
        paged=paged,
        keys=here,
        q=query.get("q", ""),
        wanted=query.get("state", "usable"),
        role=query.get("role", ""),
        states=STATES,
        state_of=lambda key: state_of(key, now),
        roles=list(Role),
        spent=spent,
        problem=problem,
        unreadable=list(snapshot.unreadable_keys.values()),
    )


@router.get("/new")
async def ask_new(request: Request) -> Response:
    _admins_alone(request)
    return _new(request, {})


@router.post("/new")
async def make(request: Request) -> Response:
    """The only page that ever has the secret."""
    _admins_alone(request)
    form = await form_of(request)
    try:
        made = await request.app.state.api.call(viewer_of(request), "POST", "/admin/keys", _asked(form))
    except Refused as refused:
        return _new(request, form, refused)
    return show(request, "keys/made.html", 201, key=ApiKey.model_validate(_without_secret(made)), secret=made["secret"])


@router.get("/{id_}")
async def key_page(request: Request, id_: str) -> Response:
    return await _of_key(request, _key(request, id_))


@router.get("/{id_}/usage.csv")
async def usage_csv(request: Request, id_: str) -> Response:
    key = _key(request, id_)
    uses = await _uses(request, key, datetime.now(UTC).date() - timedelta(days=WINDOWS[-1] - 1))
    headers = {"content-disposition": f'attachment; filename="{key.id}.csv"'}
    return Response(as_csv(uses, {key.id: key.name}), media_type="text/csv", headers=headers)


@router.get("/{id_}/revoke")
async def ask_revoke(request: Request, id_: str) -> Response:
    _admins_alone(request)
    key, viewer = _key(request, id_), viewer_of(request)
    return show(request, "keys/revoke.html", key=key, own=viewer.key is not None and viewer.key.id == key.id)


@router.post("/{id_}/revoke")
async def revoke(request: Request, id_: str) -> Response:
    key = _key(request, id_)
    form = await form_of(request)
    body = {"reason": form.get("reason", ""), "cancel_jobs": form.get("cancel_jobs") == "yes"}
    await request.app.state.api.call(viewer_of(request), "POST", f"/admin/keys/{key.id}/revoke", body)
    return RedirectResponse(f"/ui/keys/{key.id}", 303)


def _admins_alone(request: Request) -> None:
    if not viewer_of(request).may(Role.ADMIN):
        raise Forbidden("making and revoking keys needs an admin's key")


def _key(request: Request, id_: str) -> ApiKey:
    """An admin's look at any, everybody's at their own. Raises `NotFound`."""
    viewer = viewer_of(request)
    if not viewer.may(Role.ADMIN) and (viewer.key is None or viewer.key.id != id_):
        raise NotFound(f"there is no key {id_[:64]} that you may look at")
    known: Mapping[Any, ApiKey] = request.app.state.parts.catalogue.snapshot.keys
    key = next((key for key in known.values() if key.id == id_), None)
    if key is None:
        raise NotFound(f"there is no key {id_[:64]}")
    return key


async def _of_key(request: Request, key: ApiKey) -> Response:
    asked = request.query_params.get("days", "")
    window = int(asked) if asked in map(str, WINDOWS) else WINDOWS[1]
    today = datetime.now(UTC).date()
    since = today - timedelta(days=window - 1)
    uses: list[Usage] = []
    problem = ""
    try:
        uses = await _uses(request, key, since)
    except DabtError as error:
        problem = str(error)
    by_version: dict[str, list[int]] = {}
    for use in uses:
        sums = by_version.setdefault(use.version, [0, 0])
        sums[0] += use.requests
        sums[1] += use.tokens
    viewer = viewer_of(request)
    return show(
        request,
        "keys/key.html",
        key=key,
        state=state_of(key, datetime.now(UTC)),
        states=STATES,
        may=MAY,
        limits=LIMITS,
        spent=sum(use.tokens for use in uses if use.day == today),
        days=days_of(uses, since, today),
        window=window,
        windows=WINDOWS,
        by_version=sorted(by_version.items(), key=lambda pair: -pair[1][0]),
        is_admin=viewer.may(Role.ADMIN),
        is_own=viewer.key is not None and viewer.key.id == key.id,
        problem=problem,
    )


async def _uses(request: Request, key: ApiKey, since: date) -> list[Usage]:
    state = request.app.state
    uses: list[Usage] = await state.parts.at_registry.run(state.registry.usage.between, since, None, key.id)
    return uses


def _new(request: Request, form: Mapping[str, str], refused: Refused | None = None) -> Response:
    status = refused.status if refused is not None else 200
    said = refused.message if refused is not None else ""
    return show(request, "keys/new.html", status, form=form, refused=said, limits=LIMITS, roles=list(Role), may=MAY)


def _asked(form: Mapping[str, str]) -> dict[str, Any]:
    """As the API takes it. What is no number is passed on as it is, so that the API names the field."""
    limits = {name: _number(form[name]) for name in KeyLimits.model_fields if form.get(name, "").strip()}
    days = form.get("days", "").strip()
    asked: dict[str, Any] = {
        "name": form.get("name", "").strip(),
        "role": form.get("role", Role.CALLER.value),
        "models": form.get("models", "*").split(),
        "limits": limits,
        "shares_with": form.get("shares_with", "").strip(),
    }
    if days:
        good = days.isdecimal() and len(days) < 6
        asked["expires_at"] = (datetime.now(UTC) + timedelta(days=int(days))).isoformat() if good else days
    return asked


def _number(text: str) -> int | str:
    text = text.strip()
    return int(text) if text.isdecimal() and len(text) < 16 else text


def _without_secret(made: Mapping[str, Any]) -> dict[str, Any]:
    rest = {name: value for name, value in made.items() if name != "secret"}
    return {**rest, "digest": "sha256:" + "0" * 64}
