"""The screen at /ui/compare."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/compare")


@router.get("")
async def compare(request: Request) -> Response:
    return show(request, "compare.html")
