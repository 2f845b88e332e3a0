"""The process: one uvicorn server around the app, drained on SIGTERM, ended with the truth in its exit code."""

from __future__ import annotations

import asyncio
import resource
import signal
import socket
from collections.abc import Callable
from contextlib import closing, nullcontext
from functools import partial
from types import FrameType
from typing import Any

import structlog
import uvicorn
from fastapi import FastAPI

from lifecycle.errors import EngineDead, Unavailable
from lifecycle.home import Home
from lifecycle.manifests import WeightsManifest
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from service.access.authentication import check_address
from service.app import create_app
from service.concurrency import take_short_turns
from service.config import ServeConfig
from service.connection import Bounds, Connection
from service.engine.interface import Engine
from service.engine_side import Elsewhere
from service.first_answers import FirstAnswers
from service.front import Front
from service.last_known import LastKnown
from service.observability import logs
from service.worker_process import WorkerProcess

_KEPT_ALIVE = 120
"""Seconds that an idle connection is kept: longer than load balancers (60) and clients' pools (Go: 90) keep theirs,
because a request on a connection that is just being closed is a reset to the one who sent it. uvicorn's own is 5."""
_OWN_DESCRIPTORS = 512
"""Files and sockets that the registry, the store and the engine may need; the rest is for connections."""

log = structlog.get_logger(__name__)


def serve(
    config: ServeConfig,
    home: Home,
    engine: Engine,
    first: FirstAnswers | None = None,
    weights: WeightsManifest | None = None,
    console: Callable[[FastAPI], Front] | None = None,
    elsewhere: Elsewhere | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT, then finish what was admitted and return. `first` has been answering until now,
    and `weights` is what is known of the base, where that is whole weights of the store; `console` makes the pages.
    `elsewhere` says whom `engine` is only the way to, as where there are several bases (`cluster/here.py`).

    Raises `InvalidConfig` when the address cannot be had, or may not be had without API keys, and `EngineDead` when the
    engine cannot be kept running.
    """
    logs.configure(config.log_level, config.log_format)
    take_short_turns()
    first = first or FirstAnswers(config.host, config.port)
    bases = [config, *(elsewhere.beside if elsewhere is not None else ())]
    log.info("listening", url=first.url, base=", ".join(each.served_name for each in bases))
    # A file that was known before and is gone is away, and not a new registry without versions and without keys.
    with closing(first), Registry.later(home.registry_url, new=not home.last_known.is_file()) as registry:
        _reach(registry, config)
        store = ArtifactStore(home.artifacts_url, home.cache, config.cache_bytes)
        last_known = LastKnown(home.last_known, registry.name)
        app = create_app(config, engine, registry, store, last_known, weights, console, elsewhere)
        app.state.before_listening = first.hand_over
        connection: Any = partial(Connection, bounds=Bounds(config.client_seconds, _most_connections()))
        server = _Server(
            app,
            uvicorn.Config(
                app,
                http=connection,
                log_config=None,
                access_log=False,
                lifespan="on",
                timeout_keep_alive=_KEPT_ALIVE,
                timeout_graceful_shutdown=5,
            ),
            config.drain_seconds,
        )
        with WorkerProcess(config, home, first.url, bases[1:]) if config.worker else nullcontext() as worker:
            app.state.worker = worker
            server.run(sockets=[first.listener])  # on uvloop, as vLLM's own server
    if server.fatal:
        raise EngineDead(server.fatal)


def _reach(registry: Registry, config: ServeConfig) -> None:
    """A registry that is away is gone on without: on an address that others can reach, keys are asked for anyway."""
    try:
        registry.reach()
        check_address(config, registry.keys)
    except Unavailable as error:
        log.warning("the registry is away; starting without it", problem=str(error))


class _Server(uvicorn.Server):
    """uvicorn with our end: at a signal new requests get 503 while admitted ones finish, and the exit code is 0."""

    def __init__(self, app: FastAPI, config: uvicorn.Config, drain_seconds: float) -> None:
        super().__init__(config)
        self._app = app
        self._drain_seconds = drain_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: int | None = None
        """The signal that asked for the end."""
        self._ending: asyncio.Task[None] | None = None
        self.fatal: str | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        if self.should_exit:
            return
        self._app.state.supervision.add_done_callback(lambda _: self._on_engine_lost())
        if self._asked is not None:
            self._begin_to_end(self._asked)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            self.should_exit = self.force_exit = True  # asked twice: do not wait
            return
        self._asked = sig
        if self._loop is not None:  # else `startup` ends first, so that what it opened is closed again
            self._loop.call_soon_threadsafe(self._begin_to_end, sig)

    def _begin_to_end(self, sig: int) -> None:
        if self._ending is None:
            self._ending = asyncio.ensure_future(self._end(sig))

    async def _end(self, sig: int) -> None:
        log.info("stopping: admitted requests finish, new ones are refused", signal=signal.Signals(sig).name)
        if not await self._app.state.parts.drain(self._drain_seconds):
            log.warning("requests were cut off at the drain limit", seconds=self._drain_seconds)
            await self._app.state.parts.cut_off()
        self.should_exit = True

    def _on_engine_lost(self) -> None:
        """The supervisor gave up, or was cancelled by the app's own end."""
        self.fatal = self._app.state.parts.supervisor.fatal
        self.should_exit = True


def _most_connections() -> int:
    """As many as this process may have descriptors for, after asking for all that it can get."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 2**20 if hard == resource.RLIM_INFINITY else hard
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return max(most // 2, most - _OWN_DESCRIPTORS)
