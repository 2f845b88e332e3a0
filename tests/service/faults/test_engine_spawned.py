"""The real engine with its processes spawned, the way that is taken on a GPU, here on a CPU: a core and a worker.

With its key-value cache, its length and its queue as they follow the machine, and an option of vLLM's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.service.conftest import make_house
from tests.service.faults.conftest import Process, chat
from tests.service.random_llama import RECIPES, make_adapter, make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def spawned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    root = tmp_path_factory.mktemp("spawned")
    base = root / "random-llama"
    make_base(base)
    house = make_house(root / "home", base)
    make_adapter(base, root / "first", next(iter(RECIPES.values())), 1)
    house.adapter("first", root / "first", ())
    house.prod("first", adapter="first")
    config = {"max_loras": 2, "dtype": "float32", "max_seqs": 16}
    config["engine_options"] = ["--seed", "7"]
    environment = {"DABT_ENGINE_PROCESSES": "spawn"}
    process = Process(house, engine="vllm", config=config, environment=environment)
    yield process
    process.process.kill()
    process.process.communicate()
    house.registry.close()


def sockets_of(process: psutil.Process) -> set[str]:
    folder = Path(f"/proc/{process.pid}/fd")
    return {name for fd in folder.iterdir() if (name := os.readlink(fd)).startswith("socket:")}


def test_it_answers_and_its_processes_hold_nothing_of_the_service_and_end_with_it(spawned: Process) -> None:
    with spawned.ready() as client:
        facts = client.get("/ready").json()
        assert facts["engine"]["max_queue"] == 32, facts
        for model in ("random-llama", "first"):
            reply = client.post("/v1/chat/completions", json=chat(model, max_tokens=8))
            assert reply.status_code == 200, reply.text
        told = client.get("/v1/dabt/deployment").json()["deployment"]["arguments"]["engine"]
        assert told["seed"] == 7
        assert "kv_cache_memory_bytes" not in told
        service = psutil.Process(spawned.process.pid)
        below = [child for child in service.children(recursive=True) if child.num_threads() > 1]
        assert len(below) >= 2, "a core and a worker"
        port = int(spawned.url.rpartition(":")[2])
        for child in below:
            assert port not in {held.laddr.port for held in child.net_connections() if held.laddr}, child
            assert not sockets_of(child) & sockets_of(service), child
        every = service.children(recursive=True)
    spawned.process.kill()
    assert psutil.wait_procs(every, timeout=300)[1] == []
