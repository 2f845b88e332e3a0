"""What operators and orchestrators ask: is it alive, is it ready, what does it run, what are its figures."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.responses import JSONResponse, Response

from lifecycle.errors import Unavailable
from service.bases_now import BaseNow, bases_now
from service.catalogue import EMPTY
from service.config import ServeConfig
from service.observability import router_series
from service.parts import Parts, parts_of

router = APIRouter()

_LOOK = ["GET", "HEAD"]
"""HEAD is what some balancers ask with; the server leaves the body out."""


@router.api_route("/health", methods=_LOOK)
async def health() -> Response:
    """Alive: this process answers. Whether the engine does is /ready's question."""
    return JSONResponse({"status": "ok"})


@router.api_route("/ready", methods=_LOOK)
async def ready(request: Request) -> Response:
    parts = parts_of(request)
    waiting = parts.supervisor.waiting_for()
    if parts.under_way.draining_since is not None:
        waiting = [*waiting, "the service is stopping"]
    facts = parts.supervisor.facts
    body = {
        "ready": not waiting,
        "code": _code(parts) if waiting else None,
        "waiting_for": waiting,
        "since": (parts.under_way.draining_since or parts.supervisor.since).isoformat(timespec="seconds"),
        "base": {"name": parts.base.name, "digest": parts.base.digest},
        **({"bases": [_of_base(now) for now in bases_now(parts)]} if parts.base.beside else {}),
        "engine": facts.brief() if facts else None,
        "structured_output": parts.engine.structured_output(),
        "canaries_stuck": parts.traffic.guard.stuck(),
        "pins_missing": len(parts.warmer.missing()),
        "registry": {
            "revision": parts.catalogue.snapshot.revision,
            "problem": parts.catalogue.problem,
            "unreadable": len(parts.catalogue.snapshot.left_out),
        },
    }
    return JSONResponse(body, 503 if waiting else 200)


def _of_base(now: BaseNow) -> dict[str, Any]:
    since = now.since
    return {
        "name": now.base.name,
        "digest": now.base.digest,
        "ready": now.is_ready,
        "waiting_for": now.waiting_for,
        "since": since.isoformat(timespec="seconds") if since is not None else None,
        "restarts": now.restarts,
    }


def _code(parts: Parts) -> str:
    """Why it is not ready, for programs."""
    if parts.under_way.draining_since is not None:
        return "stopping"
    if parts.supervisor.fatal is not None:
        return "engine_stopped"
    if parts.supervisor.facts is None:
        return "starting"
    return "registry_unread" if parts.catalogue.snapshot is EMPTY else "engine_not_ready"


@router.api_route("/v1/dabt/deployment", methods=_LOOK)
async def deployment(request: Request) -> Response:
    """What decides answers besides the version. Raises `Unavailable` until the engine says what it resolved to."""
    parts = parts_of(request)
    facts = parts.supervisor.facts
    if facts is None:
        raise Unavailable("the engine is starting; what it runs is known when it is ready", retry_after=2.0)
    own = parts.deployment
    return JSONResponse({"digest": own.digest(facts), "deployment": own.of(facts).model_dump(mode="json")})


@router.api_route("/metrics", methods=_LOOK)
async def metrics(request: Request) -> Response:
    parts = parts_of(request)
    parts.telemetry.look()
    config: ServeConfig = request.app.state.config
    names = parts.router_names.of(parts.catalogue.snapshot) if config.router_series else {}
    loaded, coming = (parts.loaded(), parts.coming()) if config.router_series else ([], [])
    slots, at_gates = sum(room.slots for room in parts.rooms()) or config.max_loras, parts.at_gates()
    engines = await parts.engine.metrics()

    def written() -> bytes:
        page = parts.telemetry.page()
        if not config.router_series:
            return page + engines
        engine = router_series.with_those_at_the_gate(engines, at_gates)
        return page + engine + router_series.page(loaded, coming, names, slots)

    # In a thread: writing the page takes long enough to be seen by those whose answers stream meanwhile.
    return Response(await asyncio.to_thread(written), media_type=CONTENT_TYPE_LATEST)
