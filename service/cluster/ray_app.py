"""The service on Ray Serve: a deployment of gateways, and one of engines for each base.

`dabt cluster up` runs it, and so does `serve run service.cluster.ray_app:build settings=deploy/ray/cluster.yaml`. Read
`settings.py` for the file, `room.py` and `fleet.py` for what replicas do, `ray_router.py` for how one is chosen.
"""

from __future__ import annotations

import pickle
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from ray import serve
from ray.serve.config import AutoscalingConfig, AutoscalingPolicy, RequestRouterConfig
from ray.serve.handle import DeploymentHandle

from lifecycle.errors import DabtError
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from service.cluster import ray_scaling
from service.cluster.asking import Ask, Frame
from service.cluster.fleet import FleetEngine
from service.cluster.nodes import RARER
from service.cluster.ray_line import RayLine
from service.cluster.ray_router import CARD
from service.cluster.ray_workers import WorkerReplica
from service.cluster.room import LoneRoom
from service.cluster.scaling import Jobs
from service.cluster.settings import ClusterSettings, EngineTier, Needs, Replicas, Workers, read_settings
from service.config import ServeConfig
from service.engine.interface import Engine
from service.engine_side import base_of

_IN_ONE_LOOP = {"RAY_SERVE_RUN_ROUTER_IN_SEPARATE_LOOP": "0", "RAY_SERVE_RUN_USER_CODE_IN_SEPARATE_THREAD": "0"}
"""Of a replica: otherwise Ray's sockets, its handles and our own code have a thread and a loop each. Each token would
cross threads on its way in and on its way out, and wait each time for the interpreter's lock, which a busy thread keeps
for 5 ms. Health is asked of our own code in either case, so a loop that is stuck is noticed as before."""

_OF_REPLICAS = {**_IN_ONE_LOOP, **RARER}

QUIET = {"log_level": "WARNING", "enable_access_log": False}
"""Gateways tell of requests themselves; Ray would tell of each once more in every process that it goes through."""

_BY_QUEUE = AutoscalingPolicy()
"""Ray's own: gateways hold no adapters."""

_LOOKED_BACK = {"metrics_interval_s": 1.0, "look_back_period_s": 5.0}
"""The first is to be a variable of Ray's processes in some later release."""


class EngineReplica:
    """Ready when its engine answers and what it must hold is loaded and verified."""

    async def __init__(self, settings: ClusterSettings, at: int) -> None:  # type: ignore[misc]  # Ray awaits it
        from service.base_folder import with_base
        from service.concurrency import take_short_turns
        from service.observability import logs

        take_short_turns()
        tier, home = settings.bases[at], settings.at_home()
        config, weights = with_base(settings.config(tier, gateway=False), tier.base, home, tier.chat_template)
        logs.configure(config.log_level, config.log_format)
        self._registry = Registry.later(home.registry_url, new=False)
        self._called_seconds = tier.called_seconds
        store = ArtifactStore(home.artifacts_url, home.cache, config.cache_bytes)
        name = serve.get_replica_context().replica_id.unique_id
        config, engine = _engine(tier, config)
        self._room = LoneRoom(name, config, engine, self._registry, store, weights)
        await self._room.open()

    async def answer(self, ask: Ask) -> AsyncGenerator[Frame, None]:
        async with aclosing(self._room.answer(ask)) as frames:
            async for frame in frames:
                yield frame

    # Ray would call these in a thread of a pool if they were not async, and a room belongs to its loop.
    async def check_health(self) -> None:
        self._room.check()

    async def record_routing_stats(self) -> dict[str, Any]:
        return {CARD: pickle.dumps(self._room.card())}

    async def record_autoscaling_stats(self) -> dict[str, float]:
        return ray_scaling.told(self._room.memory(self._called_seconds))

    async def __del__(self) -> None:
        if hasattr(self, "_room"):
            await self._room.close()
            self._registry.close()


