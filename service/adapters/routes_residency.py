"""Adapters and classifiers in memory: which there are, which are loaded ahead or kept. Versions are named, never paths.

`access.py` has let in whoever comes here. Read `warming.py` for what the three orders mean.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from lifecycle.version import Frozen
from service.access.authentication import actor_of
from service.admin import Text, registry_of
from service.openai.http_input import admin_body
from service.parts import parts_of

router = APIRouter(prefix="/admin")


class Named(Frozen):
    """A version as callers write it in `model`, or `prod` for every `prod` alias."""

    ref: Text


class Pinned(Named):
    reason: str = ""


@router.get("/residency")
async def residency(request: Request) -> Response:
    parts = parts_of(request)
    residents = [adapter.model_dump(mode="json") for adapter in parts.residency.residents()]
    return JSONResponse(
        {
            "adapters": residents,
            "least_recently_used_first": True,
            "places": parts.residency.capacity,
            "classifiers": [classifier.model_dump(mode="json") for classifier in parts.classifiers.residents()],
            "classifier_bytes": parts.classifiers.most_bytes,
            "pins": parts.warmer.pins,
            "pins_missing": parts.warmer.missing(),
            "slots_taken": parts.gate.taken,
            "waiting_for_slot": parts.gate.waiting,
        }
    )


@router.post("/preload")
async def preload(request: Request) -> Response:
    asked = await admin_body(request, Named)
    return _json(await parts_of(request).warmer.preload(asked.ref))


@router.post("/pin")
async def pin(request: Request) -> Response:
    """Here and at every other service of this registry, until `unpin`."""
    asked, parts = await admin_body(request, Pinned), parts_of(request)
    return _json(await parts.warmer.pin(asked.ref, _recorded(request, registry_of(request).pins.set, asked)))


@router.post("/unpin")
async def unpin(request: Request) -> Response:
    asked, parts = await admin_body(request, Pinned), parts_of(request)
    await parts.catch_up()
    return _json(await parts.warmer.unpin(asked.ref, _recorded(request, registry_of(request).pins.end, asked)))


def _recorded(request: Request, change: Callable[..., object], asked: Pinned) -> Callable[[], Awaitable[None]]:
    """Writes it into the registry, and sees it."""
    parts = parts_of(request)

    async def record() -> None:
        actor = actor_of(request, "admin-api")
        await parts.at_registry.run(change, asked.ref, actor=actor, reason=asked.reason)
        await parts.catch_up()

    return record


def _json(noun: Frozen) -> Response:
    return JSONResponse(noun.model_dump(mode="json"))
