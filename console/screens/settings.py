"""How the service was started, and the health of each of its parts: to look at alone."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/settings")


@router.get("")
async def settings(request: Request) -> Response:
    state = request.app.state
    config = state.config.model_dump(mode="json")
    return show(request, "settings.html", config=config, waiting=state.parts.supervisor.waiting_for())
