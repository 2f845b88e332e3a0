"""What a service is made of, and how the parts are put together."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from lifecycle.errors import DabtError
from lifecycle.manifests import AdapterManifest, ClassifierManifest, WeightsManifest
from lifecycle.registry import Registry
from lifecycle.registry.hints import Hints
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest
from service.access.accounts import Accounts
from service.access.ledger import Ledger
from service.access.limiter import Limiter
from service.adapters.admission_gate import Gate
from service.adapters.residency import Adapters
from service.adapters.warming import Plan, Warmer
from service.catalogue import Catalogue
from service.classification.residents import ClassifierLimits, Classifiers
from service.cluster.asking import Card
from service.concurrency import Background, Bulkhead
from service.config import ServeConfig
from service.deployment import OwnDeployment
from service.engine.interface import Engine, EngineFacts
from service.engine.supervise import Supervisor
from service.engine_side import REGISTRY_SECONDS, Beside, Elsewhere, EngineSide, engine_side
from service.knowledge import Library
from service.last_known import LastKnown
from service.observability.alias_series import AliasSeries
from service.observability.router_series import Loaded, Names
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
    residency: Adapters
    warmer: Warmer
    gate: Gate
    library: Library
    classifiers: Classifiers
    embedder: Embedder | None
    supervisor: Supervisor
    rooms: Callable[[], Sequence[Card]]
    """What each engine tells of itself, where there are several; none where the service's own is the only one."""
    far: bool
    """Rooms lease adapters and give out slots: nothing is waited for on the way to them."""
    telemetry: Telemetry
    under_way: UnderWay
    accounts: Accounts
    prefix_cache: PrefixCache
    traffic: Traffic
    at_registry: Bulkhead
    """Threads for whoever reads the registry itself, or changes it: it may be locked."""
    tuned: TunedNames
    router_names: Names
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

    def loaded(self) -> list[Loaded]:
        """The adapters in memory, as routers outside are told of them; of several rooms, what each has told."""
        ranks = {digest: self._rank(digest) for digest in self.residency.digests()}
        if self.far:
            return [
                Loaded(each.digest, ranks.get(each.digest, 0), each.in_slot, each.wanted, each.pinned, card.room)
                for card in self.rooms()
                for each in card.held
            ]
        in_slots, wanted = self.gate.in_slots, self.gate.wanted
        return [
            Loaded(each.digest, ranks.get(each.digest, 0), each.name in in_slots, each.name in wanted, each.pinned)
            for each in self.residency.residents()
        ]

    def coming(self) -> list[Digest]:
        """Adapters that are being loaded for requests."""
        here = {each.digest for each in self.residency.residents()}
        return [digest for digest in self.residency.digests() if digest not in here]

    def at_gates(self) -> dict[str, int]:
        """Requests that wait for a slot, by room; of an engine that is alone the room has no name."""
        return {card.room: card.waiting for card in self.rooms()} if self.far else {"": self.gate.waiting}

    def _rank(self, digest: Digest) -> int:
        """0 where the registry has not told."""
        manifest = self.catalogue.known_manifest(digest)
        return manifest.rank if isinstance(manifest, AdapterManifest) else 0

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
    elsewhere: Elsewhere | None = None,
) -> Parts:
    """Put a service together. Raises `InvalidInput` when `config.base` is not a whole model folder.

    `weights` is what is known of `config.base`, where that is whole weights of the store: the engine must compute what
    was recorded of them, or the service does not start.

    Without `last_known` nothing is kept for a start without the registry. `elsewhere` says
    whom `engine` is only the way to.
    """
    catalogue = Catalogue(registry, config.poll_seconds, last_known)
    telemetry = Telemetry()
    reading = Bulkhead("registry", at_once=8, waiting=1024, seconds=REGISTRY_SECONDS)
    classifiers = _classifiers(config, store, catalogue, reading, telemetry)
    beside = Beside(store, catalogue, telemetry, reading, classifiers, weights, elsewhere)
    side = engine_side(config, engine, beside, Plan(config.preload, config.pin))
    base, residency, gate, supervisor = side.base, side.residency, side.gate, side.supervisor
    accounts = Accounts(
        Limiter(config.limits_url), Ledger(registry.usage, config.usage_seconds), at_once=_of_one_key(config.queue)
    )

    started = supervisor.started

    def known(facts: EngineFacts) -> None:
        started(facts)
        accounts.at_once = _of_one_key(gate.max_waiting)

    supervisor.started = known
    # Fewer than the connections that a registry's pool gives out: reading goes on while all of these wait.
    at_registry = Bulkhead("registry", at_once=8, waiting=64, seconds=REGISTRY_SECONDS)

    own = [weights.digest] if weights is not None else [*(elsewhere.weights if elsewhere is not None else ())]
    store.cache.in_use = lambda: [*own, *residency.digests(), *classifiers.digests()]
    telemetry.registry.register(AliasSeries(lambda: catalogue.snapshot))
    telemetry.gauge("registry_calls", "Calls that the registry has not answered yet", at_registry.calls)
    background = Background()
    exchange = CanaryExchange(registry.outcomes, at_registry.run, config.canary_seconds)
    guard = CanaryGuard(registry, catalogue.refresh, telemetry, background, exchange, at_registry.run)
    rooms = elsewhere.rooms if elsewhere is not None else _no_rooms
    _watch(side, catalogue, telemetry, rooms)
    telemetry.gauge("canaries_stuck", "Canaries that broke a bound and cannot be rolled back yet", guard.stuck)
    records = Records(config.shadow_folder) if config.shadow_folder is not None else None
    others = [
        (each.digest, each.folder, settings)
        for each, settings in zip(base.beside, elsewhere.beside if elsewhere is not None else (), strict=True)
    ]
    shadows = Shadows(records, telemetry, busy=lambda: gate.waiting > 0 or bool(supervisor.waiting_for()))
    return Parts(
        base=base,
        deployment=OwnDeployment(config, base.folder, others),
        engine=engine,
        catalogue=catalogue,
        hints=registry.changes.hints(catalogue.look_soon),
        models=ModelList(),
        residency=residency,
        warmer=side.warmer,
        gate=gate,
        classifiers=classifiers,
        library=Library(
            store, config.fetch_seconds, base=config.base, beside={at: each.base for at, _, each in others}
        ),
        embedder=None if config.embedding_model == "none" else Embedder(config.embedding_model),
        supervisor=supervisor,
        rooms=rooms,
        far=elsewhere is not None,
        telemetry=telemetry,
        under_way=UnderWay(),
        prefix_cache=PrefixCache(config.prefix_cache == "shared"),
        accounts=accounts,
        traffic=Traffic(base, guard, shadows, background, residency.failed_load),
        at_registry=at_registry,
        tuned=TunedNames(registry.jobs, catalogue, at_registry),
        router_names=Names(),
        store=store,
        at_store=Bulkhead("artifact store", at_once=8, waiting=256, seconds=_STORE_SECONDS),
    )


