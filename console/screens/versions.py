"""The screen at /ui/versions."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/versions")


@router.get("")
async def versions(request: Request) -> Response:
    return show(request, "versions.html")
