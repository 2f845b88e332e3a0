"""vLLM's own series for the page of metrics: each engine's apart, and without the one that grows for ever."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry


async def page(own: CollectorRegistry) -> bytes:
    """In Prometheus' text format: what the process tells of itself, and the series of one engine.

    Written in a thread: it takes long enough to be seen by those whose answers stream meanwhile.
    """
    from prometheus_client import generate_latest
    from vllm.v1.metrics.prometheus import get_prometheus_registry

    registries = get_prometheus_registry(), own
    return await asyncio.to_thread(lambda: b"".join(map(generate_latest, registries)))


def own_series(llm: Any) -> CollectorRegistry:
    """The series of the engine that was just made, in a registry of their own: the next engine in this process would
    take them from the one that all share.

    It keeps no `vllm:lora_requests_info`. Its labels list the adapters of a step, so that every combination is a
    series, kept until the process ends: with many adapters several new ones a second (vLLM #13303, #54830).
    `telemetry.py` counts requests by version instead.
    """
    from prometheus_client import REGISTRY, CollectorRegistry

    for logger in llm.logger_manager.stat_loggers if llm.logger_manager else ():
        gauge = getattr(logger, "gauge_lora_info", None)
        if gauge is not None:
            logger.gauge_lora_info = None
            REGISTRY.unregister(gauge)
    own = CollectorRegistry()
    for collector in list(REGISTRY._collector_to_names):
        if str(getattr(collector, "_name", "")).startswith("vllm:"):
            REGISTRY.unregister(collector)
            own.register(collector)
    return own
