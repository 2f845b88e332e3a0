"""The engine's life: start it, watch it, start it again with growing pauses, and say what is waited for.

Read `pulse.py` for how an engine is noticed that runs and does nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from lifecycle.errors import DabtError, EngineDead, InvalidInput
from service.adapters.residency import Adapters
from service.catalogue import EMPTY, Catalogue
from service.engine.interface import Engine, EngineFacts
from service.engine.pulse import Pulse
from service.observability.telemetry import Telemetry

_LOOK_EVERY = 0.5
_LOOK_AT_START = 0.02
_LONGEST_PAUSE = 30.0
_LONG_LIFE = 60.0
"""Seconds that an engine must have lived for its death to be taken as the first one."""

_SAY_EVERY = 8.0
"""Seconds between two lines of a start: a reader of the log takes silence for a hang."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Patience:
    """With the engine."""

    attempts: int
    """Starts after a death before it is given up."""
    silence: float
    """Seconds that its loop may give no sign before it is taken for dead."""
    pause: Callable[[float], Awaitable[None]] = asyncio.sleep
    clock: Callable[[], float] = field(default=time.monotonic)


class Supervisor:
    """Belongs to one event loop; `run` is its one task."""

    def __init__(
        self, engine: Engine, residency: Adapters, catalogue: Catalogue, telemetry: Telemetry, patience: Patience
    ) -> None:
        self._engine = engine
        self._residency = residency
        self._catalogue = catalogue
        self._telemetry = telemetry
        self._patience = patience
        self._short_lives = 0
        self.log = log
        """Where there are several engines, bound to whose it is."""
        self.warm_up: Callable[[], Awaitable[None]] = _nothing
        """Awaited after every start of the engine, before it is called ready."""
        self.started: Callable[[EngineFacts], object] = lambda facts: None
        """Told at every start of the engine what it is."""
        self.prove: Callable[[], Awaitable[None]] = _nothing
        """Awaited at every start of the engine; what it raises ends that start."""
        self._suspected = asyncio.Event()
        self._engine_state = "the engine is starting"
        self._waits = True
        self.since = datetime.now(UTC)
        """When it became ready, or stopped being so; half a second late at most."""
        self.facts: EngineFacts | None = None
        self.restarts = 0
        self.fatal: str | None = None
        """Why the service must stop, once it must."""
        self._task: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Returns when the engine cannot be kept running; `fatal` then says why."""
        self._task = asyncio.current_task()
        try:
            self.facts = await self._start()
            self.log.info("engine ready", **self.facts.brief())
            while True:
                born = self._patience.clock()
                await self._live()
                if self._patience.clock() - born >= _LONG_LIFE:
                    self._short_lives = 0
                await self._restart()
                self._short_lives += 1
        except DabtError as error:
            self._give_up(str(error))
        except Exception as error:
            # A process without an engine must not go on, nor end as if all were well.
            self._give_up(f"a fault in the service: {type(error).__name__}: {error}", error)

    async def _start(self) -> EngineFacts:
        """The engine's start takes long: the log says that it goes on."""
        saying = asyncio.create_task(_say_every(_SAY_EVERY, self.log))
        try:
            facts = await self._engine.start()
        finally:
            saying.cancel()
        await self.prove()
        self.started(facts)
        return facts

    async def stop(self) -> None:
        """End `run`: no engine is started again."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def suspect(self) -> None:
        """A request found the engine dead: look now rather than at the next turn."""
        self._suspected.set()

    def waiting_for(self) -> list[str]:
        """What keeps the service from answering, in words; empty when it is ready."""
        waiting = [self._engine_state] if self._engine_state else []
        if self._catalogue.snapshot is EMPTY:
            waiting.append(f"the registry has not been read yet ({self._catalogue.problem or 'reading'})")
        if bool(waiting) != self._waits:
            self._waits, self.since = bool(waiting), datetime.now(UTC)
        return waiting

    async def until_ready(self) -> None:
        """Return once nothing is waited for. Raises `EngineDead` when that will not be."""
        while self.waiting_for():
            if self.fatal is not None:
                raise EngineDead(self.fatal)
            await asyncio.sleep(_LOOK_AT_START)

    async def until_up(self) -> None:
        """Return once the engine answers, whatever else is waited for. Raises as `until_ready` does."""
        while not self.engine_up:
            if self.fatal is not None:
                raise EngineDead(self.fatal)
            await asyncio.sleep(_LOOK_AT_START)

    @property
    def engine_up(self) -> bool:
        return not self._engine_state

    def _give_up(self, why: str, fault: Exception | None = None) -> None:
        self._engine_state = "the engine has stopped for good"
        self.fatal = why
        self.log.error("the engine cannot be kept running", error=why, exc_info=fault)

    async def _live(self) -> None:
        """From the engine's start to its death; it may die while adapters are loaded ahead."""
        warming = asyncio.create_task(self._warm_up())
        try:
            await self._until_dead()
        finally:
            warming.cancel()
            with suppress(asyncio.CancelledError):
                await warming

    async def _warm_up(self) -> None:
        self._engine_state = "adapters are being loaded ahead"
        try:
            await self.warm_up()
        except Exception as error:  # what is not loaded ahead is loaded when it is asked for
            self.log.error("loading ahead failed", exc_info=error)
        self._engine_state = ""

    async def _until_dead(self) -> None:
        pulse = Pulse(self._engine.ping, self._patience.silence, self._patience.clock)
        try:
            while True:
                await self._engine.check()
                pulse.look()
                self.waiting_for()  # keeps `since` true while nobody asks
                self._suspected.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(_LOOK_EVERY):
                        await self._suspected.wait()
        except EngineDead as error:
            self.log.error("the engine died; its requests were answered with an error", error=str(error))
        finally:
            pulse.stop()

    async def _stop_engine(self) -> None:
        """What is left of it. However that fails, the next one is started."""
        try:
            await self._engine.stop()
        except Exception as error:
            self.log.warning("the dead engine did not stop cleanly", error=f"{type(error).__name__}: {error}")

    async def _restart(self) -> None:
        """Raises the last error when every attempt failed."""
        last: DabtError = EngineDead("the engine died, and restarts are switched off")
        attempts = self._patience.attempts
        for attempt in range(attempts):
            self._engine_state = f"the engine died and is being restarted (attempt {attempt + 1} of {attempts})"
            self._residency.forget_all()
            await self._stop_engine()
            await self._patience.pause(min(2.0 ** min(self._short_lives + attempt, 10), _LONGEST_PAUSE))
            try:
                self.facts = await self._start()
            except InvalidInput:
                raise  # another attempt would end the same way
            except DabtError as error:
                self.log.warning("the engine did not start again", attempt=attempt + 1, error=str(error))
                last = error
                continue
            self.restarts += 1
            self._telemetry.engine_restarted()
            self.log.info("engine restarted", attempt=attempt + 1)
            return
        raise last


async def _nothing() -> None: ...


async def _say_every(seconds: float, log: Any) -> None:
    began = time.monotonic()
    while True:
        await asyncio.sleep(seconds)
        log.info("the engine is starting", seconds=round(time.monotonic() - began))
