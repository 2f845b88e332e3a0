"""The FastAPI application: puts the parts together and turns every error into an OpenAI-shaped body."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

import structlog
from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from lifecycle.errors import DabtError, InvalidInput
from lifecycle.models.answers import bare_spec
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest
from service import routes_admin, routes_gates, routes_ops
from service.access import routes_keys
from service.access.accounts import Accounts
from service.access.authentication import Access, AccessGuard
from service.access.ledger import Ledger
from service.access.limiter import Limiter
from service.adapters import golden, routes_residency
from service.adapters.admission_gate import AdmissionGate
from service.adapters.residency import Limits, Residency
from service.adapters.warming import Plan, Warmer
from service.background import Background
from service.bulkhead import Bulkhead
from service.catalogue import Catalogue
from service.config import ServeConfig
from service.deployment import OwnDeployment
from service.engine.interface import AdapterHandle, Engine
from service.engine.supervise import Patience, Supervisor
from service.knowledge import Library
from service.observability import record
from service.observability.access_log import AccessLog
from service.observability.alias_series import AliasSeries
from service.observability.telemetry import Telemetry
from service.openai import http_errors, routes_openai
from service.openai.answer_headers import REQUEST_ID_HEADER, AnswerHeaders, told
from service.openai.embeddings import Embedder
from service.resolution import Base
from service.serving import Parts, Service
from service.traffic import routes_traffic
from service.traffic.canary_exchange import CanaryExchange
from service.traffic.canary_guard import CanaryGuard
from service.traffic.policies import Traffic
from service.traffic.shadow import Shadows
from service.traffic.shadow_records import Records

if TYPE_CHECKING:
    from service.observability.otel import OtelTracer

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
    parts.telemetry.serving(parts.base.name, parts.base.digest)
    app.state.tracer = _tracer(config)
    app.add_middleware(AccessGuard, access=Access(config, parts.catalogue), accounts=parts.accounts)
    app.add_middleware(AccessLog, telemetry=parts.telemetry, tracer=app.state.tracer)
    app.add_middleware(AnswerHeaders)
    for routes in (
        routes_openai,
        routes_ops,
        routes_admin,
        routes_gates,
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


def _parts(config: ServeConfig, engine: Engine, registry: Registry, store: ArtifactStore) -> Parts:
    catalogue = Catalogue(registry, config.poll_seconds)
    telemetry = Telemetry()

    bare = bare_spec(config.base)
    base = Base(config.served_name, bare.base, bare.answers, bare.decoding)
    gate = AdmissionGate(config.max_loras, config.turn_seconds, config.max_queue)

    async def verify(adapter: AdapterHandle, digest: Digest) -> None:
        manifest = await asyncio.to_thread(catalogue.manifest, digest)
        # Golden prompts need a slot as requests do. Those who waited for the load are let in next, in the same turn.
        async with gate.turn(adapter.name, hand_over=True):
            await golden.verify(engine, adapter, manifest, config.golden_tolerance)

    limits = Limits(capacity=config.max_cpu_loras, wait=config.load_wait_seconds)
    residency = Residency(engine, store, verify, limits, telemetry)
    store.cache.in_use = residency.digests
    warmer = Warmer(residency, base, lambda: catalogue.snapshot, Plan(config.preload, config.pin))
    patience = Patience(config.restart_attempts, config.engine_silent_seconds)
    supervisor = Supervisor(engine, residency, catalogue, telemetry, patience)
    supervisor.warm_up = warmer.start
    telemetry.watch(residency, lambda: catalogue.age, lambda: not supervisor.waiting_for())
    telemetry.gauge("slots_taken", "Adapters in the batch", lambda: gate.taken)
    telemetry.gauge("waiting_for_slot", "Requests that wait for a slot in the batch", lambda: gate.waiting)
    telemetry.gauge("engine_up", "1 when the engine answers", lambda: float(supervisor.engine_up))
    telemetry.registry.register(AliasSeries(lambda: catalogue.snapshot))
    # Fewer than the connections that a registry's pool gives out: reading goes on while all of these wait.
    at_registry = Bulkhead("registry", at_once=8, waiting=64)
    telemetry.gauge("registry_calls", "Calls that the registry has not answered yet", at_registry.calls)
    background = Background()
    exchange = CanaryExchange(registry.outcomes, at_registry.run, config.canary_seconds)
    guard = CanaryGuard(registry, catalogue.refresh, telemetry, background, exchange, at_registry.run)
    records = Records(config.shadow_folder) if config.shadow_folder is not None else None
    shadows = Shadows(records, telemetry, busy=lambda: gate.waiting > 0 or bool(supervisor.waiting_for()))
    return Parts(
        base=base,
        deployment=OwnDeployment(config, bare.digest),
        engine=engine,
        catalogue=catalogue,
        residency=residency,
        warmer=warmer,
        gate=gate,
        library=Library(store),
        embedder=None if config.embedding_model == "none" else Embedder(config.embedding_model),
        supervisor=supervisor,
        telemetry=telemetry,
        accounts=Accounts(Limiter(config.limits_url), Ledger(registry.usage, config.usage_seconds)),
        traffic=Traffic(base, guard, shadows, background),
        at_registry=at_registry,
    )


def _tracer(config: ServeConfig) -> OtelTracer | None:
    if not config.traces_url:
        return None
    from service.observability.otel import OtelTracer

    return OtelTracer(config.traces_url, config.otlp_protocol)


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Serving begins at once: /health and /ready answer while the engine starts."""
    parts: Parts = app.state.parts
    app.state.service = Service(parts)
    loop = asyncio.get_running_loop()
    parts.catalogue.on_change = lambda before, after: loop.call_soon_threadsafe(parts.warmer.changed, before, after)
    running = asyncio.create_task(parts.supervisor.run())
    app.state.supervision = running
    await asyncio.to_thread(parts.catalogue.start)
    await parts.accounts.start()
    parts.traffic.start()
    try:
        yield
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running
        await parts.traffic.stop()
        await parts.warmer.stop()
        await parts.accounts.stop()
        await parts.engine.stop()
        await asyncio.to_thread(parts.catalogue.stop)
        parts.library.close()
        if parts.embedder is not None:
            parts.embedder.close()
        if app.state.tracer is not None:
            await asyncio.to_thread(app.state.tracer.close)


async def _on_dabt_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, DabtError)
    record.refused(error.code)
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
    record.refused(code)
    return JSONResponse(shaped, error.status_code, dict(error.headers or {}))


async def _on_disconnect(request: Request, error: Exception) -> Response:
    record.refused(record.DISCONNECTED)
    return Response(status_code=499)  # nobody reads it


async def _on_fault(request: Request, error: Exception) -> Response:
    log.error("a fault in the service", path=request.url.path, exc_info=error, request_id=told().get(REQUEST_ID_HEADER))
    # Starlette answers a fault outside every middleware.
    return http_errors.response(http_errors.unexpected(), told())