def _no_rooms() -> Sequence[Card]:
    return ()


def _watch(side: EngineSide, catalogue: Catalogue, telemetry: Telemetry, rooms: Callable[[], Sequence[Card]]) -> None:
    def silent() -> bool:
        """Of some base no engine answers."""
        here = rooms()
        answering = {room.base for room in here if not room.problem}
        return any(room.base not in answering for room in here)

    residency, gate, supervisor = side.residency, side.gate, side.supervisor
    telemetry.gauge("resident_adapters", "Adapters in the engine's memory", lambda: len(residency.residents()))
    telemetry.gauge("adapter_leases", "Requests that hold an adapter", residency.leases)
    telemetry.gauge("pins_missing", "Pins that are not in memory", lambda: len(side.warmer.missing()))
    telemetry.gauge("registry_age_seconds", "Since the registry was last read", lambda: catalogue.age)
    telemetry.gauge("ready", "1 when /ready answers 200", lambda: float(not supervisor.waiting_for()))
    telemetry.gauge("slots_taken", "Adapters in the batch", lambda: gate.taken)
    telemetry.gauge("waiting_for_slot", "Requests that wait for a slot in the batch", lambda: gate.waiting)
    telemetry.gauge(
        "engine_up",
        "1 when every base has an engine that answers",
        lambda: float(supervisor.engine_up and not silent()),
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
