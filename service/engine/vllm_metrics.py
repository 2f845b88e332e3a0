"""vLLM's own series for the page of metrics, without the one that grows for ever."""

from __future__ import annotations

from typing import Any


def page() -> bytes:
    """In Prometheus' text format."""
    from prometheus_client import generate_latest
    from vllm.v1.metrics.prometheus import get_prometheus_registry

    return generate_latest(get_prometheus_registry())


def bound(llm: Any) -> None:
    """Have the engine keep no `vllm:lora_requests_info`.

    Its labels list the adapters of a step, so that every combination is a series, kept until the process ends: with
    many adapters several new ones a second (vLLM #13303, #54830). `telemetry.py` counts requests by version instead.
    """
    from prometheus_client import REGISTRY

    for logger in llm.logger_manager.stat_loggers if llm.logger_manager else ():
        gauge = getattr(logger, "gauge_lora_info", None)
        if gauge is not None:
            logger.gauge_lora_info = None
            REGISTRY.unregister(gauge)
