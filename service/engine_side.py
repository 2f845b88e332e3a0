"""What stands around one engine in its process: adapters in its memory, slots of its batch, and its life.

`parts.py` puts the API in front of it, `cluster/room.py` answers gateways elsewhere.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.manifests import AdapterManifest, WeightsManifest
from lifecycle.models.answers import bare_spec
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest
from service.adapters import golden
from service.adapters.admission_gate import AdmissionGate
from service.adapters.residency import Adapters, Limits, Residency
from service.adapters.warming import Plan, Warmer
from service.catalogue import Catalogue
from service.classification.residents import Classifiers
from service.concurrency import Bulkhead
from service.config import ServeConfig
from service.engine.interface import AdapterHandle, Engine, EngineFacts
from service.engine.supervise import Patience, Supervisor
from service.observability.telemetry import Telemetry
from service.resolution import Base

REGISTRY_SECONDS = 60.0
"""For one call. A locked registry answers sooner than that; one that hangs never does."""
_NO_BOUND = 2**62


@dataclass(frozen=True)
class EngineSide:
    """Belongs to one event loop."""

    base: Base
    residency: Adapters
    gate: AdmissionGate
    warmer: Warmer
    supervisor: Supervisor


@dataclass(frozen=True)
class Elsewhere:
    """Engines in other processes, where the service's engine is only the way to them. They give out their own slots."""

    adapters: Adapters
    beside: tuple[ServeConfig, ...] = ()
    """Settings of other bases' engines."""


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
    slots = config.max_loras if elsewhere is None else _NO_BOUND
    gate = AdmissionGate(slots, config.turn_seconds, config.queue)

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
        gate.max_waiting = config.max_queue or facts.max_queue

    supervisor.started = started
    telemetry.gauge("resident_adapters", "Adapters in the engine's memory", lambda: len(residency.residents()))
    telemetry.gauge("adapter_leases", "Requests that hold an adapter", residency.leases)
    telemetry.gauge("registry_age_seconds", "Since the registry was last read", lambda: catalogue.age)
    telemetry.gauge("ready", "1 when /ready answers 200", lambda: float(not supervisor.waiting_for()))
    telemetry.gauge("slots_taken", "Adapters in the batch", lambda: gate.taken)
    telemetry.gauge("waiting_for_slot", "Requests that wait for a slot in the batch", lambda: gate.waiting)
    telemetry.gauge("engine_up", "1 when the engine answers", lambda: float(supervisor.engine_up))
    return EngineSide(base, residency, gate, warmer, supervisor)


def base_of(config: ServeConfig, beside: Sequence[ServeConfig] = ()) -> Base:
    """Raises `InvalidInput` when a folder is not a whole model, and `InvalidConfig` for two of one kind."""
    bare = bare_spec(config.base)
    base = Base(config.served_name, bare.base, bare.answers, bare.decoding, tuple(map(base_of, beside)), bare.digest)
    for same in ("name", "digest"):
        told = [str(getattr(each, same)) for each in base.every]
        if twice := sorted({value for value in told if told.count(value) > 1}):
            fault = Problem("base", f"{', '.join(twice)} is the {same} of two bases", "serve one of them, or name them")
            raise InvalidConfig("Bases cannot be told apart:", [fault])
    return base
