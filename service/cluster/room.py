"""An engine room: one engine, the adapters in its memory and the slots of its batch, behind one question.

It is what stands behind `dabt serve` too, without the API: a room loads and verifies an adapter, keeps what is pinned,
lets requests take turns and starts a dead engine again. It knows neither HTTP nor Ray. Read `asking.py` for what it is
asked, `fleet.py` for who asks.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Collection
from contextlib import AsyncExitStack, aclosing, suppress
from dataclasses import dataclass, replace

import structlog

from lifecycle.errors import DabtError, EngineDead, Overloaded, Unavailable
from lifecycle.manifests import WeightsManifest
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from service.adapters.residency import ResidentAdapter
from service.adapters.warming import Plan
from service.catalogue import Catalogue
from service.cluster.asking import Ask, Begun, Card, Frame, Held, Refusal
from service.cluster.scaling import CalledLately, Memory
from service.concurrency import Bulkhead
from service.config import ServeConfig
from service.engine.interface import Call, Engine, EngineAnswer, EngineFacts, Tally
from service.engine_side import REGISTRY_SECONDS, Beside, EngineSide, engine_side, let_in
from service.observability import spans
from service.observability.telemetry import Telemetry
from service.observability.tracer import Tracer
from service.openai import http_errors

log = structlog.get_logger(__name__)

_AGES_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class _Waits:
    """Seconds that a request waited in the room before the engine had it."""

    adapter: float = 0.0
    slot: float = 0.0

    def in_tally(self, tally: Tally) -> Tally:
        if not self.adapter and not self.slot:
            return tally
        queue, first = tally.queue, tally.first_token
        told = {
            "queue": None if queue is None else queue + self.slot,
            "first_token": None if first is None else first + self.adapter + self.slot,
        }
        return tally.model_copy(update=told)


class EngineRoom:
    """Belongs to one event loop. No other room that one gateway knows has its `name`."""

    def __init__(self, name: str, config: ServeConfig, engine: Engine, beside: Beside, plan: Plan) -> None:
        """Raises `InvalidInput` when `config.base` is not a whole model folder."""
        self.name = name
        self._side = engine_side(config, engine, beside, plan)
        self.telemetry = beside.telemetry
        self.tracer: Tracer | None = None
        """Of a room in a process of its own; elsewhere a request's own is at hand."""
        self._side.supervisor.log = log.bind(base=self._side.base.name)
        self._engine = engine
        self._slots = config.max_loras
        self._asked = 0
        self._told: tuple[Card, float] | None = None
        """The card that was told last, and when it was made."""
        self._called = CalledLately()
        self._supervision: asyncio.Task[None] | None = None

    @property
    def side(self) -> EngineSide:
        return self._side

    async def open(self) -> None:
        """Return when the engine answers. Raises `EngineDead` when there will be none."""
        self._supervision = asyncio.create_task(self._side.supervisor.run())
        try:
            await self._side.supervisor.until_up()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Every request under way ends with `EngineDead`."""
        if self._supervision is not None:
            self._supervision.cancel()
            with suppress(asyncio.CancelledError):
                await self._supervision
        await self._side.warmer.stop()
        await self._engine.stop()

    def check(self) -> None:
        """Raises `EngineDead` once the engine cannot be kept running: this room is then of no more use."""
        if (fatal := self._side.supervisor.fatal) is not None:
            raise EngineDead(fatal)

    def card(self) -> Card:
        """The same as before while nothing happens, so that nothing is sent to anybody then; made anew at times, so
        that who sees it for the first time is told ages that are not much older.
        """
        made, now = self._card(), time.monotonic()
        if self._told is None or self._told[0] != made or now - self._told[1] >= _AGES_SECONDS:
            self._told = made, now
        return self._told[0]

    def _card(self) -> Card:
        side = self._side
        waiting_for = side.supervisor.waiting_for()
        in_slots, wanted = side.gate.in_slots, side.gate.wanted
        return Card(
            room=self.name,
            base=side.base.digest,
            problem="; ".join(waiting_for),
            since=round(side.supervisor.since.timestamp()),
            restarts=side.supervisor.restarts,
            capacity=0 if waiting_for else side.gate.max_waiting,
            busy=self._asked,
            waiting=side.gate.waiting,
            places=side.residency.capacity,
            slots=self._slots,
            slots_taken=side.gate.taken,
            held=tuple(_held(each, in_slots, wanted) for each in side.residency.residents()),
            failures=side.residency.failures(),
            structured_output=self._engine.structured_output(),
        )

    def memory(self, within: float) -> Memory:
        """What its memory was asked to hold in the last so many seconds."""
        residents = self._side.residency
        pinned = {resident.digest for resident in residents.residents() if resident.pinned}
        return Memory(residents.capacity - len(pinned), len(self._called.digests(within) - pinned))

    async def answer(self, ask: Ask) -> AsyncGenerator[Frame, None]:
        """`Begun`, then what was asked for, or a `Refusal`. Closing it early frees the request before `aclose` returns.

        Raises nothing of its own: an error would arrive elsewhere as something else.
        """
        yield Begun(self.name)
        self._asked += ask.task != "metrics"
        taken = False
        try:
            if waiting := self._side.supervisor.waiting_for():
                raise Unavailable(
                    f"the engine of {self._side.base.name} is not ready: {'; '.join(waiting)}", retry_after=5.0
                )
            async with AsyncExitStack() as held:
                call, waits = await self._let_in(ask, held)
                taken = True
                async with aclosing(self._done(ask, call)) as frames:
                    async for frame in frames:
                        yield _later(frame, waits)
        except Exception as error:
            if isinstance(error, EngineDead):
                self._side.supervisor.suspect()
            elif not isinstance(error, DabtError):
                log.exception("a request failed", exc_info=error)
            told = error if isinstance(error, DabtError) else http_errors.unexpected()
            yield Refusal(told, self.name, taken and not isinstance(error, Overloaded))
        finally:
            self._asked -= ask.task != "metrics"

    async def _let_in(self, ask: Ask, held: AsyncExitStack) -> tuple[Call | None, _Waits]:
        """Its adapter is loaded and has a slot."""
        if ask.call is None or ask.digest is None:
            return ask.call, _Waits()
        began = time.monotonic()
        self._called.call(ask.digest)
        with spans.going_on(self.tracer, ask.call.trace):
            adapter, slot = await let_in(ask.digest, self._side.residency, self._side.gate, held)
        return replace(ask.call, adapter=adapter), _Waits(max(0.0, time.monotonic() - began - slot), slot)

    async def _done(self, ask: Ask, call: Call | None) -> AsyncGenerator[Frame, None]:
        engine = self._engine
        if ask.task == "facts":
            yield self._facts()
        elif ask.task == "prefetch":
            assert ask.digest is not None, "an adapter is loaded ahead, and nothing else"
            yield await self._side.residency.prefetch(ask.digest)
        elif ask.task == "metrics":
            self.telemetry.look()
            yield await asyncio.to_thread(self.telemetry.page) + await engine.metrics()
        elif ask.task == "tokenize":
            yield await engine.tokenize(dict(ask.body))
        elif ask.task == "detokenize":
            yield await engine.detokenize(dict(ask.body))
        else:
            assert call is not None, "whoever asks for an answer says to what"
            if ask.task == "stream":
                async with aclosing(engine.stream(call)) as items:
                    async for item in items:
                        yield item
            else:
                yield await (engine.likelihoods(call) if ask.task == "likelihoods" else engine.generate(call))

    def _facts(self) -> EngineFacts:
        facts = self._side.supervisor.facts
        assert facts is not None, "a room that is ready knows its engine"
        return facts


class LoneRoom(EngineRoom):
    """A room in a process of its own, which reads the registry itself and keeps what it must hold."""

    def __init__(
        self,
        name: str,
        config: ServeConfig,
        engine: Engine,
        registry: Registry,
        store: ArtifactStore,
        weights: WeightsManifest | None = None,
    ) -> None:
        """Raises `InvalidInput` when `config.base` is not a whole model folder."""
        self._catalogue = Catalogue(registry, config.poll_seconds)
        reading = Bulkhead("registry", at_once=8, waiting=1024, seconds=REGISTRY_SECONDS)
        beside = Beside(store, self._catalogue, Telemetry(), reading, weights=weights)
        super().__init__(name, config, engine, beside, Plan(config.preload, config.pin, ahead=False))
        store.cache.in_use = self._side.residency.digests
        self.tracer = spans.tracer_of(config)

    async def open(self) -> None:
        """Return when the engine answers and what this room must hold is loaded and verified.

        Raises the errors of what cannot be held, all of them together, and `EngineDead` when there is no engine.
        """
        loop = asyncio.get_running_loop()
        changed = self._side.warmer.changed
        self._catalogue.on_change = lambda before, after: loop.call_soon_threadsafe(changed, before, after)
        self._catalogue.start()
        await super().open()
        try:
            await self._side.supervisor.until_ready()
            await self._hold()
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        await super().close()
        await asyncio.to_thread(self._catalogue.stop)
        if self.tracer is not None:
            await asyncio.to_thread(self.tracer.close)

    async def _hold(self) -> None:
        """What could not be loaded ahead keeps a room closed: another one answers meanwhile."""
        faults: list[DabtError] = []
        for digest in self._side.warmer.adapters():
            try:
                if not await self._side.residency.prefetch(digest):
                    faults.append(Overloaded(f"{digest} finds no place in memory"))
            except DabtError as error:
                faults.append(error)
        if faults:
            raise Unavailable(f"this engine does not hold what it must: {'; '.join(map(str, faults))}") from faults[0]


def _held(resident: ResidentAdapter, in_slots: Collection[str], wanted: Collection[str]) -> Held:
    return Held(
        resident.digest,
        resident.leases,
        resident.requests,
        resident.pinned,
        resident.resident_seconds,
        in_slot=resident.name in in_slots,
        wanted=resident.name in wanted,
    )


def _later(frame: Frame, waits: _Waits) -> Frame:
    """Its caller waited before the engine's door: that is part of what the answer took."""
    if isinstance(frame, EngineAnswer):
        return replace(frame, tally=waits.in_tally(frame.tally))
    return waits.in_tally(frame) if isinstance(frame, Tally) else frame
