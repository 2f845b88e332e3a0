"""What each alias serves now, and what it would take to change that."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter()


@router.get("/ui")
@router.get("/ui/")
async def overview(request: Request) -> Response:
    return show(request, "overview.html", versions=request.app.state.parts.catalogue.snapshot.size)
