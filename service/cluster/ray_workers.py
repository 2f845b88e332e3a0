"""Workers of the fine-tuning queue on a Ray cluster: as many as there are jobs, within what a base's file says, each
with what it needs set aside.

A replica is `dabt worker` on the machine where Ray has room for it. Ray starts one that is gone elsewhere; its job goes
on from what it had kept in the store (`training/jobs/keeping.py`). One of several devices keeps the queue alone, and
has Ray set the devices aside while it trains. No request comes here.
"""

from __future__ import annotations

import json
import os

import ray

from service.cluster.settings import ClusterSettings, Workers
from service.worker_process import WorkerProcess


class WorkerReplica:
    def __init__(self, settings: ClusterSettings, at: int) -> None:
        from service.base_folder import with_base
        from service.observability import logs

        tier, home = settings.bases[at], settings.at_home()
        config, _ = with_base(settings.config(tier, gateway=False), tier.base, home, tier.chat_template)
        logs.configure(config.log_level, config.log_format)
        host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - a proxy is on every node
        words = _of_several(tier.workers) if tier.workers.devices > 1 else ()
        self._worker = WorkerProcess(config, home, f"http://{host}:{settings.port}", words=words)
        self._worker.__enter__()

    def __del__(self) -> None:
        if hasattr(self, "_worker"):
            self._worker.__exit__(None, None, None)


def _of_several(workers: Workers) -> tuple[str, ...]:
    """What the worker's command says of its devices. It finds this cluster by a variable."""
    os.environ["RAY_ADDRESS"] = ray.get_runtime_context().gcs_address
    return "--devices", str(workers.devices), "--each", json.dumps(workers.each.in_rays_words)
