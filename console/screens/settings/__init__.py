"""How the service was started, and the health of each of its parts: to look at alone.

`table.py` has the settings, `health.py` the parts.
"""

from __future__ import annotations

import asyncio
import platform
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version

from fastapi import APIRouter, Request
from starlette.responses import Response

from console.rendering import show
from console.screens.settings.health import health_of
from console.screens.settings.table import rows_of

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
        asyncio.to_thread(rows_of, state.config), asyncio.to_thread(_versions), health_of(state)
    )
    return show(
        request,
        "settings.html",
        rows=rows,
        health=health,
        packages=packages,
        facts=facts.brief() if facts is not None else {},
        libraries=facts.detail.libraries if facts is not None else {},
        deployment=state.parts.deployment.digest(facts) if facts is not None else "",
        base=state.parts.base,
        now=datetime.now(UTC),
    )


def _versions() -> dict[str, str]:
    """Of the packages that are installed."""
    there = {"python": f"{platform.python_version()} ({sys.platform})"}
    for name in _PACKAGES:
        try:
            there[name] = version(name)
        except PackageNotFoundError:
            continue
    return there
