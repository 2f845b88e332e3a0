"""Workers of the fine-tuning queue on a Ray cluster: as many as there are jobs, within what a base's file says, each
with what it needs set aside.

A replica is `dabt worker` on the machine where Ray has room for it. Ray starts one that is gone elsewhere; its job goes
on from what it had kept in the store (`training/jobs/keeping.py`). No request comes here.
"""

from __future__ import annotations

from service.cluster.settings import ClusterSettings
from service.worker_process import WorkerProcess


class WorkerReplica:
    def __init__(self, settings: ClusterSettings, at: int) -> None:
        from service.base_folder import with_base
        from service.observability import logs

        tier, home = settings.bases[at], settings.at_home()
        config, _ = with_base(settings.config(tier, gateway=False), tier.base, home, tier.chat_template)
        logs.configure(config.log_level, config.log_format)
        host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host  # noqa: S104 - a proxy is on every node
        self._worker = WorkerProcess(config, home, f"http://{host}:{settings.port}")
        self._worker.__enter__()

    def __del__(self) -> None:
        if hasattr(self, "_worker"):
            self._worker.__exit__(None, None, None)
