"""The engine's life: start it, watch it, start it again with growing pauses, and say what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import structlog

from lifecycle.errors import DabtError, EngineDead, InvalidInput
from service.catalogue import EMPTY, Catalogue
from service.engine import Engine, EngineFacts
from service.residency import Residency
from service.telemetry import Telemetry

_LOOK_EVERY = 0.5
_LONGEST_PAUSE = 30.0

log = structlog.get_logger(__name__)


class Supervisor:
    """Belongs to one event loop; `run` is its one task."""

    def __init__(
        self,
        engine: Engine,
        residency: Residency,
        catalogue: Catalogue,
        telemetry: Telemetry,
        restart_attempts: int,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._engine = engine
        self._residency = residency
        self._catalogue = catalogue
        self._telemetry = telemetry
        self._attempts = restart_attempts
        self._pause = pause
        self._suspected = asyncio.Event()
        self._engine_state = "the engine is starting"
        self.facts: EngineFacts | None = None
        self.fatal: str | None = None
        """Why the service must stop, once it must."""

    async def run(self) -> None:
        """Returns when the engine cannot be kept running; `fatal` then says why."""
        try:
            self.facts = await self._engine.start()
            log.info("engine ready", **self.facts.model_dump())
            self._engine_state = ""
            while True:
                await self._until_dead()
                await self._restart()
        except DabtError as error:
            self._engine_state = "the engine has stopped for good"
            self.fatal = str(error)
            log.error("the engine cannot be kept running", error=self.fatal)

    def suspect(self) -> None:
        """A request found the engine dead: look now rather than at the next turn."""
        self._suspected.set()

    def waiting_for(self) -> list[str]:
        """What keeps the service from answering, in words; empty when it is ready."""
        waiting = [self._engine_state] if self._engine_state else []
        if self._catalogue.snapshot is EMPTY:
            waiting.append(f"the registry has not been read yet ({self._catalogue.problem or 'reading'})")
        return waiting

    async def _until_dead(self) -> None:
        while True:
            try:
                await self._engine.check()
            except EngineDead as error:
                log.error("the engine died; its requests were answered with an error", error=str(error))
                return
            self._suspected.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_EVERY):
                    await self._suspected.wait()

    async def _restart(self) -> None:
        """Raises the last error when every attempt failed."""
        last: DabtError = EngineDead("the engine died, and restarts are switched off")
        for attempt in range(self._attempts):
            self._engine_state = f"the engine died and is being restarted (attempt {attempt + 1} of {self._attempts})"
            self._residency.forget_all()
            with suppress(DabtError):
                await self._engine.stop()
            await self._pause(min(2.0**attempt, _LONGEST_PAUSE))
            try:
                self.facts = await self._engine.start()
            except InvalidInput:
                raise  # another attempt would end the same way
            except DabtError as error:
                log.warning("the engine did not start again", attempt=attempt + 1, error=str(error))
                last = error
                continue
            self._telemetry.engine_restarted()
            log.info("engine restarted", attempt=attempt + 1)
            self._engine_state = ""
            return
        raise last
