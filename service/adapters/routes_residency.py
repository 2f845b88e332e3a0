"""Adapters and classifiers in memory: which there are, which are loaded ahead or kept. Versions are named, never paths.

`access.py` has let in whoever comes here. Read `warming.py` for what the three orders mean.
"""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from lifecycle.version import Frozen
from service.admin import Text
from service.openai.http_input import admin_body
from service.parts import parts_of

router = APIRouter(prefix="/admin")


class Named(Frozen):
    """A version as callers write it in `model`, or `prod` for every `prod` alias."""

    ref: Text


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
    asked = await admin_body(request, Named)
    return _json(await parts_of(request).warmer.pin(asked.ref))


@router.post("/unpin")
async def unpin(request: Request) -> Response:
    asked = await admin_body(request, Named)
    return _json(parts_of(request).warmer.unpin(asked.ref))


def _json(noun: Frozen) -> Response:
    return JSONResponse(noun.model_dump(mode="json"))
