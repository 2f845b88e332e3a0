"""Rows on their way to the store: whole, from a form; or in parts, which a script sends and goes on with after a break.

What comes is handed on as it comes to the API's own routes, and is never in memory.
"""

from __future__ import annotations

import json

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from console.api import Api, refusal
from console.viewer import viewer_of

router = APIRouter(prefix="/ui/train")


@router.post("/files")
async def whole(request: Request) -> Response:
    """The form of a page without scripts."""
    sent = json.loads(await _handed_on(request, "/v1/files"))
    return RedirectResponse(f"/ui/train/files/{sent['id']}", 303)


@router.post("/uploads")
async def begin(request: Request) -> Response:
    return _in_json(await _handed_on(request, "/v1/uploads"))


@router.post("/uploads/{id_}/parts")
async def part(request: Request, id_: str) -> Response:
    return _in_json(await _handed_on(request, f"/v1/uploads/{id_}/parts"))


@router.post("/uploads/{id_}/complete")
async def complete(request: Request, id_: str) -> Response:
    return _in_json(await _handed_on(request, f"/v1/uploads/{id_}/complete"))


def _in_json(answer: str) -> Response:
    return Response(answer, media_type="application/json")


async def _handed_on(request: Request, path: str) -> str:
    """The API's answer. Raises `Refused` with its sentence."""
    api: Api = request.app.state.api
    told = {name: request.headers[name] for name in ("content-type", "content-length") if name in request.headers}
    async with api.asked(viewer_of(request), "POST", path, request.stream(), headers=told) as answer:
        text = await answer.text()
    if answer.status >= 400:
        raise refusal(answer.status, text)
    return text
