"""What a service is made of, and how the parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from lifecycle.errors import DabtError
from lifecycle.manifests import AdapterManifest, ClassifierManifest, WeightsManifest
from lifecycle.models.answers import bare_spec
from lifecycle.registry import Registry
from lifecycle.registry.hints import Hints
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest
from service.access.accounts import Accounts
from service.access.ledger import Ledger
from service.access.limiter import Limiter
from service.adapters import golden
from service.adapters.admission_gate import AdmissionGate
from service.adapters.residency import Limits, Residency
from service.adapters.warming import Plan, Warmer
from service.catalogue import Catalogue
from service.classification.residents import ClassifierLimits, Classifiers
from service.concurrency import Background, Bulkhead
from service.config import ServeConfig
from service.deployment import OwnDeployment
from service.engine.interface import AdapterHandle, Engine, EngineFacts
from service.engine.supervise import Patience, Supervisor
from service.knowledge import Library
from service.last_known import LastKnown
from service.observability.alias_series import AliasSeries
from service.observability.telemetry import Telemetry
from service.openai.embedder import Embedder
from service.openai.models import ModelList
from service.openai.prefix_cache import PrefixCache
from service.resolution import Base
from service.traffic.canary_exchange import CanaryExchange
from service.traffic.canary_guard import CanaryGuard
from service.traffic.policies import Traffic
from service.traffic.shadow import Shadows
from service.traffic.shadow_records import Records
from service.tuned_names import TunedNames
from service.under_way import UnderWay

if TYPE_CHECKING:
    from fastapi import Request

_REGISTRY_SECONDS = 60.0
"""For one call. A locked registry answers sooner than that; one that hangs never does."""
_STORE_SECONDS = 600.0
"""For a file that callers send or read: the largest take minutes to a slow store."""


@dataclass(frozen=True)
class Parts:
    """What a service is made of."""

    base: Base
    deployment: OwnDeployment
    engine: Engine
    catalogue: Catalogue
    hints: Hints
    models: ModelList
    residency: Residency
    warmer: Warmer
    gate: AdmissionGate
    library: Library
    classifiers: Classifiers
    embedder: Embedder | None
    supervisor: Supervisor
    telemetry: Telemetry
    under_way: UnderWay
    accounts: Accounts
    prefix_cache: PrefixCache
    traffic: Traffic
    at_registry: Bulkhead
    """Threads for whoever reads the registry itself, or changes it: it may be locked."""
    tuned: TunedNames
    store: ArtifactStore
    at_store: Bulkhead
    """Threads for what callers send to the store, or read from it."""

    async def drain(self, seconds: float) -> bool:
        """Let nothing more in and wait for what was let in. False when `seconds` were not enough.

        Changes of the registry are not waited for: one that waits for a lock may do so for long.
        """
        self.under_way.drain()
        await self.traffic.shadows.stop()
        try:
            async with asyncio.timeout(seconds):
                await self.under_way.idle()
        except TimeoutError:
            return False
        finally:
            self.at_registry.leave()
        return True

    async def cut_off(self) -> None:
        """End what is still under way with an error, which its callers can read, rather than with their connections."""
        await self.supervisor.stop()
        await self.engine.stop()

    @property
    def most_answers(self) -> int:
        """That one request may ask for: as many as the engine's queue holds."""
        return self.gate.max_waiting

    async def catch_up(self) -> None:
        """See a change that was just made now. It stands whether this succeeds or not: the next poll sees it too."""
        with suppress(DabtError):
            await self.at_registry.run(self.catalogue.refresh)


