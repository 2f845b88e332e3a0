"""The screen at /ui/watch."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/watch")


@router.get("")
async def watch(request: Request) -> Response:
    return show(request, "watch.html")
