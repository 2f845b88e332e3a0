"""Engine processes forked from a server of imports: with this process's environment, and gone when it is gone.

The fork server of a process is one for its whole life, so each test drives a process of its own, without vLLM.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from service.engine.vllm import forkserver

ROOT = Path(__file__).parents[2]

DRIVER = """
import os, sys, time
from service.engine.vllm import forkserver

forkserver._IMPORTED = ("colorsys",)

def child(queue):
    imported = "colorsys" in sys.modules
    queue.put((os.getpid(), os.getppid(), imported, os.environ.get("LATE"), os.environ["OMP_NUM_THREADS"]))
    time.sleep(600)

if __name__ == "__main__":
    forkserver.begin()
    forkserver.begin()
    os.environ["LATE"] = "set after the server had begun"
    context = forkserver._ForkServer()
    queue = context.Queue()
    for _ in range(2):
        context.Process(target=child, args=(queue,)).start()
        print(*queue.get(), sep="|", flush=True)
    print("OMP_NUM_THREADS" in os.environ, flush=True)
    time.sleep(600)
"""


@pytest.fixture
def driver(tmp_path: Path):
    (tmp_path / "driver.py").write_text(DRIVER)
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "driver.py")],
        stdout=subprocess.PIPE,
        text=True,
        env={**environment, "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )
    yield process
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def told(driver: subprocess.Popen[str]) -> list[str]:
    assert driver.stdout is not None
    return driver.stdout.readline().strip().split("|")


def test_both_children_come_from_one_server_with_its_imports_and_this_process_environment(driver) -> None:
    first, second = told(driver), told(driver)
    assert first[1] == second[1] != str(driver.pid), "the children's parent is the fork server"
    for child in (first, second):
        assert child[2:] == ["True", "set after the server had begun", str(forkserver._threads())]
    assert told(driver) == ["False"], "what is meant for the server alone stays out of this process"


def test_children_end_when_this_process_is_killed(driver) -> None:
    children = [psutil.Process(int(told(driver)[0])) for _ in range(2)]
    driver.kill()
    gone, alive = psutil.wait_procs(children, timeout=300)
    assert (len(gone), alive) == (2, [])


def test_a_server_that_still_imports_ends_with_this_process_and_holds_no_output_open(tmp_path: Path) -> None:
    begun = tmp_path / "begun"
    (tmp_path / "slow.py").write_text(f"import time\nopen({str(begun)!r}, 'w').close()\ntime.sleep(600)\n")
    driver = f"""
import os
from service.engine.vllm import forkserver
from tests.waiting import seen

forkserver._IMPORTED = ("slow",)
forkserver.begin()
seen(lambda: os.path.exists({str(begun)!r}))
forkserver.end()
"""
    path = os.pathsep.join([str(ROOT), str(tmp_path)])
    done = subprocess.run(
        [sys.executable, "-c", driver], env={**os.environ, "PYTHONPATH": path}, capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_what_the_operator_has_set_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("TORCH_COMPILE_DISABLE", "0")
    monkeypatch.setenv("LD_PRELOAD", "/opt/libiomp5.so")
    assert forkserver._compute_environment() == {}


def test_torchs_openmp_is_put_after_what_is_preloaded_already(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LD_PRELOAD", "/opt/libtcmalloc.so")
    preload = forkserver._compute_environment()["LD_PRELOAD"]
    assert preload.startswith("/opt/libtcmalloc.so:")
    assert "libgomp" in preload
