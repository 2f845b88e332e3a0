"""Policies as Ray's controller has them: what gateways tell of the queue of jobs comes to the workers' policy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed", exc_type=ImportError)

from ray.serve.config import AutoscalingPolicy

from service.cluster import jobs_told, ray_scaling
from service.cluster.scaling import Jobs


def context(name: str, now: int = 0, app: str = "dabt", **metrics: dict[str, float]) -> Any:
    config = SimpleNamespace(get_target_ongoing_requests=lambda: 16.0)
    return SimpleNamespace(
        app_name=app, deployment_name=name, target_num_replicas=now, total_num_requests=33, config=config,
        aggregated_metrics=metrics,
    )  # fmt: skip


def told(**of_replica: dict[int, Jobs]) -> dict[str, dict[str, float]]:
    """By the gateways that tell it, as Ray hands it on."""
    metrics: dict[str, dict[str, float]] = {}
    for replica, jobs in of_replica.items():
        for name, value in ray_scaling.told_of_jobs(jobs).items():
            metrics.setdefault(name, {})[replica] = value
    return metrics


@pytest.fixture(autouse=True)
def nothing_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jobs_told, "_told", {})


def policy(name: str) -> Any:
    """Packed and unpacked as on its way to the controller, which gets a copy of its module."""
    return AutoscalingPolicy(policy_function=name).get_policy()


def test_workers_are_as_many_as_the_jobs_that_gateways_see_over_their_base() -> None:
    of_gateways, of_workers = policy(ray_scaling.OF_GATEWAYS), policy(ray_scaling.OF_WORKERS)
    metrics = told(x={0: Jobs(2, 1), 11: Jobs(0, 0)}, y={0: Jobs(2, 1), 11: Jobs(5, 0)})
    assert of_gateways(context("gateway", **metrics)) == (3, {})
    assert of_workers(context("worker-0")) == (3, {}), "both gateways tell of the same three"
    assert of_workers(context("worker-11")) == (5, {})
    assert of_workers(context("worker-1", now=2)) == (2, {}), "nobody tells of this one"
    assert of_workers(context("worker-0", now=2, app="another")) == (2, {})


def test_while_no_gateway_tells_of_jobs_workers_stay_as_many_as_they_are() -> None:
    of_gateways, of_workers = policy(ray_scaling.OF_GATEWAYS), policy(ray_scaling.OF_WORKERS)
    assert of_workers(context("worker-0", now=4)) == (4, {})
    of_gateways(context("gateway", **told(x={0: Jobs(0, 0)})))
    assert of_workers(context("worker-0", now=4)) == (0, {})
    of_gateways(context("gateway"))
    assert of_workers(context("worker-0", now=4)) == (4, {}), "the registry is away"
