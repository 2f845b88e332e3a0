"""The screen at /ui/train."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show

router = APIRouter(prefix="/ui/train")


@router.get("")
async def train(request: Request) -> Response:
    return show(request, "train.html")
