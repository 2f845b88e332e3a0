"""The engine's life: restarted with growing pauses, given up at last, never in silence."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import EngineDead, InvalidConfig, InvalidInput, Unavailable
from service.adapters.residency import Limits, Residency
from service.catalogue import Catalogue
from service.engine import supervise
from service.engine.fake_engine import FakeEngine
from service.engine.interface import EngineFacts
from service.engine.supervise import Patience, Supervisor
from service.observability.telemetry import Telemetry
from tests.service.logged import logged

pytestmark = pytest.mark.timeout(300)


class Watched:
    def __init__(self, registry: Any, attempts: int, engine: FakeEngine | None = None) -> None:
        self.engine = engine or FakeEngine()
        self.pauses: list[float] = []
        self.said: list[list[str]] = []
        """What was waited for at each pause."""
        self.telemetry = Telemetry()
        self.now = 0.0

        @asynccontextmanager
        async def verified(*_: object) -> AsyncIterator[None]:
            yield

        class NoStore:
            def get(self, digest: str) -> Path:
                raise AssertionError

        catalogue = Catalogue(registry, 0.25)
        catalogue.refresh()
        residency = Residency(self.engine, NoStore(), verified, Limits(2, 1.0), self.telemetry)
        patience = Patience(attempts=attempts, silence=60.0, pause=self._pause, clock=lambda: self.now)
        self.supervisor = Supervisor(self.engine, residency, catalogue, self.telemetry, patience)
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
        watched.now += 3600
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


async def test_an_engine_that_dies_again_and_again_is_started_with_growing_pauses(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    for deaths in range(1, 8):
        await until(lambda: not watched.supervisor.waiting_for())
        watched.kill()
        await until(lambda starts=deaths + 1: watched.engine.starts == starts)
    assert watched.pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]
    watched.task.cancel()


async def test_an_engine_that_runs_and_does_not_react_is_taken_for_dead(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    await until(lambda: not watched.supervisor.waiting_for())
    watched.engine.faults.hold_ping = asyncio.Event()
    looks = 0

    async def starts() -> bool:
        nonlocal looks
        looks += 1
        watched.now += 1
        watched.supervisor.suspect()
        return watched.engine.starts == 2

    await until(starts)
    assert looks > 60, "it was given its time"
    assert watched.said == [["the engine died and is being restarted (attempt 1 of 1)"]]
    watched.engine.faults.hold_ping.set()
    await until(lambda: not watched.supervisor.waiting_for())
    watched.task.cancel()


async def test_an_engine_that_is_busy_for_less_than_that_is_left_alone(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    await until(lambda: not watched.supervisor.waiting_for())
    for _ in range(3):
        gate = watched.engine.faults.hold_ping = asyncio.Event()
        for _ in range(59):
            watched.now += 1
            watched.supervisor.suspect()
            for _ in range(5):
                await asyncio.sleep(0)
        gate.set()
        watched.supervisor.suspect()
        await asyncio.sleep(0.01)
    assert watched.engine.starts == 1
    watched.task.cancel()


async def pass_seconds(watched: Watched, seconds: int) -> None:
    for _ in range(seconds):
        watched.now += 1
        watched.supervisor.suspect()
        for _ in range(5):
            await asyncio.sleep(0)


FAULTS = [KeyError("utility"), InvalidInput("no"), Unavailable("no"), TimeoutError(), asyncio.CancelledError()]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: type(fault).__name__)
async def test_a_ping_that_fails_in_whatever_way_is_a_missed_beat(fault: BaseException, house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    await until(lambda: not watched.supervisor.waiting_for())
    for _ in range(3):
        watched.engine.faults.ping_error = fault
        await pass_seconds(watched, 55)
        watched.engine.faults.ping_error = None  # and the next one is answered
        await pass_seconds(watched, 12)
    assert watched.engine.starts == 1
    assert not watched.supervisor.waiting_for()
    assert not watched.task.done()
    watched.task.cancel()


async def test_an_engine_whose_pings_fail_for_too_long_gives_no_sign(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    await until(lambda: not watched.supervisor.waiting_for())
    watched.engine.faults.ping_error = RuntimeError("the socket is gone")
    await pass_seconds(watched, 69)  # ten before the first question, and one less than its time
    assert watched.engine.starts == 1
    await pass_seconds(watched, 2)
    await until(lambda: watched.engine.starts == 2)
    watched.task.cancel()


async def test_a_ping_that_finds_the_engine_dead_has_it_started_again_at_once(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    await until(lambda: not watched.supervisor.waiting_for())
    watched.engine.faults.ping_error = EngineDead("the engine has stopped")
    await pass_seconds(watched, 12)
    watched.engine.faults.ping_error = None
    await until(lambda: watched.engine.starts == 2)
    watched.task.cancel()


async def test_a_dead_engine_that_does_not_stop_cleanly_is_started_again(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    await until(lambda: not watched.supervisor.waiting_for())
    watched.engine.faults.stop_error = RuntimeError("its socket is closed already")
    watched.kill()
    await until(lambda: watched.engine.starts == 2)
    await until(lambda: not watched.supervisor.waiting_for())
    watched.task.cancel()


async def test_a_fault_while_loading_ahead_does_not_keep_the_service_from_being_ready(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)

    async def broken() -> None:
        raise KeyError("a name that is gone")

    watched.supervisor.warm_up = broken
    await until(lambda: not watched.supervisor.waiting_for())
    watched.task.cancel()


async def test_a_fault_of_ours_ends_the_process_with_its_reason_and_not_in_silence(house: Any, until: Any) -> None:
    watched = Watched(house.registry, attempts=1)
    await until(lambda: not watched.supervisor.waiting_for())

    async def broken() -> None:
        raise KeyError("telemetry")

    watched.engine.check = broken  # type: ignore[method-assign]
    watched.supervisor.suspect()
    await watched.task
    assert "KeyError" in (watched.supervisor.fatal or "")
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


async def test_a_start_that_takes_long_goes_on_saying_so_and_no_longer(
    house: Any, until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert supervise._SAY_EVERY <= 10.0
    monkeypatch.setattr(supervise, "_SAY_EVERY", 0.0)
    with logged() as log:

        class Slow(FakeEngine):
            async def start(self) -> EngineFacts:
                for _ in range(20):
                    await asyncio.sleep(0)
                return await super().start()

        watched = Watched(house.registry, attempts=0, engine=Slow())
        await until(lambda: not watched.supervisor.waiting_for())
        events = [line["event"] for line in log.lines()]
        assert events[-1] == "engine ready"
        assert events.count("the engine is starting") >= 3
        assert [task for task in asyncio.all_tasks() if "_say_every" in repr(task)] == []
    watched.task.cancel()
