"""How many replicas of engines and of workers there are, as autoscaling policies of Ray Serve's (ray 2.60). Read
`scaling.py` for why.

Ray calls them in its controller, keeps the answers within bounds and delays, and starts the first engine by itself.
Jobs wait in the registry, where a gateway sees them whether any worker runs or not. So gateways tell of them with their
own figures, and their policy passes that on to the workers' (`jobs_told.py`), which runs in the same process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.serve.config import AutoscalingContext

from service.cluster import jobs_told
from service.cluster.scaling import Jobs, Memory, wanted, workers_wanted

POLICY = f"{__name__}:by_queue_and_memory"
OF_GATEWAYS = f"{__name__}:by_queue_and_hear_of_jobs"
OF_WORKERS = f"{__name__}:by_jobs"
WORKERS = "worker-"
"""Before the number of a base in the name of its workers' deployment."""
_WAITING, _HELD = "jobs_waiting_", "jobs_held_"


def told(memory: Memory) -> dict[str, float]:
    """What a replica records for this policy."""
    return {"places": float(memory.places), "called": float(memory.called)}


def told_of_jobs(of_base: Mapping[int, Jobs]) -> dict[str, float]:
    """What a gateway records of the queue, by the numbers of bases in the file."""
    waiting = {f"{_WAITING}{at}": float(jobs.waiting) for at, jobs in of_base.items()}
    return {**waiting, **{f"{_HELD}{at}": float(jobs.held) for at, jobs in of_base.items()}}


def by_queue_and_memory(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    metrics = context.aggregated_metrics or {}
    places, called = metrics.get("places", {}), metrics.get("called", {})
    memories = [Memory(round(places[replica]), called[replica]) for replica in places if replica in called]
    return wanted(context.total_num_requests, context.config.get_target_ongoing_requests(), memories), {}


def by_queue_and_hear_of_jobs(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Of gateways, which hold no adapters. Each tells of the same queue."""
    metrics = context.aggregated_metrics or {}
    most = {name: max(values.values()) for name, values in metrics.items() if values}
    bases = [name.removeprefix(_WAITING) for name in most if name.startswith(_WAITING)]
    of_base = {at: Jobs(most[f"{_WAITING}{at}"], most[f"{_HELD}{at}"]) for at in bases if f"{_HELD}{at}" in most}
    jobs_told.keep(context.app_name or "", of_base)
    return wanted(context.total_num_requests, context.config.get_target_ongoing_requests(), ()), {}


def by_jobs(context: AutoscalingContext) -> tuple[int, dict[str, Any]]:
    """Of workers. As many as before while no gateway tells, as when the registry is away."""
    jobs = jobs_told.of(context.app_name or "", context.deployment_name.removeprefix(WORKERS))
    now = context.target_num_replicas
    return (now if jobs is None else workers_wanted(jobs, now)), {}
