"""vLLM's border: how it is started, and what becomes of its errors."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs as logs

from lifecycle.errors import (
    DabtError,
    EngineDead,
    EngineFault,
    InvalidConfig,
    InvalidInput,
    NotFound,
    Overloaded,
    PromptTooLong,
    Unavailable,
)
from lifecycle.models.generation import decoding_of, stop_ids
from lifecycle.models.templates import frozen_template
from service.config import ServeConfig
from service.engine import processor
from service.engine.interface import Call
from service.engine.vllm.errors import border, last_line, raise_reported
from service.engine.vllm.flags import SHARED, flags, takes_adapters, target_modules
from service.engine.vllm.submission import Submission, begin, check_size, follow, public_name
from tests.service.packed_base import pack
from tests.service.random_llama import make_base


@pytest.fixture
def base(tmp_path: Path) -> Path:
    names = ["model.layers.0.self_attn.q_proj", "model.layers.0.mlp.up_proj", "lm_head", "model.embed_tokens"]
    header = {
        f"{name}.weight": {"dtype": "F32", "shape": [2, 2], "data_offsets": [at * 16, at * 16 + 16]}
        for at, name in enumerate(names)
    }
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + bytes(16 * len(names)))
    return tmp_path


def test_an_engine_has_no_place_for_images_whatever_its_base_could_read(base: Path) -> None:
    from vllm.config.multimodal import MultiModalConfig
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    for on_cpu in (True, False):
        given = flags(ServeConfig(base=base, dtype="float32"), on_cpu=on_cpu)
        args = AsyncEngineArgs.from_cli_args(make_arg_parser(FlexibleArgumentParser()).parse_args(given))
        assert args.language_model_only
    limits = MultiModalConfig(language_model_only=args.language_model_only)
    assert [limits.get_limit_per_prompt(kind) for kind in ("image", "audio", "video")] == [0, 0, 0]


def test_only_linear_projections_of_the_base_are_wrapped_for_adapters(base: Path) -> None:
    assert target_modules(ServeConfig(base=base)) == ["q_proj", "up_proj"]


def test_a_base_that_vllm_puts_no_adapter_over_is_served_without(base: Path) -> None:
    assert takes_adapters(base)
    assert "--enable-lora" in flags(ServeConfig(base=base), on_cpu=False)
    (base / "config.json").write_text('{"architectures": ["GPT2LMHeadModel"]}')
    assert not takes_adapters(base)
    assert not any("lora" in flag for flag in flags(ServeConfig(base=base), on_cpu=False) if flag.startswith("--"))


def test_the_flags_say_what_the_configuration_says(base: Path) -> None:
    config = ServeConfig(base=base, base_name="clinic", dtype="float32", kv_cache_gib=0.5, max_model_len=128)
    given = flags(config, on_cpu=True)
    values = dict(pairwise(given))
    assert values["--served-model-name"] == "clinic"
    assert (values["--dtype"], values["--max-model-len"]) == ("float32", "128")
    assert values["--kv-cache-memory-bytes"] == str(2**29)
    assert (values["--max-loras"], values["--max-cpu-loras"], values["--max-lora-rank"]) == ("8", "64", "16")
    assert "--enforce-eager" in given
    assert "--enforce-eager" not in flags(config, on_cpu=False)
    assert not any("runtime" in flag for flag in given)
    assert not any("tool" in flag for flag in given)
    tools = flags(ServeConfig(base=base, tool_parser="hermes"), on_cpu=False)
    assert tools[-3:] == ["--enable-auto-tool-choice", "--tool-call-parser", "hermes"]


def test_weights_are_rounded_to_8_bits_on_a_cpu_alone_in_16_bit_numbers_and_once(tmp_path: Path) -> None:
    make_base(tmp_path / "plain")
    pack(tmp_path / "plain", tmp_path / "packed", "int4")
    plain = ServeConfig(base=tmp_path / "plain", quantization="int8")
    given = flags(plain, on_cpu=True)
    values = dict(pairwise(given))
    assert (values["--quantization"], values["--dtype"]) == ("int8", "bfloat16")
    for changed, on_cpu, fault in (
        ({"dtype": "float32"}, True, "weights in 8 bits are multiplied with 16-bit numbers alone"),
        ({}, False, "rounds weights on a CPU alone"),
        ({"base": tmp_path / "packed"}, True, "is packed by compressed-tensors already"),
    ):
        with pytest.raises(InvalidConfig, match=fault):
            flags(plain.model_copy(update=changed), on_cpu=on_cpu)


def test_weights_in_4_bits_are_multiplied_with_16_bit_numbers_on_a_cpu(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "has_wide_vectors", lambda: True)
    make_base(tmp_path / "plain")
    for packing in ("int4", "awq", "gptq"):
        packed = tmp_path / packing
        pack(tmp_path / "plain", packed, packing)
        for given, taken in (("auto", "bfloat16"), ("bfloat16", "bfloat16"), ("float16", "float16")):
            assert dict(pairwise(flags(ServeConfig(base=packed, dtype=given), on_cpu=True)))["--dtype"] == taken
        with pytest.raises(InvalidConfig, match=r"--dtype: is float32.*take bfloat16, or leave it out"):
            flags(ServeConfig(base=packed, dtype="float32"), on_cpu=True)
        assert "float32" in flags(ServeConfig(base=packed, dtype="float32", kv_cache_gib=1.0), on_cpu=False)


def test_weights_in_4_bits_are_refused_on_a_processor_that_vllm_cannot_multiply_them_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processor, "has_wide_vectors", lambda: False)
    make_base(tmp_path / "plain")
    pack(tmp_path / "plain", tmp_path / "packed", "awq")
    packed = ServeConfig(base=tmp_path / "packed", dtype="bfloat16", kv_cache_gib=1.0)
    with pytest.raises(InvalidConfig, match=r"--base: .*packed .*in 4 bits.*AVX-512 alone → serve the base as"):
        flags(packed, on_cpu=True)
    assert "bfloat16" in flags(packed, on_cpu=False)
    pack(tmp_path / "plain", tmp_path / "bytes", "int8")
    assert "bfloat16" in flags(ServeConfig(base=tmp_path / "bytes", dtype="bfloat16"), on_cpu=True)


@pytest.mark.parametrize(("told", "multiplies"), [("sse avx2 avx512f", True), ("sse avx2 avx512_of_tomorrow", False)])
def test_the_processor_says_whether_vllm_has_a_product_of_4_bits_for_it(
    told: str, multiplies: bool, tmp_path: Path
) -> None:
    (tmp_path / "cpuinfo").write_text(f"flags : fpu {told}\n")
    assert processor.has_wide_vectors(tmp_path / "cpuinfo") is multiplies
    assert not processor.has_wide_vectors(tmp_path / "none")


def test_the_engine_adds_no_sampling_defaults_of_its_own(base: Path) -> None:
    (base / "generation_config.json").write_text('{"repetition_penalty": 1.3}')
    for on_cpu in (True, False):
        values = dict(pairwise(flags(ServeConfig(base=base, dtype="float32"), on_cpu=on_cpu)))
        assert values["--generation-config"] == "vllm"
        assert "--chat-template" not in values


def test_a_template_that_reads_the_clock_is_given_to_the_engine_frozen(base: Path) -> None:
    (base / "chat_template.jinja").write_text("{{ strftime_now('%d %b %Y') }}")
    values = dict(pairwise(flags(ServeConfig(base=base), on_cpu=False)))
    assert values["--chat-template"] == frozen_template("{{ strftime_now('%d %b %Y') }}")


@pytest.mark.engine  # imports vLLM
@pytest.mark.parametrize(
    "said",
    [
        {},
        {"do_sample": False, "max_new_tokens": 128, "eos_token_id": 2, "pad_token_id": 0, "bos_token_id": 1},
        {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "top_k": 50, "eos_token_id": [2, 7]},
        {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "repetition_penalty": 1.0, "min_p": 0.0},
        {"repetition_penalty": 1.05, "presence_penalty": 0.5, "frequency_penalty": 0.1, "min_p": 0.05, "top_p": None},
        {"max_length": 50, "num_beams": 1, "length_penalty": 2.0, "no_repeat_ngram_size": 3, "typical_p": 0.5},
        None,
    ],
)
def test_a_bases_defaults_are_read_as_vllm_reads_them(base: Path, said: dict[str, Any] | None) -> None:
    from vllm.config import ModelConfig
    from vllm.transformers_utils.config import try_get_generation_config

    (base / "config.json").write_text('{"model_type": "llama", "eos_token_id": 5, "max_new_tokens": 7, "top_p": 0.5}')
    if said is not None:
        (base / "generation_config.json").write_text(json.dumps(said))
    read = try_get_generation_config(str(base), trust_remote_code=False)
    assert read is not None
    fields = read.to_diff_dict()
    shown: Any = SimpleNamespace(
        generation_config="auto", override_generation_config={}, try_get_generation_config=lambda: dict(fields)
    )
    theirs = ModelConfig.get_diff_sampling_param(shown)
    assert decoding_of(base).model_dump(exclude_unset=True) == theirs
    ends = fields.get("eos_token_id")
    assert stop_ids(base) == tuple(ends if isinstance(ends, list) else [] if ends is None else [ends])


@pytest.mark.engine  # imports vLLM
def test_the_engine_is_started_without_the_bases_defaults_and_with_its_stops(tmp_path: Path) -> None:
    from vllm.engine.arg_utils import AsyncEngineArgs
    from vllm.entrypoints.launchers.cli_args import make_arg_parser
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    folder = tmp_path / "base"
    make_base(folder)
    said = {"repetition_penalty": 1.3, "top_k": 20, "max_new_tokens": 9, "eos_token_id": [0, 2]}
    (folder / "generation_config.json").write_text(json.dumps(said))
    dated = "{{ strftime_now('%d %b %Y') }}"
    (folder / "chat_template.jinja").write_text(dated)
    given = flags(ServeConfig(base=folder, dtype="float32"), on_cpu=True)
    args = make_arg_parser(FlexibleArgumentParser()).parse_args(given)
    model = AsyncEngineArgs.from_cli_args(args).create_model_config()
    assert model.get_diff_sampling_param() == {}
    assert model.try_get_generation_config()["eos_token_id"] == [0, 2]
    assert args.chat_template == frozen_template(dated)


@pytest.mark.engine  # imports vLLM
def test_vllm_takes_the_frozen_template_as_it_is_and_reads_messages_no_other_way() -> None:
    from vllm.renderers.chat_utils import load_chat_template
    from vllm.renderers.hf import _detect_content_format

    texts = "{% for m in messages %}{{ m.content }}{% endfor %}"
    parts = "{% for m in messages %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endfor %}"
    for template, content in ((texts, "string"), (parts, "openai")):
        frozen = frozen_template(template + "{{ strftime_now('%d %b %Y') }}" * 500)
        assert load_chat_template(frozen) == frozen
        assert _detect_content_format(frozen, default="string") == content


def test_a_gpu_keeps_the_checkpoints_own_number_format(base: Path) -> None:
    given = flags(ServeConfig(base=base), on_cpu=False)
    assert given[given.index("--dtype") + 1] == "auto"


@pytest.mark.parametrize(
    ("status", "param", "kind"),
    [
        (404, None, NotFound),
        (400, "n", InvalidInput),
        (422, None, InvalidInput),
        (503, None, Overloaded),
        (500, None, EngineFault),
    ],
)
def test_reported_errors_become_ours_by_their_status(status: int, param: str | None, kind: type[DabtError]) -> None:
    report = {"message": "لا", "code": status, "param": param}
    with pytest.raises(kind) as caught:
        raise_reported(report, Submission(), dead=False)
    assert type(caught.value) is kind
    assert ("لا" in str(caught.value)) is (kind is not EngineFault)
    if isinstance(caught.value, InvalidInput) and param:
        assert caught.value.problems[0].place == param
    with pytest.raises(EngineDead):
        raise_reported(report, Submission(), dead=True)
    # Once the engine has taken a request, nothing but a full queue is anybody else's.
    with pytest.raises(Overloaded if status == 503 else EngineFault):
        raise_reported(report, Submission(accepted=True), dead=False)


def test_a_workers_message_is_cut_down_to_what_happened() -> None:
    text = "Call failed:\nWorker failed with error 'rank 64', please check the stack trace above for the root cause\n"
    assert last_line(RuntimeError(text)) == "Worker failed with error 'rank 64'"
    assert last_line(RuntimeError()) == "RuntimeError"


BODY = {"prompt": "x", "temperature": "hot", "n": 2}
CHAT = Submission(Call("chat", BODY, "triage", None, "call-1"), BODY)


def thrown_in(module: str, error: Exception) -> Exception:
    """`error` as code of `module` raises it."""
    space: dict[str, Any] = {"__name__": module, "error": error}
    exec("def throw():\n    raise error", space)
    try:
        space["throw"]()
    except Exception as raised:
        return raised
    raise AssertionError


def wrapped(error: Exception) -> Exception:
    """As vLLM wraps what is raised on the way into its engine."""
    from vllm.v1.engine.exceptions import EngineGenerateError

    try:
        raise EngineGenerateError from error
    except EngineGenerateError as outer:
        return outer


def raised() -> list[tuple[Exception, type[DabtError], str]]:
    """vLLM's exception before a request is taken, what it becomes, and a word of the message."""
    from jinja2 import TemplateError, UndefinedError
    from vllm import exceptions
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    def invalid() -> Exception:
        try:
            CompletionRequest.model_validate(BODY)
        except ValueError as error:
            return error
        raise AssertionError

    return [
        (invalid(), InvalidInput, "temperature"),
        (exceptions.VLLMValidationError("too long", parameter="prompt", value=9), InvalidInput, "prompt: too long"),
        (exceptions.VLLMValidationError("9 > 8", parameter="input_tokens", value=9), PromptTooLong, "messages: 9 > 8"),
        (exceptions.VLLMValidationError("n must be 1 when greedy, got 2."), InvalidInput, "n: n must be 1"),
        (exceptions.VLLMValidationError("Not a field of it"), InvalidInput, "^Not a field of it$"),
        (exceptions.VLLMNotFoundError("no such"), NotFound, "no such"),
        (exceptions.QueueOverflowError(), Overloaded, "busy"),
        (exceptions.MaxQueuedTokensError(), Overloaded, "backlog"),
        (exceptions.RetryableRequestError(), Unavailable, "try again"),
        (thrown_in("vllm.sampling_params", ValueError("bad value")), InvalidInput, "bad value"),
        (thrown_in("vllm.renderers.chat_utils", NotImplementedError("no video")), InvalidInput, "no video"),
        (wrapped(thrown_in("vllm.v1.engine.input_processor", ValueError("bad value"))), InvalidInput, "bad value"),
        (wrapped(NotFound("ours")), NotFound, "ours"),
        (thrown_in("torch.nn", ValueError("a shape")), EngineFault, "details"),
        (thrown_in("vllm.sampling_params", TypeError("NoneType")), EngineFault, "details"),
        (thrown_in("vllm.v1.engine.core_client", OverflowError("int too big")), EngineFault, "details"),
        (TemplateError("roles must alternate"), InvalidInput, "messages: .*: roles must alternate"),
        (UndefinedError("'dict object' has no attribute"), InvalidInput, "take these messages$"),
        (wrapped(RuntimeError("a path")), EngineFault, "details"),
        (RuntimeError("a path"), EngineFault, "details"),
    ]


