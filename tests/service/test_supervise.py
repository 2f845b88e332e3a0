"""The engine's life: restarted with growing pauses, given up at last, never in silence."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import EngineDead, InvalidConfig
from service.catalogue import Catalogue
from service.fake_engine import FakeEngine
from service.residency import Limits, Residency
from service.supervise import Supervisor
from service.telemetry import Telemetry

pytestmark = pytest.mark.timeout(30)


class Watched:
    def __init__(self, registry: Any, attempts: int) -> None:
        self.engine = FakeEngine()
        self.pauses: list[float] = []
        self.said: list[list[str]] = []
        """What was waited for at each pause."""
        self.telemetry = Telemetry()

        async def verify(*_: object) -> None: ...

        class NoStore:
            def get(self, digest: str) -> Path:
                raise AssertionError

        catalogue = Catalogue(registry, 0.25)
        catalogue.refresh()
        residency = Residency(self.engine, NoStore(), verify, Limits(2, 1.0), self.telemetry)
        self.supervisor = Supervisor(self.engine, residency, catalogue, self.telemetry, attempts, self._pause)
        self.task = asyncio.create_task(self.supervisor.run())

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.said.append(self.supervisor.waiting_for())

    def kill(self) -> None:
        self.engine.die()
        self.supervisor.suspect()


async def test_a_dead_engine_is_started_again_and_readiness_tells_the_truth(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=3)
    assert watched.supervisor.waiting_for() == ["the engine is starting"]
    await until(lambda: not watched.supervisor.waiting_for())
    for deaths in (1, 2):
        watched.kill()
        await until(lambda starts=deaths + 1: watched.engine.starts == starts)
        await until(lambda: not watched.supervisor.waiting_for())
    assert watched.said == [["the engine died and is being restarted (attempt 1 of 3)"]] * 2
    assert watched.pauses == [1.0, 1.0], "an engine that had recovered begins anew with the first pause"
    assert b"dabt_engine_restarts_total 2.0" in watched.telemetry.page()
    watched.task.cancel()


async def test_an_engine_that_stays_dead_is_given_up_with_its_reason(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=3)
    await until(lambda: not watched.supervisor.waiting_for())
    watched.engine.faults.start_error = EngineDead("no memory")
    watched.kill()
    await watched.task
    assert watched.pauses == [1.0, 2.0, 4.0]
    assert watched.supervisor.fatal == "no memory"
    assert watched.supervisor.waiting_for() == ["the engine has stopped for good"]


async def test_a_first_start_that_fails_is_not_repeated(house: Any) -> None:
    watched = Watched(house.registry, attempts=3)
    watched.engine.faults.start_error = InvalidConfig("the stock kernel would be used")
    await watched.task
    assert (watched.engine.starts, watched.supervisor.fatal) == (1, "the stock kernel would be used")


async def test_restarts_can_be_switched_off(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=0)
    await until(lambda: not watched.supervisor.waiting_for())
    watched.kill()
    await watched.task
    assert watched.engine.starts == 1
    assert "restarts are switched off" in (watched.supervisor.fatal or "")
