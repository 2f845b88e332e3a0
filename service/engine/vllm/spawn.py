"""Where vLLM's processes come from on a GPU: spawned, and ended with their parent however that ends.

vLLM 0.32 forks them there, from a thread of a process that has an event loop, a listening socket and connections: a
child then holds all of these open, and a lock that another thread held at that moment stays locked in it. A spawned one
begins with nothing but what it is given. Each watches the process that started it: the core this one, and a worker the
core. (The kernel's own signal for it, PR_SET_PDEATHSIG, goes out when the *thread* ends that started the child.)

`DABT_ENGINE_PROCESSES=spawn` takes this way on a CPU too. Read `forkserver.py` for the other one.
"""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
import sys
import threading
from multiprocessing import connection, context
from typing import Any


def _unwatched(made: type[context.SpawnProcess]) -> context.SpawnProcess:
    """In a child, before what it is to do is unpickled: that imports torch and vLLM, all of which stays. A collector
    that looks through it again and again while it comes takes a quarter of that time.
    """
    gc.disable()
    return made.__new__(made)


class _SpawnedProcess(context.SpawnProcess):
    def __reduce__(self) -> tuple[Any, ...]:
        return _unwatched, (type(self),), vars(self)

    def run(self) -> None:
        gc.freeze()
        gc.enable()
        end_with_parent()
        take_over()  # for its own children
        super().run()


class Spawning(context.SpawnContext):
    """A context of `multiprocessing` whose processes end with their parent, and so do theirs."""

    Process = _SpawnedProcess


def take_over() -> None:
    """From now on vLLM's processes are spawned. Nothing where vLLM has not been imported."""
    utils: Any = sys.modules.get("vllm.utils.system_utils")
    if utils is None:
        return
    os.environ["VLLM_WORKER_MULTIPROC_METHOD"] = "spawn"
    use(utils, Spawning)


def use(utils: Any, made: type[context.BaseContext]) -> None:
    """Every module that has vLLM's choice of a context, and every one that will, gets `made` in its place."""
    before = utils.get_mp_context
    for name, module in list(sys.modules.items()):
        if name.startswith("vllm.") and getattr(module, "get_mp_context", None) is before:
            module.get_mp_context = made  # type: ignore[attr-defined]


def end_with_parent() -> None:
    """In a child: end at once when its parent has ended, with whatever it computes and holds in memory."""
    threading.Thread(target=_wait_and_end, name="parent-watch", daemon=True).start()


def _wait_and_end() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    connection.wait([parent.sentinel])
    os.kill(os.getpid(), signal.SIGKILL)