@pytest.mark.engine
def test_what_vllm_raises_before_it_takes_a_request_is_the_callers_by_its_kind_and_place() -> None:
    for error, kind, word in raised():
        with logs() as lines, pytest.raises(kind, match=word) as caught, border(lambda: False, CHAT):
            raise error
        assert type(caught.value) is kind
        assert "a path" not in str(caught.value)
        faults = [line for line in lines if line["log_level"] == "error"]
        assert len(faults) == (kind is EngineFault)
        assert all(line["engine_request"] == "call-1" and line["exc_info"] is error for line in faults)


@pytest.mark.engine
def test_what_vllm_raises_once_it_has_taken_a_request_is_never_the_callers() -> None:
    taken = Submission(CHAT.call, BODY, accepted=True)
    for error, kind, _ in raised():
        ours = kind if kind in (Overloaded, Unavailable) or isinstance(error.__cause__, DabtError) else EngineFault
        with logs() as lines, pytest.raises(ours) as caught, border(lambda: False, taken):
            raise error
        assert type(caught.value) is ours
        assert len(lines) == (ours is EngineFault)


@pytest.mark.engine
def test_a_dead_engine_is_said_to_be_dead_and_our_own_errors_pass() -> None:
    from vllm.v1.engine.exceptions import EngineDeadError

    for dead, error in ((True, RuntimeError("what")), (False, EngineDeadError())):
        with pytest.raises(EngineDead), border(lambda dead=dead: dead, CHAT):
            raise error
    ours = NotFound("ours")
    with pytest.raises(NotFound) as caught, border(lambda: True, CHAT):
        raise ours
    assert caught.value is ours


