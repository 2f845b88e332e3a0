"""How the service was started, and the health of each of its parts: to look at alone.

`table.py` has the settings, `health.py` the parts.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show
from console.screens.settings.health import health_of
from console.screens.settings.table import rows_of
from service.engine.interface import EngineFacts
from service.resolution import Base

router = APIRouter(prefix="/ui/settings")
_PACKAGES = (
    "dabt", "vllm", "torch", "transformers", "tokenizers", "peft", "trl", "fastapi", "starlette", "uvicorn", "pydantic",
    "sqlalchemy", "sentence-transformers", "jinja2", "babel", "numpy",
)  # fmt: skip
"""What an answer, or a report of a fault, may hang on."""


@router.get("")
async def settings(request: Request) -> Response:
    state = request.app.state
    facts = state.parts.supervisor.facts
    rows, packages, health = await asyncio.gather(
        asyncio.to_thread(rows_of, state.config, state.service.beside), asyncio.to_thread(_versions), health_of(state)
    )
    return show(
        request,
        "settings.html",
        rows=rows,
        health=health,
        packages=packages,
        bases=[(base, _told(facts, base)) for base in state.parts.base.every],
        libraries=facts.detail.libraries if facts is not None else {},
        deployment=state.parts.deployment.digest(facts) if facts is not None else "",
        now=datetime.now(UTC),
    )


def _told(facts: EngineFacts | None, base: Base) -> dict[str, Any]:
    """Of the base's engine, once it has started."""
    if facts is None:
        return {}
    told = facts.of(base.digest).brief()
    return {name: value for name, value in told.items() if name != "beside"}


def _versions() -> dict[str, str]:
    """Of the packages that are installed."""
    there = {"python": f"{platform.python_version()} ({sys.platform})"}
    for name in _PACKAGES:
        try:
            there[name] = version(name)
        except PackageNotFoundError:
            continue
    return there