@serve.ingress()
class Gateway:
    """The API as `dabt serve` has it, before engines elsewhere."""

    def __init__(
        self,
        settings: ClusterSettings,
        *engines: DeploymentHandle[Any],
        workers: Sequence[DeploymentHandle[Any]] = (),
    ) -> None:
        """`workers` are part of the application, and nothing is asked of them."""
        self._settings = settings
        self._engines = engines

    def __serve_build_asgi_app__(self) -> FastAPI:
        from lifecycle.errors import Unavailable
        from service.access.authentication import check_address
        from service.app import create_app
        from service.base_folder import with_base
        from service.cli import pages
        from service.concurrency import take_short_turns
        from service.last_known import LastKnown
        from service.observability import logs

        settings, home = self._settings, self._settings.at_home()
        config, *beside = (
            with_base(settings.config(tier, gateway=True), tier.base, home, tier.chat_template)[0]
            for tier in settings.bases
        )
        take_short_turns()
        logs.configure(config.log_level, config.log_format)
        registry = self._registry = Registry.later(home.registry_url, new=False)
        try:
            registry.reach()
            check_address(config, registry.keys)
        except Unavailable:
            pass  # on an address that others can reach, keys are asked for anyway
        store = ArtifactStore(home.artifacts_url, home.cache, config.cache_bytes)
        base = base_of(config, beside)
        self._followed = {
            each.digest: at
            for at, (each, tier) in enumerate(zip(base.every, settings.bases, strict=True))
            if tier.workers.follow
        }
        lines = (RayLine(handle, settings.start_seconds) for handle in self._engines)
        engine = FleetEngine(dict(zip((each.digest for each in base.every), lines, strict=True)))
        self._app = create_app(
            config,
            engine,
            registry,
            store,
            LastKnown(home.last_known, registry.name),
            console=pages(config, home),
            elsewhere=engine.elsewhere(beside),
        )
        return self._app

    async def check_health(self) -> None:
        """Ray asks for the first time before it sends anything here: a gateway is ready when it can answer."""
        await self._app.state.parts.supervisor.until_ready()

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Jobs over the bases whose workers follow them; nothing while the registry does not answer."""
        if not self._followed:
            return {}
        try:
            queues = await self._app.state.parts.at_registry.run(self._registry.leases.queues, [*self._followed])
        except DabtError:
            return {}
        of_base = {self._followed[base]: Jobs(queue.waiting, queue.held) for base, queue in queues.items()}
        return ray_scaling.told_of_jobs(of_base)


def build(args: dict[str, str] | ClusterSettings) -> serve.Application:
    """`settings` is the path of the file. Raises `InvalidConfig` with everything that is wrong with it."""
    settings = args if isinstance(args, ClusterSettings) else read_settings(Path(args["settings"]))
    engines = [_engines(settings, at, tier).bind(settings, at) for at, tier in enumerate(settings.bases)]
    config = settings.config(settings.bases[0], gateway=True)
    gateways = serve.deployment(
        Gateway,
        name="gateway",
        max_ongoing_requests=4096,
        **_life(config, settings.gateways.replicas, _of_gateways(settings)),
        ray_actor_options=_actor(settings.gateways.each, _OF_REPLICAS),
    )
    workers = [
        _workers(at, tier.workers).bind(settings, at) for at, tier in enumerate(settings.bases) if tier.workers.most
    ]
    return gateways.bind(settings, *engines, workers=workers)


def _engines(settings: ClusterSettings, at: int, tier: EngineTier) -> serve.Deployment:
    config = settings.config(tier, gateway=False)
    router = RequestRouterConfig(
        request_router_class="service.cluster.ray_router:AdapterRouter",
        request_router_kwargs={"slack": settings.slack},
        request_routing_stats_period_s=settings.told_seconds,
    )
    return serve.deployment(
        EngineReplica,
        name=f"engine-{at}",
        # A room refuses by itself what its engine's queue does not take; Ray's own bound is never met before.
        max_ongoing_requests=4 * config.queue,
        request_router_config=router,
        **_life(config, tier.replicas, AutoscalingPolicy(policy_function=ray_scaling.POLICY)),
        ray_actor_options=_actor(tier.each, _OF_REPLICAS),
    )


def _of_gateways(settings: ClusterSettings) -> AutoscalingPolicy:
    if any(tier.workers.follow for tier in settings.bases):
        return AutoscalingPolicy(policy_function=ray_scaling.OF_GATEWAYS)
    return _BY_QUEUE


def _workers(at: int, workers: Workers) -> serve.Deployment:
    following = AutoscalingConfig(
        min_replicas=workers.least,
        max_replicas=workers.most,
        policy=AutoscalingPolicy(policy_function=ray_scaling.OF_WORKERS),
        initial_replicas=workers.least,
        upscale_delay_s=1.0,
        downscale_delay_s=workers.idle_seconds,
        **_LOOKED_BACK,
    )
    many: dict[str, Any] = {"autoscaling_config": following} if workers.follow else {"num_replicas": workers.most}
    return serve.deployment(
        WorkerReplica,
        name=f"{ray_scaling.WORKERS}{at}",
        **many,
        graceful_shutdown_timeout_s=60.0,  # it gives its job back between two steps
        # Several devices are set aside for each run; their worker looks at files by itself.
        ray_actor_options=_actor(workers.each if workers.devices == 1 else Needs(), {}),
    )


def _life(config: ServeConfig, replicas: Replicas, policy: AutoscalingPolicy = _BY_QUEUE) -> dict[str, Any]:
    """A replica is there before another one goes, and goes when its requests have ended."""
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=replicas.least,
            max_replicas=replicas.most,
            policy=policy,
            initial_replicas=max(1, replicas.least),
            target_ongoing_requests=replicas.requests,
            upscale_delay_s=1.0,
            downscale_delay_s=replicas.idle_seconds,
            **_LOOKED_BACK,
        ),
        "logging_config": QUIET,
        "graceful_shutdown_timeout_s": config.drain_seconds,
        "graceful_shutdown_wait_loop_s": 0.2,
        "health_check_period_s": 2.0,
        "health_check_timeout_s": 30.0,
        "max_surge_percent": 100,
    }


def _actor(needs: Needs, variables: dict[str, str]) -> dict[str, Any]:
    options: dict[str, Any] = {"num_cpus": needs.cpus, "num_gpus": needs.gpus}
    if needs.memory_gib:
        options["memory"] = needs.memory_bytes
    if variables:
        options["runtime_env"] = {"env_vars": variables}
    return options


def _engine(tier: EngineTier, config: ServeConfig) -> tuple[ServeConfig, Engine]:
    if tier.engine == "fake":
        from service.engine.fake_engine import FakeEngine

        return config, FakeEngine(step_seconds=tier.step_seconds)
    from service.cli import vllm_engines

    return vllm_engines([config])[0]
