"""The service over the real engine: exact in every mix, never stale, and alive whatever one adapter does."""

from __future__ import annotations

import json
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.service.asking import ADAPTERS, COUNT, PROMPTS, chat, complete, ids, same_as_peft
from tests.service.engine_process import core_below

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


def test_the_reference_can_tell_the_adapters_apart(real: Any) -> None:
    prompt = ids(real, PROMPTS[0])
    answers = {real.reference.greedy(model, prompt, COUNT).tokens for model in (None, *ADAPTERS)}
    assert len(answers) == 5


@pytest.mark.parametrize("model", [None, *ADAPTERS])
def test_alone_every_model_gives_what_peft_gives(real: Any, model: str | None) -> None:
    with real.client() as client:
        for text in PROMPTS:
            prompt = ids(real, text)
            same_as_peft(real, model, prompt, complete(client, model or "random-llama", prompt))


def test_in_a_mixed_batch_base_and_adapters_give_what_each_gives_alone(real: Any) -> None:
    """Four adapters over two slots, prompts and answers of many lengths: prefill meets decode, and slots change."""
    order = random.Random(7)
    work = [(model, text, order.randint(3, 40)) for model in (None, *ADAPTERS) for text in PROMPTS for _ in range(2)]
    order.shuffle(work)
    with real.client() as client, ThreadPoolExecutor(len(work)) as pool:
        jobs = [
            pool.submit(complete, client, model or "random-llama", ids(real, text), count)
            for model, text, count in work
        ]
        choices = [job.result() for job in jobs]
    for (model, text, count), choice in zip(work, choices, strict=True):
        same_as_peft(real, model, ids(real, text), choice, count)


def test_echoed_log_probabilities_are_pefts_even_in_a_batch(real: Any) -> None:
    """What a log-likelihood evaluation asks for: `echo`, `logprobs`, one token."""
    prompts = [ids(real, text) for text in PROMPTS]
    body = {"prompt": prompts, "max_tokens": 1, "echo": True, "logprobs": 1, "temperature": 0}
    with real.client() as client, ThreadPoolExecutor(5) as pool:
        models = ["random-llama", *ADAPTERS]
        replies = list(pool.map(lambda model: client.post("/v1/completions", json={"model": model, **body}), models))
    for model, reply in zip((None, *ADAPTERS), replies, strict=True):
        for prompt, choice in zip(prompts, reply.json()["choices"], strict=True):
            served = choice["logprobs"]["token_logprobs"][: len(prompt)]
            assert served[0] is None
            assert served[1:] == pytest.approx(real.reference.score(model, prompt[:1], prompt[1:]), abs=2e-3)


def test_moving_an_alias_gives_the_new_adapters_answer_with_a_warm_prefix_cache(real: Any) -> None:
    house = real.house
    text = PROMPTS[4]  # longer than a cache block, so that its prefix is cached
    house.prod("moving", adapter="red")
    with real.client() as client:
        for name in ("red", "green", "red", "blue"):
            version = house.prod("moving", adapter=name)
            while True:
                reply = client.post("/v1/chat/completions", json=chat("moving", text))
                if reply.headers.get("x-dabt-digest") == version.digest:
                    break
            direct = client.post("/v1/chat/completions", json=chat(name, text))
            assert reply.json()["choices"][0]["message"] == direct.json()["choices"][0]["message"]
            prompt = real.reference.tokenizer.apply_chat_template(
                [{"role": "user", "content": text}], add_generation_prompt=True
            )["input_ids"]
            wanted = real.reference.greedy(name, list(prompt), 12)
            assert reply.json()["choices"][0]["token_ids"] == list(wanted.tokens)


def test_an_adapter_whose_files_vanish_answers_on_even_after_losing_its_slot(real: Any, tmp_path: Path) -> None:
    prompt = ids(real, PROMPTS[0])
    folder = real.house.store.get(real.house.adapters["grey"])
    with real.client() as client:
        complete(client, "grey", prompt)
        shutil.move(folder, tmp_path / "away")
        try:
            for name in ("red", "green", "red", "green"):  # two others take both slots
                complete(client, name, prompt)
            same_as_peft(real, "grey", prompt, complete(client, "grey", prompt))
            assert client.get("/ready").status_code == 200
        finally:
            shutil.move(tmp_path / "away", folder)


def broken_copy(real: Any, target: Path, name: str) -> Path:
    """The red adapter with one fault."""
    shutil.copytree(real.reference.adapters["red"], target)
    config = json.loads((target / "adapter_config.json").read_text())
    if name == "too-large-a-rank":
        config["r"] = 64
    if name == "dora":
        config["use_dora"] = True
    (target / "adapter_config.json").write_text(json.dumps(config))
    weights = target / "adapter_model.safetensors"
    if name == "cut-short":
        weights.write_bytes(weights.read_bytes()[:-100])
    if name == "no-weights":
        weights.unlink()
    return target


