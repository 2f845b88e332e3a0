"""The gate of a name over HTTP: whoever may call the name may read what its `prod` demands; an admin's key sets it.

`dabt gate set` makes a gate from a team's files; this takes one that was made so, and never a path.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from lifecycle.access.keys import allows
from lifecycle.aliases import PROD
from lifecycle.errors import Forbidden, NotFound
from lifecycle.gates import Gate
from lifecycle.standing import SET_GATE
from lifecycle.version import Frozen
from service.access.authentication import actor_of
from service.admin import Text, registry_of
from service.openai.http_input import admin_body
from service.parts import parts_of
from service.request_context import context_of

router = APIRouter()


class GateChange(Frozen):
    gate: Gate
    reason: Text
    actor: Text = "admin-api"


@router.get("/v1/dabt/gates/{name}")
async def show(request: Request, name: str) -> Response:
    """Raises `Forbidden` for a name that the key does not cover, `NotFound` for one without a gate."""
    key = context_of(request).key
    if key is not None and not allows(key.models, f"{name}:{PROD}"):
        raise Forbidden(f"the {key} is for {', '.join(key.models)}, and not for {name}")
    gate = await parts_of(request).at_registry.run(registry_of(request).gate, name)
    if gate is None:
        raise NotFound(f"{name} has no gate; an admin sets one with `{SET_GATE.format(name=name)}`", "name")
    return _shown(gate)


@router.post("/admin/gates")
async def set_gate(request: Request) -> Response:
    asked = await admin_body(request, GateChange)
    await parts_of(request).at_registry.run(
        registry_of(request).set_gate, asked.gate, actor=actor_of(request, asked.actor), reason=asked.reason
    )
    await parts_of(request).catch_up()
    return _shown(asked.gate)


def _shown(gate: Gate) -> Response:
    return JSONResponse({"digest": gate.digest, "gate": gate.model_dump(mode="json")})
