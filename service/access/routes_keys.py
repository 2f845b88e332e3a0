"""API keys and their usage over HTTP, for an admin's key. The first key is made by `dabt keys create` alone."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from lifecycle.access.keys import KeyGrant
from lifecycle.access.usage import as_csv, day_of
from lifecycle.errors import InvalidInput, NotAllowed, Problem
from lifecycle.version import Frozen
from service.access.authentication import actor_of
from service.admin import registry_of
from service.openai.http_input import admin_body
from service.parts import parts_of
from service.request_context import context_of

_ACTOR = "admin-api"

router = APIRouter(prefix="/admin")


class NewKey(KeyGrant):
    shares_with: str = ""
    """The name or id of a key whose files, jobs and models it has too."""


class Revocation(Frozen):
    reason: str = ""
    cancel_jobs: bool = False
    """End its fine-tuning jobs too."""


@router.post("/keys")
async def create(request: Request) -> Response:
    """The only answer that ever holds the secret."""
    if context_of(request).key is None:
        # It would shut out everyone who was let in without a key until now, the sender of this request too.
        raise NotAllowed("the first key is made on the service's machine: `dabt keys create NAME --role admin`")
    asked = await admin_body(request, NewKey)
    grant = KeyGrant.model_validate(asked.model_dump(exclude={"shares_with"}))
    actor = actor_of(request, _ACTOR)
    key, secret = await parts_of(request).at_registry.run(
        registry_of(request).keys.create, grant, actor=actor, shares_with=asked.shares_with
    )
    await parts_of(request).catch_up()
    shown = {**key.model_dump(mode="json"), "secret": secret}
    return JSONResponse(shown, 201, {"cache-control": "no-store"})


@router.get("/keys")
async def keys(request: Request) -> Response:
    known = await parts_of(request).at_registry.run(registry_of(request).keys.all)
    return JSONResponse({"keys": [key.model_dump(mode="json") for key in known]})


@router.post("/keys/{name_or_id}/revoke")
async def revoke(request: Request, name_or_id: str) -> Response:
    asked = await admin_body(request, Revocation)
    key = await parts_of(request).at_registry.run(
        registry_of(request).keys.revoke,
        name_or_id,
        actor=actor_of(request, _ACTOR),
        reason=asked.reason,
        cancel_jobs=asked.cancel_jobs,
    )
    await parts_of(request).catch_up()
    return JSONResponse(key.model_dump(mode="json"))


@router.get("/usage")
async def usage(request: Request) -> Response:
    """Query: `since` and `until` (days, YYYY-MM-DD), `key` (name or id), `version` (as it is kept: `triage:3`),
    `format` (json or csv)."""
    asked = request.query_params
    since, until = day_of(asked.get("since"), "since"), day_of(asked.get("until"), "until")
    if (form := asked.get("format", "json")) not in ("json", "csv"):
        raise InvalidInput("The request is not valid:", [Problem("format", f"{form!r} is not known", "json or csv")])
    registry = registry_of(request)
    key = await parts_of(request).at_registry.run(registry.keys.find, asked["key"]) if "key" in asked else None
    uses = await parts_of(request).at_registry.run(
        registry.usage.between, since, until, key.id if key else None, asked.get("version")
    )
    if form == "json":
        return JSONResponse({"usage": [use.model_dump(mode="json") for use in uses]})
    names = {key.id: key.name for key in await parts_of(request).at_registry.run(registry.keys.all)}
    return Response(as_csv(uses, names), media_type="text/csv")
