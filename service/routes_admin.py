"""Moving traffic, and taking versions out of it: for a publisher's key, or for this machine while there are no keys.

`routes_traffic.py` shares it out, `routes_residency.py` has what is in memory. `access.py` has let in whoever comes
here. No body takes a path: what is not in its noun is refused.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from lifecycle.aliases import PROD
from lifecycle.traffic import Share
from lifecycle.version import Frozen
from service.access.authentication import actor_of, check_may_force
from service.admin import Revision, Text, as_served, registry_of
from service.openai.http_input import admin_body
from service.parts import parts_of

router = APIRouter(prefix="/admin")


class Promotion(Frozen):
    ref: Text
    reason: Text
    alias: Text = PROD
    actor: Text = "admin-api"
    share: Share | None = None
    """Of the alias's traffic, beside what stands there; all of it unless given."""
    force: bool = False
    expected_revision: Revision | None = None


class Rollback(Frozen):
    name: Text
    reason: Text
    alias: Text = PROD
    actor: Text = "admin-api"
    expected_revision: Revision | None = None


class Retirement(Frozen):
    ref: Text
    reason: Text
    actor: Text = "admin-api"


@router.post("/promote")
async def promote(request: Request) -> Response:
    asked = await admin_body(request, Promotion)
    if asked.force:
        check_may_force(request)
    parts = parts_of(request)
    await parts.warmer.ahead_of_a_move(asked.ref)
    alias = await parts.at_registry.run(
        registry_of(request).promote,
        asked.ref,
        actor=actor_of(request, asked.actor),
        reason=asked.reason,
        alias=asked.alias,
        force=asked.force,
        share=asked.share,
        expected_revision=asked.expected_revision,
    )
    return await as_served(request, alias)


@router.post("/rollback")
async def rollback(request: Request) -> Response:
    asked = await admin_body(request, Rollback)
    alias = await parts_of(request).at_registry.run(
        registry_of(request).rollback,
        asked.name,
        actor=actor_of(request, asked.actor),
        reason=asked.reason,
        alias=asked.alias,
        expected_revision=asked.expected_revision,
    )
    return await as_served(request, alias)


@router.post("/retire")
async def retire(request: Request) -> Response:
    """Take a version out of service for good. Refused while an alias points at it."""
    asked = await admin_body(request, Retirement)
    parts = parts_of(request)
    version = await parts.at_registry.run(
        registry_of(request).retire, asked.ref, actor_of(request, asked.actor), asked.reason
    )
    await parts.catch_up()
    return JSONResponse({**version.model_dump(mode="json"), "ref": version.ref, "digest": version.digest})
