"""The FastAPI application: puts the parts together and turns every error into an OpenAI-shaped body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from lifecycle.errors import DabtError, InvalidInput
from lifecycle.manifests import WeightsManifest
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from service import routes_admin, routes_gates, routes_ops, routes_ratings
from service.access import routes_keys
from service.access.authentication import Access, AccessGuard
from service.access.hosts import HostGuard
from service.adapters import routes_residency
from service.config import ServeConfig
from service.engine.interface import Engine
from service.engine_side import Elsewhere
from service.front import Front, InFront
from service.last_known import LastKnown
from service.observability import spans
from service.observability.access_log import AccessLog
from service.openai import http_errors, http_input, routes_openai
from service.openai.azure import AzurePaths
from service.openai.fine_tuning import routes_files, routes_jobs, routes_uploads
from service.parts import Parts, assemble
from service.request_context import DISCONNECTED, context_of
from service.serving import Service
from service.traffic import routes_traffic

log = structlog.get_logger(__name__)


def create_app(
    config: ServeConfig,
    engine: Engine,
    registry: Registry,
    store: ArtifactStore,
    last_known: LastKnown | None = None,
    weights: WeightsManifest | None = None,
    console: Callable[[FastAPI], Front] | None = None,
    elsewhere: Elsewhere | None = None,
) -> FastAPI:
    """The service as an ASGI application; its lifespan starts and stops the engine. `registry` stays the caller's.
    `console` makes the pages at /ui; `elsewhere` says whom `engine` is only the way to.

    Raises `InvalidInput` when `config.base` is not a whole model folder.
    """
    parts = assemble(config, engine, registry, store, last_known, weights, elsewhere)
    app = FastAPI(title="Dabt", openapi_url=None, docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.config = config
    app.state.beside = elsewhere.beside if elsewhere is not None else ()
    """Settings of further bases' engines."""
    app.state.body_limit = int(config.max_body_mib * 2**20)
    app.state.file_limit = int(config.max_file_mib * 2**20)
    app.state.upload_limit = int(config.max_upload_mib * 2**20)
    app.state.registry = registry
    app.state.parts = parts
    app.state.before_listening = lambda: None
    """Called when all is ready to listen: whoever has answered on the port until then stops."""
    parts.telemetry.serving({base.digest: base.name for base in parts.base.every})
    app.state.tracer = spans.tracer_of(config)
    access = Access(config, parts.catalogue)
    app.add_middleware(AccessGuard, access=access, accounts=parts.accounts)
    app.state.console = console(app) if console is not None else None
    if app.state.console is not None:
        app.add_middleware(InFront, front=app.state.console)
    app.add_middleware(HostGuard, access.keys_asked, config.allowed_host, config.cors_origin)
    app.add_middleware(AccessLog, telemetry=parts.telemetry, tracer=app.state.tracer)
    app.add_middleware(AzurePaths)
    for routes in (
        routes_openai,
        routes_files,
        routes_uploads,
        routes_jobs,
        routes_ops,
        routes_admin,
        routes_gates,
        routes_ratings,
        routes_residency,
        routes_traffic,
        routes_keys,
    ):
        app.include_router(routes.router)
    app.add_exception_handler(DabtError, _on_dabt_error)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(ClientDisconnect, _on_disconnect)
    app.add_exception_handler(Exception, _on_fault)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Serving begins at once: /health and /ready answer while the engine starts."""
    parts: Parts = app.state.parts
    app.state.service = Service(parts)
    loop = asyncio.get_running_loop()
    parts.catalogue.on_change = lambda before, after: loop.call_soon_threadsafe(parts.warmer.changed, before, after)
    running = asyncio.create_task(parts.supervisor.run())
    app.state.supervision = running
    parts.catalogue.start()
    parts.hints.start()
    await parts.accounts.start()
    await http_input.begin()
    parts.traffic.start()
    console: Front | None = app.state.console
    if console is not None:
        await console.start()
    await asyncio.to_thread(app.state.before_listening)
    try:
        yield
    finally:
        if console is not None:
            await console.stop()
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await parts.traffic.stop()
        await parts.warmer.stop()
        await parts.accounts.stop()
        await parts.engine.stop()
        await asyncio.to_thread(parts.hints.stop)
        await asyncio.to_thread(parts.catalogue.stop)
        if app.state.tracer is not None:
            await asyncio.to_thread(app.state.tracer.close)


async def _on_dabt_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DabtError)
    context_of(request).code = error.code
    if http_errors.status_of(error) >= 500:
        log.warning("request failed", path=request.url.path, code=error.code, error=str(error))
    return http_errors.response(error)


async def _on_http_error(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, or another method."""
    assert isinstance(error, HTTPException)
    message = f"{request.method} {request.url.path}: {error.detail}"
    shaped = http_errors.body_of(InvalidInput(message))
    code = "no_such_route" if error.status_code in (404, 405) else "http_error"
    shaped["error"]["code"] = code
    context_of(request).code = code
    return JSONResponse(shaped, error.status_code, dict(error.headers or {}))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    context_of(request).code = DISCONNECTED
    return Response(status_code=499)  # nobody reads it


async def _on_fault(request: Request, error: Exception) -> Response:
    # Starlette answers a fault outside every middleware.
    context = context_of(request)
    log.error("a fault in the service", path=request.url.path, exc_info=error, request_id=context.id)
    return http_errors.response(http_errors.unexpected(), context.headers)
