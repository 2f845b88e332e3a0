"""What one request cost, from what vLLM puts into its answer."""

from __future__ import annotations

from typing import Any

from service.engine.interface import Tally


def of(usage: dict[str, Any] | None, metrics: dict[str, Any] | None) -> Tally:
    """`metrics` are its timings (`--enable-per-request-metrics`)."""
    usage, metrics = usage or {}, metrics or {}
    queue, first = _seconds(metrics.get("queue_time_ms")), _seconds(metrics.get("time_to_first_token_ms"))
    return Tally(
        prompt_tokens=usage.get("prompt_tokens") or 0,
        completion_tokens=usage.get("completion_tokens") or 0,
        queue=queue,
        first_token=None if first is None else (queue or 0.0) + first,
        per_token=_seconds(metrics.get("mean_itl_ms")),
    )


def _seconds(milliseconds: float | None) -> float | None:
    return None if milliseconds is None else milliseconds / 1000
