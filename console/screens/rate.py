"""The screen at /ui/rate."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/rate")


@router.get("")
async def rate(request: Request) -> Response:
    return show(request, "rate.html")