def assemble(
    config: ServeConfig,
    engine: Engine,
    registry: Registry,
    store: ArtifactStore,
    last_known: LastKnown | None = None,
    weights: WeightsManifest | None = None,
) -> Parts:
    """Put a service together. Raises `InvalidInput` when `config.base` is not a whole model folder.

    `weights` is what is known of `config.base`, where that is whole weights of the store: the engine must compute what
    was recorded of them, or the service does not start.

    Without `last_known` nothing is kept for a start without the registry.
    """
    catalogue = Catalogue(registry, config.poll_seconds, last_known)
    telemetry = Telemetry()

    bare = bare_spec(config.base)
    base = Base(config.served_name, bare.base, bare.answers, bare.decoding)
    gate = AdmissionGate(config.max_loras, config.turn_seconds, config.queue)
    accounts = Accounts(
        Limiter(config.limits_url), Ledger(registry.usage, config.usage_seconds), at_once=_of_one_key(config.queue)
    )

    def started(facts: EngineFacts) -> None:
        """What the queue holds is known for sure when the engine runs: it follows the device."""
        gate.max_waiting = config.max_queue or facts.max_queue
        accounts.at_once = _of_one_key(gate.max_waiting)

    # Fewer than the connections that a registry's pool gives out: reading goes on while all of these wait.
    at_registry = Bulkhead("registry", at_once=8, waiting=64, seconds=_REGISTRY_SECONDS)
    # Apart from changes, which may wait for a lock: what a load reads is in memory as a rule.
    reading = Bulkhead("registry", at_once=8, waiting=1024, seconds=_REGISTRY_SECONDS)

    @asynccontextmanager
    async def verified(adapter: AdapterHandle, digest: Digest) -> AsyncIterator[None]:
        # From memory as a rule, so that a registry that is locked or away is not waited for.
        manifest = catalogue.known_manifest(digest)
        if manifest is None:
            manifest = await reading.run(catalogue.manifest, digest)
        assert isinstance(manifest, AdapterManifest), "a version names as its adapter nothing else"
        # Golden prompts need a slot as requests do. Those who waited for the load join the turn before it ends.
        async with gate.turn(adapter.name):
            await golden.verify(engine, adapter, manifest, config.golden_tolerance)
            yield

    limits = Limits(capacity=config.max_cpu_loras, wait=config.load_wait_seconds, fetch=config.fetch_seconds)
    residency = Residency(engine, store, verified, limits, telemetry)
    classifiers = _classifiers(config, store, catalogue, reading, telemetry)
    own = () if weights is None else (weights.digest,)
    store.cache.in_use = lambda: [*own, *residency.digests(), *classifiers.digests()]
    warmer = Warmer(residency, classifiers, base, lambda: catalogue.snapshot, Plan(config.preload, config.pin))
    patience = Patience(config.restart_attempts, config.engine_silent_seconds)
    supervisor = Supervisor(engine, residency, catalogue, telemetry, patience)
    supervisor.warm_up = warmer.start
    if weights is not None:
        supervisor.prove = partial(golden.verify_weights, engine, weights, config.golden_tolerance)
    telemetry.gauge("resident_adapters", "Adapters in the engine's memory", lambda: len(residency.residents()))
    telemetry.gauge("adapter_leases", "Requests that hold an adapter", residency.leases)
    telemetry.gauge("registry_age_seconds", "Since the registry was last read", lambda: catalogue.age)
    telemetry.gauge("ready", "1 when /ready answers 200", lambda: float(not supervisor.waiting_for()))
    supervisor.started = started
    telemetry.gauge("slots_taken", "Adapters in the batch", lambda: gate.taken)
    telemetry.gauge("waiting_for_slot", "Requests that wait for a slot in the batch", lambda: gate.waiting)
    telemetry.gauge("engine_up", "1 when the engine answers", lambda: float(supervisor.engine_up))
    telemetry.registry.register(AliasSeries(lambda: catalogue.snapshot))
    telemetry.gauge("registry_calls", "Calls that the registry has not answered yet", at_registry.calls)
    background = Background()
    exchange = CanaryExchange(registry.outcomes, at_registry.run, config.canary_seconds)
    guard = CanaryGuard(registry, catalogue.refresh, telemetry, background, exchange, at_registry.run)
    telemetry.gauge("canaries_stuck", "Canaries that broke a bound and cannot be rolled back yet", guard.stuck)
    records = Records(config.shadow_folder) if config.shadow_folder is not None else None
    shadows = Shadows(records, telemetry, busy=lambda: gate.waiting > 0 or bool(supervisor.waiting_for()))
    return Parts(
        base=base,
        deployment=OwnDeployment(config, bare.digest),
        engine=engine,
        catalogue=catalogue,
        hints=registry.changes.hints(catalogue.look_soon),
        models=ModelList(),
        residency=residency,
        warmer=warmer,
        gate=gate,
        classifiers=classifiers,
        library=Library(store, config.fetch_seconds, base=config.base),
        embedder=None if config.embedding_model == "none" else Embedder(config.embedding_model),
        supervisor=supervisor,
        telemetry=telemetry,
        under_way=UnderWay(),
        prefix_cache=PrefixCache(config.prefix_cache == "shared"),
        accounts=accounts,
        traffic=Traffic(base, guard, shadows, background, residency.failed_load),
        at_registry=at_registry,
        tuned=TunedNames(registry.jobs, catalogue, at_registry),
        store=store,
        at_store=Bulkhead("artifact store", at_once=8, waiting=256, seconds=_STORE_SECONDS),
    )


def _classifiers(
    config: ServeConfig, store: ArtifactStore, catalogue: Catalogue, reading: Bulkhead, telemetry: Telemetry
) -> Classifiers:
    async def manifest(digest: Digest) -> ClassifierManifest:
        known = catalogue.known_manifest(digest) or await reading.run(catalogue.manifest, digest)
        assert isinstance(known, ClassifierManifest), "a version names as its classifier nothing else"
        return known

    limits = ClassifierLimits(int(config.classifier_gib * 2**30), config.fetch_seconds)
    classifiers = Classifiers(store, manifest, limits, telemetry.classifiers)
    telemetry.gauge("resident_classifiers", "Classifiers in memory", classifiers.count)
    telemetry.gauge("classifier_bytes", "Weights of the classifiers in memory", classifiers.bytes)
    return classifiers


def _of_one_key(queue: int) -> int:
    """Half of the queue, so that there is always room for somebody else."""
    return max(1, queue // 2)


def parts_of(request: Request) -> Parts:
    """Of the service that this request came to."""
    parts: Parts = request.app.state.parts
    return parts