@pytest.mark.parametrize(
    ("asked", "answers"),
    [
        ({"prompt": "x"}, 1),
        ({"prompt": "x", "n": 4}, 4),
        ({"prompt": ["x", "y"], "n": 2}, 4),
        ({"prompt": [[1], [2], [3]]}, 3),
        ({"prompt": [1, 2, 3]}, 1),
        ({"messages": [], "n": 2}, 2),
        ({"prompt": []}, 1),
    ],
)
def test_what_alone_is_more_than_the_queue_takes_is_refused(asked: dict[str, Any], answers: int) -> None:
    check_size(asked, answers)
    with pytest.raises(InvalidInput, match=f"n: asks for {answers} answers at once; the engine takes {answers - 1}"):
        check_size(asked, answers - 1)


async def test_a_request_is_marked_as_taken_when_the_engine_has_it_and_checked_before() -> None:
    seen: list[Any] = []

    class Llm:
        async def add_request(self, request_id: str, prompt: Any, params: Any, **more: Any) -> str:
            seen.append(("taken", submission.accepted, request_id, prompt, more))
            if params == "bad":
                raise ValueError(params)
            return "outputs"

    async def check(submission: Submission, params: Any) -> None:
        seen.append(("checked", submission.call, params))

    llm = Llm()
    follow(llm, check)
    submission = begin(CHAT.call)
    with pytest.raises(ValueError, match="bad"):
        await llm.add_request("r", "p", "bad", priority=1)
    assert seen == [("checked", CHAT.call, "bad"), ("taken", False, "r", "p", {"priority": 1})]
    assert not submission.accepted
    assert await llm.add_request("r", "p", "good") == "outputs"
    assert submission.accepted
    assert public_name() == "triage"


@pytest.mark.parametrize("free", [SHARED - 1, 0])
def test_several_workers_are_refused_where_they_find_too_little_shared_memory(
    base: Path, free: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.statvfs", lambda place: SimpleNamespace(f_bavail=free, f_frsize=1))
    with pytest.raises(InvalidConfig, match=r"--tensor-parallel: /dev/shm has \d+ MiB free.*docker run --shm-size 4g"):
        flags(ServeConfig(base=base, tensor_parallel=2), on_cpu=False)
    flags(ServeConfig(base=base), on_cpu=False)  # one worker speaks through none


def test_a_gibibyte_of_shared_memory_is_enough(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Path] = []

    def free(place: Path) -> Any:
        asked.append(place)
        return SimpleNamespace(f_bavail=SHARED // 4096, f_frsize=4096)

    monkeypatch.setattr("os.statvfs", free)
    given = dict(pairwise(flags(ServeConfig(base=base, tensor_parallel=2), on_cpu=False)))
    assert given["--tensor-parallel-size"] == "2"
    assert asked == [Path("/dev/shm")]
