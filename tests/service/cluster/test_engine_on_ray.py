"""vLLM behind the two tiers on Ray answers as it does in one process: mixed, streamed, and after a caller left."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.ports import free_port
from tests.service.asking import ADAPTERS, PROMPTS, chat, complete, ids, same_as_peft

pytest.importorskip("ray.serve", reason="the extra `ray` is not installed", exc_type=ImportError)

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def tiers(real: Any) -> Iterator[httpx.Client]:
    """A gateway and an engine room over the home, the base and the settings of the one process."""
    from service.cluster.nodes import of_a_cluster_here
    from service.cluster.settings import ClusterSettings

    port = free_port()
    house = real.house
    engine = {"max_loras": 2, "max_cpu_loras": 4, "kv_cache_gib": 0.25, "dtype": "float32", "pin": ["red"]}
    told = {
        "bases": [{"base": str(house.base), "serve": engine}],
        "serve": {"embedding_model": "none", "ui": False},
        "home": str(house.home.root),
        "registry": house.home.registry_url,
        "artifacts": house.home.artifacts_url,
        "port": port,
        "told_seconds": 0.2,
    }
    patch = pytest.MonkeyPatch()
    patch.setenv("PYTHONPATH", os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")]))
    for name, value in {**of_a_cluster_here(), "RAY_USAGE_STATS_ENABLED": "0"}.items():
        patch.setenv(name, value)
    import ray
    from ray import serve

    from service.cluster.ray_app import build

    try:
        small = {"num_cpus": 8, "object_store_memory": 80 * 2**20, "include_dashboard": False}
        ray.init(address="local", log_to_driver=False, **small)
        serve.start(http_options={"host": "127.0.0.1", "port": port})
        serve.run(build(ClusterSettings.model_validate(told)), name="dabt", route_prefix="/")
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120) as client:
            yield client
        serve.shutdown()
    finally:
        ray.shutdown()
        patch.undo()


def busy(client: httpx.Client) -> float:
    """Requests that the room has, as the gateway knows it."""
    page = client.get("/metrics").text
    return sum(float(line.split()[-1]) for line in page.splitlines() if line.startswith("dabt_room_busy{"))


def test_base_and_adapters_in_one_batch_give_what_each_gives_in_one_process(real: Any, tiers: httpx.Client) -> None:
    assert tiers.get("/ready").json()["engine"] == real.client().get("/ready").json()["engine"]
    pinned = [row for row in tiers.get("/admin/residency").json()["adapters"] if row["pinned"]]
    assert [row["digest"] for row in pinned] == [real.house.adapters["red"]]
    work = [(model, text) for model in (None, *ADAPTERS) for text in PROMPTS]
    with ThreadPoolExecutor(len(work)) as pool:
        jobs = [pool.submit(complete, tiers, model or "random-llama", ids(real, text)) for model, text in work]
        choices = [job.result() for job in jobs]
    for (model, text), choice in zip(work, choices, strict=True):
        same_as_peft(real, model, ids(real, text), choice)


@pytest.mark.parametrize("model", ["random-llama", "green"])
def test_a_stream_has_the_chunks_of_one_process(real: Any, tiers: httpx.Client, model: str) -> None:
    body = chat(model, PROMPTS[0], stream=True, stream_options={"include_usage": True})
    with real.client() as alone:
        wanted, told = (streamed(client, body) for client in (alone, tiers))
    assert "".join(map(text_of, told)) == "".join(map(text_of, wanted))
    assert told[-1]["usage"] == wanted[-1]["usage"]
    assert told[-1]["usage"]["completion_tokens"] == 12


def streamed(client: httpx.Client, body: dict[str, Any]) -> list[dict[str, Any]]:
    with client.stream("POST", "/v1/chat/completions", json=body) as answer:
        assert answer.status_code == 200
        return [json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: {")]


def text_of(event: dict[str, Any]) -> str:
    return "".join(choice["delta"].get("content") or "" for choice in event["choices"])


def test_a_caller_who_leaves_ends_the_work_in_the_engine(tiers: httpx.Client) -> None:
    # Far more than is made while this test looks on.
    body = chat("blue", PROMPTS[0], stream=True, max_tokens=480, n=64, temperature=1)
    with tiers.stream("POST", "/v1/chat/completions", json=body) as answer:
        lines = answer.iter_lines()  # kept: a dropped iterator closes the stream
        next(lines)
        while not busy(tiers):
            time.sleep(0.01)
    while busy(tiers):
        time.sleep(0.01)
