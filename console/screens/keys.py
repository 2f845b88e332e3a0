"""The screen at /ui/keys."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/keys")


@router.get("")
async def keys(request: Request) -> Response:
    return show(request, "keys.html")
