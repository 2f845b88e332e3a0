"""Sharing traffic out, the bounds of canaries, and shadows: for a publisher's key, as in `routes_admin.py`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from lifecycle.aliases import Alias, Target
from lifecycle.errors import InvalidInput, NotFound, Problem
from lifecycle.traffic import Shadow, TrafficPolicy
from lifecycle.version import Frozen, Ref
from service.access.authentication import actor_of, check_may_force
from service.admin import Revision, Text, as_served, registry_of
from service.openai.http_input import admin_body
from service.parts import parts_of

router = APIRouter(prefix="/admin/traffic")


class Order(Frozen):
    alias: Text
    """As callers write it in `model`: `triage` is `triage:prod`."""
    reason: Text
    actor: Text = "admin-api"
    expected_revision: Revision | None = None

    def place(self) -> tuple[str, str]:
        """Its name and alias. Raises `InvalidInput` for a version."""
        ref = Ref.parse(self.alias)
        if ref.alias is None:
            fault = f"{ref} is a version"
            raise InvalidInput("The request is not valid:", [Problem("alias", fault, f"an alias, such as {ref.name}")])
        return ref.name, ref.alias


class Split(Order):
    targets: Annotated[tuple[Target, ...], Field(min_length=1)]
    """Weights are scaled to sum to 1."""
    force: bool = False


class PolicyOrder(Order):
    policy: TrafficPolicy
    """The whole of it; `{}` takes away what there was."""


class ShadowOrder(Order):
    shadow: Shadow | None
    """null to copy no more."""


@router.get("")
async def every(request: Request) -> Response:
    snapshot = parts_of(request).catalogue.snapshot
    aliases = [alias for _, of_name in sorted(snapshot.aliases.items()) for alias in of_name.values()]
    return JSONResponse({"revision": snapshot.revision, "aliases": [_shown(request, alias) for alias in aliases]})


@router.get("/{name}")
async def of_name(request: Request, name: str) -> Response:
    snapshot = parts_of(request).catalogue.snapshot
    aliases = snapshot.aliases.get(name)
    if not aliases:
        raise NotFound(f"there is no alias of {name!r}; make one with `dabt promote {name}:<number>`")
    shown = [_shown(request, alias) for alias in aliases.values()]
    return JSONResponse({"revision": snapshot.revision, "aliases": shown})


@router.post("/split")
async def split(request: Request) -> Response:
    asked = await admin_body(request, Split)
    if asked.force:
        check_may_force(request)
    name, alias = asked.place()
    for target in asked.targets:
        await parts_of(request).warmer.ahead_of_a_move(f"{name}:{target.number}")
    moved = await parts_of(request).at_registry.run(
        registry_of(request).set_alias,
        name,
        alias,
        asked.targets,
        actor=actor_of(request, asked.actor),
        reason=asked.reason,
        force=asked.force,
        expected_revision=asked.expected_revision,
    )
    return await as_served(request, moved)


@router.post("/stop-canary")
async def stop_canary(request: Request) -> Response:
    asked = await admin_body(request, Order)
    name, alias = asked.place()
    moved = await parts_of(request).at_registry.run(
        registry_of(request).stop_canary,
        name,
        actor=actor_of(request, asked.actor),
        reason=asked.reason,
        alias=alias,
        expected_revision=asked.expected_revision,
    )
    return await as_served(request, moved)


@router.post("/policy")
async def policy(request: Request) -> Response:
    asked = await admin_body(request, PolicyOrder)
    return await _amended(request, asked, lambda _: asked.policy)


@router.post("/shadow")
async def shadow(request: Request) -> Response:
    asked = await admin_body(request, ShadowOrder)
    return await _amended(request, asked, lambda before: before.model_copy(update={"shadow": asked.shadow}))


async def _amended(request: Request, asked: Order, amend: Callable[[TrafficPolicy], TrafficPolicy]) -> Response:
    name, alias = asked.place()
    run, change = parts_of(request).at_registry.run, registry_of(request).amend_policy
    amended = await run(
        change,
        name,
        alias,
        amend,
        actor=actor_of(request, asked.actor),
        reason=asked.reason,
        expected_revision=asked.expected_revision,
    )
    return await as_served(request, amended)


def _shown(request: Request, alias: Alias) -> dict[str, Any]:
    """With its canaries' figures, as far as this process has seen them, and why one is not rolled back."""
    guard = parts_of(request).traffic.guard
    figures = [figure.model_dump(mode="json") for figure in guard.figures(alias)]
    return {**alias.model_dump(mode="json"), "figures": figures, "stuck": guard.problem(alias)}
