"""The FastAPI application: puts the parts together and turns every error into an OpenAI-shaped body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from lifecycle.artifacts import ArtifactStore
from lifecycle.base import fingerprint
from lifecycle.errors import DabtError, InvalidInput
from lifecycle.registry import Registry
from lifecycle.version import Digest
from service import golden, http_errors, routes_admin, routes_openai, routes_ops
from service.catalogue import Catalogue
from service.config import ServeConfig
from service.engine import AdapterHandle, Engine
from service.knowledge import Library
from service.residency import Limits, Residency
from service.resolution import Base
from service.serving import Parts, Service
from service.supervise import Supervisor
from service.telemetry import Telemetry

log = structlog.get_logger(__name__)


def create_app(config: ServeConfig, engine: Engine, registry: Registry, store: ArtifactStore) -> FastAPI:
    """The service as an ASGI application; its lifespan starts and stops the engine. `registry` stays the caller's.

    Raises `InvalidInput` when `config.base` is not a whole model folder.
    """
    parts = _parts(config, engine, registry, store)
    app = FastAPI(title="Dabt", openapi_url=None, docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.config = config
    app.state.body_limit = int(config.max_body_mib * 2**20)
    app.state.registry = registry
    app.state.parts = parts
    for routes in (routes_openai, routes_ops, routes_admin):
        app.include_router(routes.router)
    app.add_exception_handler(DabtError, _on_dabt_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_fault)
    return app


def _parts(config: ServeConfig, engine: Engine, registry: Registry, store: ArtifactStore) -> Parts:
    catalogue = Catalogue(registry, config.poll_seconds)
    telemetry = Telemetry()

    async def verify(adapter: AdapterHandle, digest: Digest) -> None:
        manifest = await asyncio.to_thread(catalogue.manifest, digest)
        await golden.verify(engine, adapter, manifest, config.golden_tolerance)

    limits = Limits(capacity=config.max_cpu_loras, wait=config.load_wait_seconds)
    residency = Residency(engine, store, verify, limits, telemetry)
    supervisor = Supervisor(engine, residency, catalogue, telemetry, config.restart_attempts)
    telemetry.watch(residency, lambda: catalogue.age, lambda: not supervisor.waiting_for())
    return Parts(
        base=Base(config.served_name, fingerprint(config.base).digest),
        engine=engine,
        catalogue=catalogue,
        residency=residency,
        library=Library(store),
        supervisor=supervisor,
        telemetry=telemetry,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Serving begins at once: /health and /ready answer while the engine starts."""
    parts: Parts = app.state.parts
    app.state.service = Service(parts)
    running = asyncio.create_task(parts.supervisor.run())
    app.state.supervision = running
    await asyncio.to_thread(parts.catalogue.start)
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await parts.engine.stop()
        await asyncio.to_thread(parts.catalogue.stop)
        parts.library.close()


async def _on_dabt_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DabtError)
    if http_errors.status_of(error) >= 500:
        log.warning("request failed", path=request.url.path, code=error.code, error=str(error))
    return http_errors.response(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, or another method."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    shaped = http_errors.body_of(InvalidInput(message))
    shaped["error"]["code"] = "no_such_route" if error.status_code in (404, 405) else "http_error"
    return JSONResponse(shaped, error.status_code, dict(error.headers or {}))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    return Response(status_code=499)  # nobody reads it


async def _on_fault(request: Request, error: Exception) -> Response:
    log.error("a fault in the service", path=request.url.path, exc_info=error)
    return http_errors.response(http_errors.unexpected())
