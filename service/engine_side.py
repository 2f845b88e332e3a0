"""What stands around one engine in its process: adapters in its memory, slots of its batch, and its life.

`parts.py` puts the API in front of it, `cluster/room.py` answers gateways elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.manifests import AdapterManifest, WeightsManifest
from lifecycle.models.answers import bare_spec
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest
from service.adapters import golden
from service.adapters.admission_gate import AdmissionGate, Gate
from service.adapters.residency import Adapters, Limits, Residency
from service.adapters.warming import Plan, Warmer
from service.catalogue import Catalogue
from service.classification.residents import Classifiers
from service.cluster.asking import Card
from service.concurrency import Bulkhead
from service.config import ServeConfig
from service.engine.interface import AdapterHandle, Engine, EngineFacts
from service.engine.supervise import Patience, Supervisor
from service.observability.spans import span
from service.observability.telemetry import Telemetry
from service.resolution import Base

REGISTRY_SECONDS = 60.0
"""For one call. A locked registry answers sooner than that; one that hangs never does."""


@dataclass(frozen=True)
class EngineSide:
    """Belongs to one event loop."""

    base: Base
    residency: Adapters
    gate: Gate
    warmer: Warmer
    supervisor: Supervisor


@dataclass(frozen=True)
class Elsewhere:
    """Engine rooms, where the service's engine is only the way to them. They give out their own slots."""

    adapters: Adapters
    gate: Gate
    rooms: Callable[[], Sequence[Card]]
    """What each of them tells of itself now."""
    beside: tuple[ServeConfig, ...] = ()
    """Settings of other bases' engines."""
    join: Callable[[EngineSide, Beside], None] = lambda side, beside: None
    """Called once, before anything is asked: with the side of the service itself, and what rooms may share with it."""
    weights: tuple[Digest, ...] = ()
    """Whole weights of the store that are read from this machine's copy."""


@dataclass(frozen=True)
class Beside:
    """What an engine's side is made with, besides its configuration."""

    store: ArtifactStore
    catalogue: Catalogue
    telemetry: Telemetry
    reading: Bulkhead
    """Threads for what a load reads of the registry: apart from changes, which may wait for a lock."""
    classifiers: Classifiers | None = None
    """Loaded ahead and kept as adapters are; None where others answer for them."""
    weights: WeightsManifest | None = None
    """Of the base, where that is whole weights of the store: the engine must compute what was recorded of them."""
    elsewhere: Elsewhere | None = None


def engine_side(config: ServeConfig, engine: Engine, beside: Beside, plan: Plan) -> EngineSide:
    """Raises `InvalidInput` when `config.base` is not a whole model folder."""
    catalogue, telemetry = beside.catalogue, beside.telemetry
    elsewhere = beside.elsewhere
    base = base_of(config, elsewhere.beside if elsewhere is not None else ())
    gate: Gate
    if elsewhere is None:
        gate = AdmissionGate(config.max_loras, config.turn_seconds, config.queue)
    else:
        gate = elsewhere.gate
        gate.max_waiting = config.queue

    @asynccontextmanager
    async def verified(adapter: AdapterHandle, digest: Digest) -> AsyncIterator[None]:
        # From memory as a rule, so that a registry that is locked or away is not waited for.
        manifest = catalogue.known_manifest(digest)
        if manifest is None:
            manifest = await beside.reading.run(catalogue.manifest, digest)
        assert isinstance(manifest, AdapterManifest), "a version names as its adapter nothing else"
        # Golden prompts need a slot as requests do. Those who waited for the load join the turn before it ends.
        async with gate.turn(adapter.name):
            await golden.verify(engine, adapter, manifest, config.golden_tolerance)
            yield

    limits = Limits(capacity=config.max_cpu_loras, wait=config.load_wait_seconds, fetch=config.fetch_seconds)
    residency: Adapters
    if elsewhere is not None:
        residency = elsewhere.adapters
    else:
        residency = Residency(engine, beside.store, verified, limits, telemetry)
    warmer = Warmer(residency, beside.classifiers, base, lambda: catalogue.snapshot, plan)
    patience = Patience(config.restart_attempts, config.engine_silent_seconds)
    supervisor = Supervisor(engine, residency, catalogue, telemetry, patience)
    supervisor.warm_up = warmer.start
    if beside.weights is not None:
        supervisor.prove = partial(golden.verify_weights, engine, beside.weights, config.golden_tolerance)

    def started(facts: EngineFacts) -> None:
        """What the queue holds is known for sure when the engine runs: it follows the device."""
        gate.max_waiting = max(
            [config.max_queue or facts.max_queue, *(each.max_queue for each in facts.beside.values())]
        )

    supervisor.started = started
    side = EngineSide(base, residency, gate, warmer, supervisor)
    if elsewhere is not None:
        elsewhere.join(side, beside)
    return side


async def let_in(digest: Digest, residency: Adapters, gate: Gate, held: AsyncExitStack) -> tuple[AdapterHandle, float]:
    """Lease an adapter, loading it first if need be, and take a slot for it: returned with the seconds that it waited
    for the slot. `held` gives both back. Each is a step in the trace of the request at hand.
    """
    with span("lease", {"dabt.adapter": digest}):
        adapter = await held.enter_async_context(residency.lease(digest))
    with span("slot"):
        waited = await held.enter_async_context(gate.turn(adapter.name))
    return adapter, waited


def base_of(config: ServeConfig, beside: Sequence[ServeConfig] = ()) -> Base:
    """Raises `InvalidInput` when a folder is not a whole model, and `InvalidConfig` for two of one kind."""
    bare = bare_spec(config.base)
    base = Base(config.served_name, bare.base, bare.answers, bare.decoding, tuple(map(base_of, beside)), bare.digest)
    for same, cure in (("name", "name them: --base NAME=BASE"), ("digest", "serve one of them")):
        told = [str(getattr(each, same)) for each in base.every]
        if twice := sorted({value for value in told if told.count(value) > 1}):
            fault = Problem("base", f"{', '.join(twice)} is the {same} of two bases", cure)
            raise InvalidConfig("Bases cannot be told apart:", [fault])
    return base
