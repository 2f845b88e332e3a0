"""How many engine replicas there are, as an autoscaling policy of Ray Serve's (ray 2.60). Read `scaling.py` for why.

Ray calls it in its controller, keeps the answer within bounds and delays, and starts the first replica by itself.
"""

from __future__ import annotations

from typing import Any

from ray.serve.config import AutoscalingContext

from service.cluster.scaling import Memory, wanted

POLICY = f"{__name__}:by_queue_and_memory"


def told(memory: Memory) -> dict[str, float]:
    """What a replica records for this policy."""
    return {"places": float(memory.places), "called": float(memory.called)}


def by_queue_and_memory(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    metrics = context.aggregated_metrics or {}
    places, called = metrics.get("places", {}), metrics.get("called", {})
    memories = [Memory(round(places[replica]), called[replica]) for replica in places if replica in called]
    return wanted(context.total_num_requests, context.config.get_target_ongoing_requests(), memories), {}
