"""The screen at /ui/knowledge."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/knowledge")


@router.get("")
async def knowledge(request: Request) -> Response:
    return show(request, "knowledge.html")
