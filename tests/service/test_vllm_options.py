"""What may follow -- in `dabt serve`: by list, with a reason for the rest, and never the end of the process."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig
from service.config import ServeConfig
from service.engine.vllm import options
from service.engine.vllm.facts import asked
from service.engine.vllm.flags import flags

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]  # imports vLLM


XGRAMMAR = {
    "backend": "xgrammar",
    "disable_any_whitespace": False,
    "disable_additional_properties": False,
    "reasoning_parser": "",
    "reasoning_parser_plugin": "",
    "enable_in_reasoning": False,
}
COMPACT = {**XGRAMMAR, "disable_any_whitespace": True}


@pytest.fixture(scope="module")
def base_model() -> Path:
    return Path(__file__).parents[2] / "examples/clinic/base_model"


@pytest.fixture(scope="module")
def own(base_model: Path) -> list[str]:
    return flags(ServeConfig(base=base_model, dtype="float32"), on_cpu=True)


def refusal(own: list[str], *given: str) -> str:
    with pytest.raises(InvalidConfig) as told:
        options.parsed(own, given)
    return str(told.value)


@pytest.mark.parametrize(
    ("given", "name", "value"),
    [
        (["--seed", "7"], "seed", 7),
        (["--max-logprobs=40"], "max_logprobs", 40),
        (["--max_logprobs", "40"], "max_logprobs", 40),
        (["--no-enable-prefix-caching"], "enable_prefix_caching", False),
        (["--kv-cache-dtype", "fp8"], "kv_cache_dtype", "fp8"),
        (["--structured-outputs-config.disable_any_whitespace", "true"], "structured_outputs_config", COMPACT),
        (["--structured-outputs-config.backend", "xgrammar"], "structured_outputs_config", XGRAMMAR),
        (
            ["--default-chat-template-kwargs", '{"enable_thinking": false}'],
            "default_chat_template_kwargs",
            {"enable_thinking": False},
        ),
    ],
)
def test_an_option_of_vllm_reaches_it(own: list[str], given: list[str], name: str, value: Any) -> None:
    told = getattr(options.parsed(own, given), name)
    assert (dataclasses.asdict(told) if dataclasses.is_dataclass(told) else told) == value


def test_compiled_by_a_backend_of_torch_is_taken(own: list[str]) -> None:
    args = options.parsed(own, ["--compilation-config", '{"backend": "eager"}'])
    assert args.compilation_config.backend == "eager"


def test_every_part_of_the_settings_of_structured_output_is_decided_about() -> None:
    assert options.PARTS["structured_outputs_config"].keys() | {
        "disable_any_whitespace",
        "enable_in_reasoning",
    } == (XGRAMMAR.keys())


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (["--no-enable-lora"], "--enable-lora: adapters come from the registry"),
        (["--lora-modules", "x=/tmp/x"], "--lora-modules: adapters come from the registry"),
        (["--served-model-name", "gpt"], "--served-model-name: write --base-name before the --"),
        (["--api-key", "secret"], "--api-key: callers' keys are the registry's"),
        (["--host", "0.0.0.0"], "--host: write --host before the --"),
        (["--port", "1"], "--port: write --port before the --"),
        (["--generation-config", "auto"], "--generation-config: a version's digest covers the base"),
        (["--max-lora-rank", "8"], "--max-lora-rank: write --max-lora-rank before the --"),
        (["--max-lora-r", "8"], "--max-lora-rank: write --max-lora-rank before the --"),
        (["--worker-cls", "my.Worker"], "--worker-cls: it runs code that no digest covers"),
        (["--trust-remote-code"], "--trust-remote-code: it runs code that no digest covers"),
        (["--hf-overrides", '{"rope_theta": 1}'], "--hf-overrides: a version's digest covers the base"),
        (["--load-format", "dummy"], "--load-format: a version's digest covers the base"),
        (["--logprobs-mode", "processed_logits"], "--logprobs-mode: golden prompts"),
        (["--allowed-local-media-path", "/"], "--allowed-local-media-path: it lets callers"),
        (["--data-parallel-size", "2"], "--data-parallel-size: a service is one engine"),
        (["--ssl-keyfile", "x"], "--ssl-keyfile: it is an option of vLLM's own HTTP server"),
        (["--tensor-parallel-size", "2"], "--tensor-parallel-size: write --tensor-parallel before the --"),
        (["--enable-sleep-mode"], "--enable-sleep-mode: it is not known to leave the promises"),
        (["somebody/else"], "--model-tag: write --base before the --"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
        (["--seed", "many"], "invalid int value: 'many'"),
        (["--speculative-config", "{"], "--speculative-config"),
        (["--help"], "`vllm serve --help` lists its options"),
        (["--structured-outputs-config.backend", "guidance"], "--structured-outputs-config.backend: grammars are"),
        (["--structured-outputs-config", '{"backend": "guidance"}'], "--structured-outputs-config.backend: grammars"),
        (["--structured-outputs-config={\"backend\": \"outlines\"}"], "--structured-outputs-config.backend: grammars"),
        (
            ["--structured-outputs-config", '{"backend": "xgrammar", "disable_any_whitespace": true}'],
            "--structured-outputs-config: the service gives a part of it, beside which vLLM leaves an object out →",
        ),
        (["--structured-outputs-config", '{"disable_any_whitespace": true}'], "→ write its parts, such as"),
        (
            ["--structured-outputs-config.reasoning_parser", "qwen3"],
            "--structured-outputs-config.reasoning_parser: write --reasoning-parser before the --",
        ),
        (
            ["--structured-outputs-config.reasoning_parser_plugin", "/tmp/x.py"],
            "--structured-outputs-config.reasoning_parser_plugin: it runs code",
        ),
        (["--reasoning-config", '{"reasoning_parser": "qwen3"}'], "--reasoning-config.reasoning_parser: write"),
        (["--compilation-config", '{"backend": "my.Backend"}'], "--compilation-config.backend: it runs code"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)  # fmt: skip
def test_what_would_break_a_promise_or_is_unknown_is_refused_with_the_reason(
    own: list[str], given: list[str], says: str
) -> None:
    assert says in refusal(own, *given)


def test_all_that_is_refused_is_told_at_once(own: list[str]) -> None:
    told = refusal(own, "--host", "h", "--worker-cls", "w", "--seed", "7")
    assert "--host" in told
    assert "--worker-cls" in told
    assert "--seed" not in told


def test_a_file_of_options_is_judged_like_options(own: list[str], tmp_path: Path) -> None:
    (tmp_path / "options.yaml").write_text("seed: 7\ntrust-remote-code: true\n")
    assert "--trust-remote-code: it runs code" in refusal(own, "--config", str(tmp_path / "options.yaml"))


def test_every_option_of_this_release_is_judged_and_none_that_is_gone(own: list[str]) -> None:
    names = frozenset(vars(options.parsed(own, [])))
    engine = options.engine_options()
    listed = options.PASSED | options.FRONT | options.OURS.keys() | options.REFUSED.keys()
    assert listed - names == {"help", "middleware"} - names
    assert engine >= options.PASSED
    assert not options.PASSED & (options.OURS.keys() | options.REFUSED.keys())
    assert set(options.FRONT_ANSWERS) <= options.FRONT
    assert options.reason("what_next_year_brings", frozenset({"what_next_year_brings"}))


def told_of(base: Path, *given: str, **settings: Any) -> dict[str, Any]:
    from vllm.engine.arg_utils import AsyncEngineArgs

    config = ServeConfig(base=base, dtype="float32", engine_options=given, **settings)
    args, operators = options.parsed_arguments(config)
    return asked(AsyncEngineArgs.from_cli_args(args), {}, operators).arguments


@pytest.mark.parametrize(
    "given",
    [
        ["--seed", "7"],
        ["--kv-cache-dtype", "fp8"],
        ["--default-chat-template-kwargs", '{"enable_thinking": false}'],
        ["--chat-template-content-format", "openai"],
        ["--max-num-batched-tokens", "4096"],
    ],
    ids=lambda given: given[0],
)
def test_what_changes_an_answer_is_in_the_fingerprint(base_model: Path, given: list[str]) -> None:
    assert told_of(base_model, *given) != told_of(base_model)


@pytest.mark.parametrize(
    "settings",
    [{"quantization": "fp8"}, {"reasoning_parser": "qwen3"}, {"speculative": "ngram"}, {"tensor_parallel": 2}],
)
def test_what_has_a_name_of_our_own_is_in_it_too(
    base_model: Path, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.engine.vllm.flags.check_shared_memory", lambda: None)
    assert told_of(base_model, **settings) != told_of(base_model)


@pytest.mark.parametrize("settings", [{"kv_cache_gib": 2.0}, {"max_queue": 9}])
def test_sizes_of_the_moment_are_not(base_model: Path, settings: dict[str, Any]) -> None:
    assert told_of(base_model, **settings) == told_of(base_model)


def test_the_fingerprint_tells_no_place_and_no_secret(base_model: Path) -> None:
    told = json.dumps(told_of(base_model, "--hf-token", "hf_secret", "--download-dir", "/home/somebody"))
    assert "secret" not in told
    assert "somebody" not in told
    told = json.dumps(told_of(base_model, "--additional-config", '{"key": "hidden-value"}'))
    assert "hidden-value" not in told
