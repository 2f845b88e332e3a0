"""The screen at /ui/reports."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/reports")


@router.get("")
async def reports(request: Request) -> Response:
    return show(request, "reports.html")
