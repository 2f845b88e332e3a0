"""The deployment's digest: another with each thing that can change an answer, and the same with all that cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from lifecycle.deployment import Deployment
from lifecycle.models.answers import bare_spec
from lifecycle.version import digest_of
from service import deployment
from service.config import ServeConfig
from service.deployment import OwnDeployment, revision
from service.engine.interface import EngineDetail, EngineFacts

pytestmark = pytest.mark.timeout(300)

BASE = digest_of("base")
DETAIL = EngineDetail(
    kernels=("masked",),
    device={"kind": "cpu", "level": "AVX512", "threads": 2},
    libraries={"torch": "2.13.0", "others": "sha256:1"},
    arguments={"kv_cache_dtype": "auto", "environment": {}},
)
FACTS = EngineFacts(
    engine="vllm", version="0.32.0", dtype="float32", max_model_len=512, lora_kernel="masked", detail=DETAIL
)
CONFIG = {"base": Path("/models/tiny")}


def digest(facts: EngineFacts = FACTS, base_digest: str = BASE, **config: Any) -> str:
    return OwnDeployment(ServeConfig.model_validate(CONFIG | config), base_digest).of(facts).digest


@pytest.mark.parametrize(
    "change",
    [
        {"engine": "sglang"},
        {"version": "0.33.0"},
        {"dtype": "bfloat16"},
        {"max_model_len": 1024},
        {"detail": DETAIL.model_copy(update={"kernels": ()})},
        {"detail": DETAIL.model_copy(update={"device": {**DETAIL.device, "level": "AVX2"}})},
        {"detail": DETAIL.model_copy(update={"device": {**DETAIL.device, "threads": 1}})},
        {"detail": DETAIL.model_copy(update={"libraries": {**DETAIL.libraries, "torch": "2.14.0"}})},
        {"detail": DETAIL.model_copy(update={"arguments": {**DETAIL.arguments, "kv_cache_dtype": "fp8"}})},
        {"detail": DETAIL.model_copy(update={"arguments": {**DETAIL.arguments, "a_flag_of_next_year": True}})},
    ],
    ids=lambda change: json.dumps(change, default=lambda detail: detail.model_dump())[:60],
)
def test_another_engine_is_another_deployment(change: dict[str, Any]) -> None:
    assert digest(FACTS.model_copy(update=change)) != digest()


def test_another_base_is_another_deployment() -> None:
    assert digest(base_digest=digest_of("another base")) != digest()


def test_other_code_is_another_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    before = digest()
    monkeypatch.setattr(deployment, "revision", lambda: "another")
    assert digest() != before


CHANGES: dict[str, Any] = {
    "max_loras": 4,
    "max_cpu_loras": 128,
    "max_lora_rank": 32,
    "kv_cache_gib": 2.0,
    "max_queue": 7,
    "turn_seconds": 0.1,
    "max_body_mib": 1.0,
    "tool_parser": "hermes",
    "compile_seconds": 1.0,
    "reasoning_parser": "qwen3",
    "tensor_parallel": 2,
    "quantization": "awq",
    "speculative": "ngram",
    "gpu_memory": 0.5,
    "max_seqs": 64,
    "golden_tolerance": 0.2,
}
HARMLESS: dict[str, Any] = {
    "base": Path("/home/somebody/models/tiny"),
    "base_name": "tiny",
    "host": "127.0.0.2",
    "port": 8001,
    "keys": "required",
    "limits_url": "redis://:secret@cache:6379/0",
    "prefix_cache": "shared",
    "allowed_host": ("gpu-box",),
    "cors_origin": ("https://tools.example",),
    "usage_seconds": 5.0,
    "log_bodies": True,
    "log_level": "debug",
    "log_format": "json",
    "otlp_endpoint": "http://collector:4318",
    "otlp_protocol": "grpc",
    "shadow_folder": Path("/home/somebody/shadow"),
    "poll_seconds": 0.1,
    "canary_seconds": 2.0,
    "preload": ("triage",),
    "pin": ("triage",),
    "cache_gib": 1.0,
    "classifier_gib": 1.0,
    "load_wait_seconds": 1.0,
    "fetch_seconds": 1.0,
    "client_seconds": 1.0,
    "max_file_mib": 1.0,
    "max_upload_mib": 1.0,
    "worker": True,
    "evals": Path("/home/somebody/evals"),
    "checkpoint_days": 3,
    "ui": False,
    "grafana_url": "https://grafana.example",
    "router_series": True,
    "keep_alive_seconds": 1.0,
    "drain_seconds": 1.0,
    "engine_silent_seconds": 1.0,
    "restart_attempts": 0,
    "embedding_model": "none",
    "dtype": "float32",  # what it resolved to is the engine's word, and so is the next
    "max_model_len": 512,
    "engine_options": ("--seed", "7"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_setting_that_bears_on_answers_or_their_limits_is_another_deployment(name: str) -> None:
    assert digest(**{name: CHANGES[name]}) != digest()


@pytest.mark.parametrize("name", HARMLESS)
def test_a_setting_that_changes_no_answer_is_the_same_deployment(name: str) -> None:
    assert digest(**{name: HARMLESS[name]}) == digest()


def test_every_setting_is_in_one_of_the_two_lists() -> None:
    """A new one counts, until somebody finds that it changes no answer and says so here."""
    assert set(ServeConfig.model_fields) == CHANGES.keys() | HARMLESS.keys()
    assert HARMLESS.keys() == deployment.NO_ANSWER


def test_the_revision_is_of_names_and_bytes_and_not_of_the_place(tmp_path: Path) -> None:
    def package(root: str, files: dict[str, str]) -> str:
        folder = tmp_path / root / "service"
        for name, text in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        return revision([folder])

    whole = {"a.py": "1", "room/b.py": "2"}
    first = package("here", whole)
    assert package("there", whole | {"__pycache__/a.pyc": "x", ".a.py.swp": "x"}) == first
    others = [
        {"a.py": "2", "room/b.py": "2"},
        {"a.py": "1", "room/c.py": "2"},
        {"a.py": "1", "b.py": "2"},
        {"a.py": "1"},
    ]
    revisions = [package(str(at), files) for at, files in enumerate(others)]
    assert len({first, *revisions}) == 5
    assert revision() == revision()


async def test_every_answer_names_its_deployment_and_the_route_says_what_is_in_it(house: Any, start: Any) -> None:
    version = house.prod("faq", prompt={"system": "Answer."})
    async with start(house) as running:
        told = (await running.client.get("/v1/dabt/deployment")).json()
        asked = {"model": "faq", "messages": [{"role": "user", "content": "x"}]}
        replies = [
            await running.chat("faq"),
            await running.chat("faq", stream=True),
            await running.chat("tiny"),
            await running.client.post("/v1/completions", json={"model": "tiny", "prompt": "x"}),
            await running.client.post("/v1/responses", json={"model": "faq", "input": "x"}),
            await running.client.post("/v1/responses", json={"model": "faq", "input": "x", "stream": True}),
            await running.client.post("/v1/chat/completions", json=asked | {"temperature": "hot"}),
        ]
    assert [reply.status_code for reply in replies] == [200] * 6 + [400]
    assert replies[0].headers["x-dabt-digest"] == version.digest
    assert {reply.headers["x-dabt-deployment"] for reply in replies} == {told["digest"]}
    made = Deployment.model_validate(told["deployment"])
    assert made.digest == told["digest"]
    assert (made.engine, made.dtype, made.base) == ("fake 1", "none", bare_spec(house.base).digest)


async def test_the_same_service_started_again_is_the_same_deployment(house: Any, start: Any, until: Any) -> None:
    async with start(house) as running:
        before = (await running.chat("tiny")).headers["x-dabt-deployment"]
        running.engine.die()
        await until(lambda: running.engine.starts == 2)
        await until(running.ready)
        assert (await running.chat("tiny")).headers["x-dabt-deployment"] == before
    async with start(house, port=8001, log_level="debug", base_name="other") as running:
        assert (await running.chat("other")).headers["x-dabt-deployment"] == before
    async with start(house, turn_seconds=0.1) as running:
        assert (await running.chat("tiny")).headers["x-dabt-deployment"] != before


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("config.json", '{"model_type": "llama", "rope_theta": 7}'),
        ("generation_config.json", '{"temperature": 0.6}'),
        ("tokenizer_config.json", '{"clean_up_tokenization_spaces": true}'),
        ("chat_template.jinja", "{{ messages }}"),
        ("a_file_of_next_year.json", "{}"),
    ],
)
async def test_each_part_of_the_bases_folder_that_decides_an_answer_is_another_deployment(
    house: Any, start: Any, name: str, text: str
) -> None:
    async with start(house) as running:
        before = (await running.client.get("/v1/dabt/deployment")).json()["digest"]
    (house.base / name).write_text(text)
    async with start(house) as running:
        assert (await running.client.get("/v1/dabt/deployment")).json()["digest"] != before


async def test_what_it_says_holds_no_place_and_no_secret(house: Any, start: Any) -> None:
    async with start(house, limits_url="memory://", shadow_folder=house.home.root / "shadow") as running:
        text = (await running.client.get("/v1/dabt/deployment")).text
    assert str(house.home.root) not in text
    assert str(house.base) not in text
    assert "127.0.0.1" not in text


async def test_a_caller_may_ask_and_a_stranger_may_not(house: Any, start: Any) -> None:
    key = house.key("someone", role="caller")
    async with start(house) as running:
        assert (await running.client.get("/v1/dabt/deployment")).status_code == 401
        assert (await running.client.get("/v1/dabt/deployment", headers=key)).status_code == 200


async def test_before_the_engine_has_started_nobody_knows_and_it_is_asked_again(house: Any, start: Any) -> None:
    async with start(house) as running:
        running.app.state.parts.supervisor.facts = None
        reply: httpx.Response = await running.client.get("/v1/dabt/deployment")
        assert (reply.status_code, reply.headers["retry-after"]) == (503, "2")
