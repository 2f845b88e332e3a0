"""Two real bases in one `dabt serve`, an engine process each: both answer, and one goes on while the other is gone."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import psutil
import pytest

from lifecycle.models.base import fingerprint
from tests.service.conftest import House, make_house
from tests.service.dabt_serve import served, wait_until_ready
from tests.service.engine_process import cores_below
from tests.service.random_llama import RECIPES, make_adapter, make_base

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

NAMES = ("first", "second")


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[psutil.Process, httpx.Client, House]]:
    """Two bases of other weights, an adapter over each in production as `on-first` and `on-second`."""
    root = tmp_path_factory.mktemp("two")
    for seed, name in enumerate(NAMES):
        make_base(root / name, seed)
    house = make_house(root / "home", root / "first")
    for seed, name in enumerate(NAMES):
        make_adapter(root / name, root / f"on-{name}", RECIPES["red"], seed)
        digest = fingerprint(root / name).digest
        house.adapter(f"on-{name}", root / f"on-{name}", (), digest)
        house.prod(f"on-{name}", adapter=f"on-{name}", base=digest)
    log = root / "log"
    flags = ("--base", f"second={root / 'second'}", "--no-worker", "--embedding-model", "none")
    with served(f"first={root / 'first'}", house.home.root, log, *flags) as (process, url):
        wait_until_ready(process, url, log)
        with httpx.Client(base_url=url, timeout=120) as client:
            yield psutil.Process(process.pid), client, house
    house.registry.close()


def chat(client: httpx.Client, model: str, **extra: Any) -> httpx.Response:
    body = {"model": model, "messages": [{"role": "user", "content": "hi"}], "temperature": 0, "max_tokens": 8}
    return client.post("/v1/chat/completions", json={**body, **extra})


def is_away(ready: dict[str, Any]) -> bool:
    """Whether the second is, or was for so short a time that nobody has seen it."""
    second = next(each for each in ready["bases"] if each["name"] == "second")
    return not second["ready"] or second["restarts"] > 0


def test_both_bases_answer_with_an_adapter_each_and_one_goes_on_while_the_other_is_gone(
    two: tuple[psutil.Process, httpx.Client, House],
) -> None:
    process, client, _ = two
    said = {}
    for model in ("first", "second", "on-first", "on-second"):
        answer = chat(client, model)
        assert answer.status_code == 200, answer.text
        said[model] = answer.json()["choices"][0]["message"]["content"]
    assert len(set(said.values())) == 4, said
    cores = cores_below(process)
    assert len(cores) == 2

    whole: list[int] = []
    """Of each stream, how many tokens it had."""
    gone = threading.Event()

    def stream() -> None:
        body = {"model": "on-first", "messages": [{"role": "user", "content": "hi"}], "stream": True}
        body |= {"max_tokens": 400, "ignore_eos": True, "temperature": 0, "stream_options": {"include_usage": True}}
        while not gone.is_set():
            with client.stream("POST", "/v1/chat/completions", json=body) as reply:
                lines = [line for line in reply.iter_lines() if line.startswith("data: {")]
            whole.append(json.loads(lines[-1][6:])["usage"]["completion_tokens"])

    streaming = threading.Thread(target=stream)
    streaming.start()
    while not whole:
        time.sleep(0.01)
    cores[1].kill()  # they were started in the order of the bases
    before = len(whole)
    dead = chat(client, "second")
    assert dead.status_code == 503, dead.text
    assert dead.json()["error"]["code"] in ("engine_dead", "unavailable")
    while not is_away(ready := client.get("/ready").json()):
        time.sleep(0.01)
    assert ready["ready"], ready
    assert ready["bases"][0]["ready"], ready
    while len(whole) < before + 2:  # one of them has begun since
        assert streaming.is_alive()
        time.sleep(0.01)
    gone.set()
    streaming.join()
    assert set(whole) == {400}
    while not all(each["ready"] for each in client.get("/ready").json()["bases"]):
        time.sleep(0.1)
    for model, text in said.items():
        assert chat(client, model).json()["choices"][0]["message"]["content"] == text
    page = client.get("/metrics").text
    assert page.count("# TYPE vllm:num_requests_running gauge") == 1
    for name in NAMES:
        assert f'vllm:num_requests_running{{engine="0",model_name="{name}",room="{name}"}}' in page