FAULTS = ("too-large-a-rank", "dora", "cut-short", "no-weights")


@pytest.mark.parametrize("fault", FAULTS)
def test_an_unloadable_adapter_fails_alone_while_others_go_on(real: Any, tmp_path: Path, fault: str) -> None:
    real.house.adapter(fault, broken_copy(real, tmp_path / fault, fault), ())
    real.house.prod(fault, adapter=fault)
    prompt = ids(real, PROMPTS[0])
    with real.client() as client, ThreadPoolExecutor(8) as pool:
        while fault not in [card["id"] for card in client.get("/v1/models").json()["data"]]:
            pass
        good = [pool.submit(complete, client, name, prompt) for name in ("red", "green", "random-llama")]
        bad = [pool.submit(client.post, "/v1/chat/completions", json=chat(fault, "hi")) for _ in range(3)]
        for job in bad:
            reply = job.result()
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "adapter_unloadable")
        for name, job in zip(("red", "green", None), good, strict=True):
            same_as_peft(real, name, prompt, job.result())


def test_another_adapters_golden_prompts_are_not_passed(real: Any, tmp_path: Path) -> None:
    """The bytes load, but compute something else than was recorded: here half the scale."""
    folder = tmp_path / "half"
    shutil.copytree(real.reference.adapters["red"], folder)
    config = json.loads((folder / "adapter_config.json").read_text())
    config["lora_alpha"] /= 2
    (folder / "adapter_config.json").write_text(json.dumps(config))
    from tests.service.conftest import golden_of

    real.house.adapter("half", folder, (golden_of(real.reference, "red"),))
    real.house.prod("half", adapter="half")
    with real.client() as client:
        while (reply := client.post("/v1/chat/completions", json=chat("half", "hi"))).status_code == 404:
            pass
    assert reply.status_code == 503
    assert "nats per token" in reply.json()["error"]["message"]


def test_leaving_a_stream_frees_the_engine_and_the_lease(real: Any) -> None:
    def running() -> tuple[float, float]:
        page = httpx.get(f"{real.url}/metrics", timeout=60).text.splitlines()
        values = [line.rsplit(" ", 1)[1] for line in page if line.startswith("vllm:num_requests_running{")]
        leases = next(line.rsplit(" ", 1)[1] for line in page if line.startswith("dabt_adapter_leases "))
        return sum(map(float, values)), float(leases)

    # Far more than is made while this test looks on.
    body = chat("red", "hi", stream=True, max_tokens=480, n=64, temperature=1)
    with real.client() as client, client.stream("POST", "/v1/chat/completions", json=body) as reply:
        assert reply.status_code == 200
        lines = reply.iter_lines()  # kept: dropping it would leave the stream
        next(lines)
        assert running()[1] == 1
    while running()[1] != 0:
        pass
    with real.client() as client:  # a step of the engine later, its own figure agrees
        complete(client, "random-llama", ids(real, "a"), 2)
    while running()[0] != 0:
        pass


def test_every_version_and_the_engine_have_their_series(real: Any) -> None:
    with real.client() as client:
        before = series(client)
        complete(client, "blue", ids(real, "The clinic"), 7)
        after = series(client)
    label = '{version="blue:1"}'
    assert after[f"dabt_completion_tokens_total{label}"] - before.get(f"dabt_completion_tokens_total{label}", 0) == 7
    for name in ("time_to_first_token", "inter_token_latency", "queue", "request"):
        count = f"dabt_{name}_seconds_count{label}"
        assert after[count] - before.get(count, 0) == 1
    assert any(name.startswith("vllm:") for name in after)


def series(client: httpx.Client) -> dict[str, float]:
    lines = [line for line in client.get("/metrics").text.splitlines() if line and not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_an_engine_that_is_killed_answers_503_comes_back_and_computes_the_same(real: Any) -> None:
    import psutil

    prompt = ids(real, PROMPTS[0])
    with real.client() as client, ThreadPoolExecutor(2) as pool:
        complete(client, "red", prompt)
        core = core_below(psutil.Process())
        long = pool.submit(client.post, "/v1/completions", json={"model": "red", "prompt": prompt, "max_tokens": 480})
        while client.get("/admin/residency").json()["adapters"][-1]["leases"] == 0:
            pass
        core.kill()
        assert long.result().status_code == 503
        while client.get("/ready").status_code == 200:
            pass
        refused = client.post("/v1/completions", json={"model": "red", "prompt": prompt})
        assert (refused.status_code, "retry-after" in refused.headers) == (503, True)
        while client.get("/ready").status_code != 200:
            pass
        same_as_peft(real, "red", prompt, complete(client, "red", prompt))
