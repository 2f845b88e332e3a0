"""The real engine in a process of its own: killed, hung, out of memory, and asked to stop while it starts again."""

from __future__ import annotations

import json
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.service.conftest import make_house
from tests.service.engine_process import core_below
from tests.service.faults.conftest import Process
from tests.service.random_llama import RECIPES, make_adapter, make_base
from tests.waiting import pauses, seen

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

MODELS = ("random-llama", "first", "second")
LONG = {"prompt": "The clinic", "max_tokens": 400, "n": 32, "temperature": 1, "ignore_eos": True}
"""Far more than is made while a test looks on."""
SILENCE = 8
"""Seconds that the engine may be silent here; a step of this base takes a few thousandths."""


class Served:
    """The process, what it answered before anything happened to it, and its engine's processes."""

    def __init__(self, process: Process, house: Any) -> None:
        self.process = process
        self.house = house
        self.client = process.ready()
        self.before = self.answers()

    def answers(self) -> dict[str, Any]:
        return {model: self.ask(model).json()["choices"] for model in MODELS}

    def ask(self, model: str) -> httpx.Response:
        body = {"model": model, "prompt": "The clinic opens", "max_tokens": 12, "temperature": 0, "ignore_eos": True}
        return self.client.post("/v1/completions", json=body, timeout=120)

    def long(self, model: str) -> httpx.Response:
        return self.client.post("/v1/completions", json={"model": model, **LONG}, timeout=120)

    def stream(self, model: str) -> list[str]:
        body = {"model": model, "stream": True, **LONG}
        with self.client.stream("POST", "/v1/completions", json=body, timeout=120) as reply:
            return [line.removeprefix("data: ") for line in reply.iter_lines() if line]

    def engine(self) -> psutil.Process:
        return core_below(psutil.Process(self.process.process.pid))

    def waits_for(self) -> list[str]:
        """Nothing while it is ready."""
        told: list[str] = self.client.get("/ready").json().get("waiting_for", [])
        return told

    def leases(self) -> int:
        return sum(row["leases"] for row in self.client.get("/admin/residency").json()["adapters"])

    def running(self) -> float:
        page = self.client.get("/metrics").text.splitlines()
        return float(next(line.rsplit(" ", 1)[1] for line in page if line.startswith("dabt_requests_in_flight ")))

    def comes_back(self) -> None:
        """It is not ready, says why, is ready again, and answers as before from adapters that it loaded anew."""
        assert "is being restarted" in seen(self.waits_for)[0]
        refused = self.ask("first")
        assert (refused.status_code, int(refused.headers["retry-after"]) > 0) == (503, True)
        self.process.ready().close()
        assert self.client.get("/admin/residency").json()["adapters"] == []
        assert self.answers() == self.before
        assert len(self.client.get("/admin/residency").json()["adapters"]) == 2
        assert {version.ref for version in self.house.registry.versions()} == {"first:1", "second:1"}
        assert [alias.ref for alias in self.house.registry.aliases()] == ["first:prod", "second:prod"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    root = tmp_path_factory.mktemp("faults")
    base = root / "random-llama"
    make_base(base)
    house = make_house(root / "home", base)
    for seed, (name, recipe) in enumerate(zip(("first", "second"), RECIPES.values(), strict=False), start=1):
        make_adapter(base, root / name, recipe, seed)
        house.adapter(name, root / name, ())
        house.prod(name, adapter=name)
    config = {"max_loras": 2, "max_cpu_loras": 4, "kv_cache_gib": 0.25, "dtype": "float32"}
    config |= {"engine_silent_seconds": SILENCE}
    process = Process(house, engine="vllm", config=config)
    yield Served(process, house)
    process.process.kill()
    process.process.communicate()
    house.registry.close()


def fails_cleanly(served: Served, harm: Any) -> None:
    """With a stream and a whole answer under way, one of an adapter: each ends with an error that can be read."""
    with ThreadPoolExecutor(3) as pool:
        stream = pool.submit(served.stream, "first")
        whole = pool.submit(served.long, "random-llama")
        for pause in pauses():
            if served.running() >= 2 and served.leases():
                break
            assert not stream.done(), stream.result()
            assert not whole.done(), whole.result().text
            time.sleep(pause)
        harm()
        # Whatever had been sent: an error object, and the word that ends a stream that has begun.
        events = [line for line in stream.result() if line != "[DONE]"]
        assert json.loads(events[-1])["error"]["code"] == "engine_dead"
        assert whole.result().status_code == 503
        assert whole.result().json()["error"]["code"] == "engine_dead"


def test_an_engine_that_is_killed_ends_its_requests_cleanly_and_comes_back_the_same(served: Served) -> None:
    fails_cleanly(served, served.engine().kill)
    served.comes_back()


def test_an_engine_that_hangs_is_replaced_and_its_requests_are_told(served: Served) -> None:
    """All its processes are there, so nothing but its silence tells."""
    fails_cleanly(served, served.engine().suspend)
    served.comes_back()


def test_an_engine_without_memory_and_a_stop_during_the_restart_end_with_0_and_leave_nobody(served: Served) -> None:
    engine = served.engine()
    children = psutil.Process(served.process.process.pid).children(recursive=True)
    engine.rlimit(resource.RLIMIT_AS, (engine.memory_info().vms + 2**20,) * 2)
    with ThreadPoolExecutor(8) as pool:
        long = [pool.submit(served.long, "first") for _ in range(8)]
        answers = [job.result() for job in long]
    failed = [answer for answer in answers if answer.status_code != 200]
    for answer in failed:
        assert (answer.status_code, "error" in answer.json()) == (503, True)
    if not failed:
        engine.kill()  # it found its memory in what it had; this is the kernel's own way with one that takes too much
    seen(served.waits_for)
    served.process.process.send_signal(signal.SIGTERM)
    assert served.process.end() == 0
    assert not [child for child in children if child.is_running() and child.status() != psutil.STATUS_ZOMBIE]


def test_a_stop_during_the_first_start_ends_at_once_with_0_and_leaves_nobody(tmp_path: Path) -> None:
    """The engine is built by a thread for many seconds, in a process that has others below it by then."""
    make_base(tmp_path / "random-llama")
    options = ["--base", str(tmp_path / "random-llama"), "--home", str(tmp_path / "home"), "--port", "0"]
    command = [sys.executable, "-m", "dabt", "serve", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        begun = next(line for line in process.stdout if "registry read" in line)
        below = psutil.Process(process.pid).children(recursive=True)
        process.terminate()
        rest = process.stdout.read()
    assert process.returncode == 0, begun + rest
    assert "stopping" in rest
    assert "Traceback" not in rest
    assert "EngineCore" not in rest, "the start was waited for"
    assert below, "the fork server was there"
    assert psutil.wait_procs(below, timeout=300)[1] == []
