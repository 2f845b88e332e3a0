"""Engine processes that are spawned, as on a GPU: they hold nothing of this one, and end with it however it ends.

Two generations, as vLLM has them with several GPUs: the core, and a worker below it. Without vLLM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest

from service.engine.vllm import spawn

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[2]

DRIVER = """
import gc, os, socket, sys, threading, time
from service.engine.vllm.spawn import Spawning

def sockets():
    paths = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    return sum(os.readlink(path).startswith("socket:") for path in paths if os.path.lexists(path))


def told():
    return os.getpid(), sockets(), gc.isenabled() and gc.get_freeze_count() > 1000

def worker(queue):
    queue.put(told())
    time.sleep(600)

def core(queue):
    queue.put(told())
    Spawning().Process(target=worker, args=(queue,), daemon=True).start()
    time.sleep(600)

if __name__ == "__main__":
    listener = socket.create_server(("127.0.0.1", 0))
    connection = socket.create_connection(listener.getsockname())
    os.set_inheritable(listener.fileno(), True)
    queue = Spawning().Queue()
    thread = threading.Thread(target=Spawning().Process(target=core, args=(queue,)).start)
    thread.start()
    thread.join()  # the thread that started it is gone, and the core lives on
    for _ in range(2):
        print(*queue.get(), flush=True)
    print("sockets here", sockets(), flush=True)
    time.sleep(600)
"""


@pytest.fixture
def driver(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    (tmp_path / "driver.py").write_text(DRIVER)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py")],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def told(driver: subprocess.Popen[str]) -> list[str]:
    assert driver.stdout is not None
    return driver.stdout.readline().split()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_core_and_worker_hold_no_socket_and_end_with_the_service_however_it_ends(
    driver: subprocess.Popen[str], how: signal.Signals
) -> None:
    core, worker = told(driver), told(driver)
    assert int(told(driver)[-1]) >= 2, "the service has its port and a connection"
    assert (core[1], worker[1]) == ("0", "0")
    processes = [psutil.Process(int(one[0])) for one in (core, worker)]
    driver.send_signal(how)
    gone, alive = psutil.wait_procs(processes, timeout=300)
    assert (len(gone), alive) == (2, [])


def test_what_they_import_to_begin_with_is_left_alone_by_the_collector(driver: subprocess.Popen[str]) -> None:
    assert [told(driver)[2], told(driver)[2]] == ["True", "True"]


def test_a_worker_ends_with_a_core_that_is_killed(driver: subprocess.Popen[str]) -> None:
    core, worker = told(driver), told(driver)
    psutil.Process(int(core[0])).kill()
    gone, alive = psutil.wait_procs([psutil.Process(int(worker[0]))], timeout=300)
    assert (len(gone), alive) == (1, [])


def test_every_module_of_vllm_gets_the_context_and_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    def before() -> None: ...

    modules: dict[str, Any] = {
        "vllm.utils.system_utils": ModuleType("vllm.utils.system_utils"),
        "vllm.v1.executor.multiproc_executor": ModuleType("vllm.v1.executor.multiproc_executor"),
        "other": ModuleType("other"),
    }
    for name, module in modules.items():
        module.get_mp_context = before
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("VLLM_WORKER_MULTIPROC_METHOD", "fork")
    spawn.take_over()
    assert [modules[name].get_mp_context for name in modules] == [spawn.Spawning, spawn.Spawning, before]
    assert os.environ["VLLM_WORKER_MULTIPROC_METHOD"] == "spawn"


def test_where_vllm_is_not_imported_nothing_is_taken_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "modules", SimpleNamespace(get=lambda name: None))
    spawn.take_over()
