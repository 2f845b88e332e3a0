"""The worker that `dabt serve` starts beside itself (`dabt worker`): kept running, and ended with the service.

It is a process of its own, and yields the processor to the service: training must not hold up answers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence

import structlog

from lifecycle.home import Home
from service.config import ServeConfig

_NICE = 19
_PAUSE = 5.0
"""Seconds before one that has ended is started again."""
_PATIENCE = 30.0
"""Seconds for it to give back its job."""

log = structlog.get_logger(__name__)


class WorkerProcess:
    """A context: the worker runs inside of it."""

    def __init__(
        self,
        config: ServeConfig,
        home: Home,
        url: str,
        beside: Sequence[ServeConfig] = (),
        words: Sequence[str] = (),
    ) -> None:
        """For jobs over the model folder `config.base`, which the service at `url` answers with, and those `beside`.
        `words` are further ones of `dabt worker`.
        """
        bases = (config, *beside)
        words = ["worker", *words, "--max-rank", str(min(each.max_lora_rank for each in bases)), "--nice", str(_NICE)]
        for each in bases:
            words += ["--base", str(each.base)]
        words += ["--leave-with", str(os.getpid()), "--home", str(home.root), "--endpoint", f"{url}/v1"]
        words += ["--log-format", config.log_format]
        if config.evals is not None:
            words += ["--evals", str(config.evals)]
        if config.checkpoint_days is not None:
            words += ["--checkpoint-days", str(config.checkpoint_days)]
        self._command = [sys.executable, "-m", "dabt", *words]
        places = {"DABT_REGISTRY_URL": home.registry_url, "DABT_ARTIFACTS_URL": home.artifacts_url}
        self._environment = {**os.environ, **places}
        self._over = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="worker", daemon=True)

    @property
    def runs(self) -> bool:
        """Whether its process is there now; between its end and its next start it is not."""
        return self._process is not None and self._process.poll() is None

    def __enter__(self) -> WorkerProcess:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                self._process.kill()
        self._thread.join()

    def _keep(self) -> None:
        while not self._over.is_set():
            self._process = subprocess.Popen(self._command, env=self._environment, stdin=subprocess.DEVNULL)
            if self._over.is_set():
                self._process.terminate()
            code = self._process.wait()
            if not self._over.wait(_PAUSE):
                log.warning("the worker has ended, and is started again", code=code)
