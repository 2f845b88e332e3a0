"""Two bases in one process, over a fake engine each."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import httpx
from fastapi import FastAPI

from service.app import create_app
from service.cluster.here import EnginesHere, ServedBase
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.engine_side import base_of
from tests.service.conftest import House, Running, fake_base


def other_base(folder: Path) -> Path:
    base = fake_base(folder)
    (base / "config.json").write_text('{"model_type": "llama", "hidden_size": 8}')
    return base


class Two:
    """Two bases, `tiny` and `other`, each over a fake engine."""

    def __init__(self, house: House, other: Path, **options: object) -> None:
        default: dict[str, object] = {"max_cpu_loras": 4, "max_loras": 2, "embedding_model": "none"}
        shared = {**default, "allowed_host": ("service",), **options}
        self.house = house
        self.configs = [ServeConfig.model_validate({**shared, "base": base}) for base in (house.base, other)]
        self.tiny, self.other = FakeEngine(), FakeEngine()
        self.console: Any = None
        self.digest = base_of(self.configs[1]).digest
        """Of `other`."""

    def engine(self) -> EnginesHere:
        return EnginesHere([ServedBase(*each) for each in zip(self.configs, (self.tiny, self.other), strict=True)])

    def app(self, engine: EnginesHere) -> FastAPI:
        registry, store = self.house.registry, self.house.store
        return create_app(self.configs[0], engine, registry, store, console=self.console, elsewhere=engine.here())

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Running]:
        engine = self.engine()
        app = self.app(engine)
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                await app.state.parts.supervisor.until_ready()
                yield Running(client, cast(Any, engine), app)


def who_said(answer: Any) -> str:
    return str(answer.json()["choices"][0]["message"]["content"].split()[0])
