"""The service over a real engine, in a thread of this process: for engine tests that want another base or other flags
than the shared one, and nothing of the process around it (`dabt_serve.py`).

What the process of an API and what one of an engine imports has been imported for the shared engine, so that another
starts in seconds.
"""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn
from fastapi import FastAPI

from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from service.app import create_app
from service.base_folder import with_base
from service.config import ServeConfig
from service.engine.interface import Engine

SMALL = {"dtype": "float32", "kv_cache_gib": 0.25, "max_loras": 1}
"""As `dabt_serve.py` has it."""


@dataclass
class Here:
    url: str
    app: FastAPI
    loop: asyncio.AbstractEventLoop


@contextmanager
def listening(config: ServeConfig, engine: Engine, registry: Registry, store: ArtifactStore) -> Iterator[Here]:
    """Ready, and ended when the block is left."""
    app = create_app(config, engine, registry, store)
    listener = socket.create_server(("127.0.0.1", 0))
    told = uvicorn.Config(app, log_config=None, access_log=False, timeout_graceful_shutdown=5)  # as `serve` tells it
    server = uvicorn.Server(told)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(sockets=[listener]),), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        with httpx.Client(base_url=url, timeout=120) as client:
            while client.get("/ready").status_code != 200:
                fatal = app.state.parts.supervisor.fatal
                assert thread.is_alive(), "the server thread ended"
                assert fatal is None, fatal
                time.sleep(0.2)
        yield Here(url, app, loop)
    finally:
        server.should_exit = True
        thread.join(60)


@contextmanager
def served_here(base: str, home: Home, chat_template: str = "", **settings: Any) -> Iterator[str]:
    """The address of `dabt serve --base BASE` with these settings."""
    from service.cli import vllm_engines

    given = {**SMALL, "embedding_model": "none", **settings}
    config, _ = with_base(ServeConfig.model_validate({"base": base, **given}), base, home, chat_template)
    ((config, engine),) = vllm_engines([config])
    with (
        Registry.open(home.registry_url) as registry,
        listening(config, engine, registry, ArtifactStore(home.artifacts_url, home.cache)) as here,
    ):
        yield here.url
