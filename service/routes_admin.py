"""Moving traffic, and looking at what is resident. For callers on this machine only: there are no API keys yet.

Bodies must be declared as JSON, which a web page cannot send here from elsewhere without being asked first.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Request
from pydantic import StringConstraints, ValidationError
from starlette.responses import JSONResponse, Response

from lifecycle.aliases import PROD, Alias
from lifecycle.errors import InvalidInput, NotAllowed, Problem
from lifecycle.registry import Registry
from lifecycle.version import Frozen
from service.config import is_loopback
from service.http_input import json_object
from service.serving import Service

Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
Body = TypeVar("Body", bound=Frozen)

router = APIRouter(prefix="/admin")


class Promotion(Frozen):
    ref: Text
    reason: Text
    alias: Text = PROD
    actor: Text = "admin-api"
    force: bool = False


class Rollback(Frozen):
    name: Text
    reason: Text
    alias: Text = PROD
    actor: Text = "admin-api"


@router.post("/promote")
async def promote(request: Request) -> Response:
    asked = await _body(request, Promotion)
    registry = _registry(request)
    alias = await asyncio.to_thread(
        registry.promote, asked.ref, actor=asked.actor, reason=asked.reason, alias=asked.alias, force=asked.force
    )
    return await _moved(request, alias)


@router.post("/rollback")
async def rollback(request: Request) -> Response:
    asked = await _body(request, Rollback)
    registry = _registry(request)
    alias = await asyncio.to_thread(
        registry.rollback, asked.name, actor=asked.actor, reason=asked.reason, alias=asked.alias
    )
    return await _moved(request, alias)


@router.get("/residency")
async def residency(request: Request) -> Response:
    _only_from_here(request)
    service: Service = request.app.state.service
    residents = [one.model_dump(mode="json") for one in service.parts.residency.residents()]
    return JSONResponse({"adapters": residents, "least_recently_used_first": True})


async def _moved(request: Request, alias: Alias) -> Response:
    """The alias as it now is, once this service serves it."""
    service: Service = request.app.state.service
    await asyncio.to_thread(service.parts.catalogue.refresh)
    return JSONResponse(alias.model_dump(mode="json"))


async def _body(request: Request, kind: type[Body]) -> Body:
    _only_from_here(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise InvalidInput("Send the header content-type: application/json")
    body: dict[str, Any] = await json_object(request, request.app.state.body_limit)
    try:
        return kind.model_validate(body)
    except ValidationError as error:
        problems = [Problem(".".join(map(str, one["loc"])) or "body", one["msg"]) for one in error.errors()]
        raise InvalidInput("The request is not valid:", problems) from error


def _only_from_here(request: Request) -> None:
    if request.client is None or not is_loopback(request.client.host):
        raise NotAllowed("admin routes answer only callers on the machine that the service runs on")


def _registry(request: Request) -> Registry:
    registry: Registry = request.app.state.registry
    return registry
