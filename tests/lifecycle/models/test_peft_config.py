"""adapter_config.json, key by key: what an absent key means, what each rule of targets covers, what is refused."""

from __future__ import annotations

import json
import math

import pytest

from lifecycle.models import peft_config
from lifecycle.models.peft_config import PLAIN_INITS, PeftConfig, read_config

PLAIN = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["q_proj"]}
Q1, V1, HEAD = "model.layers.1.self_attn.q_proj", "model.layers.1.self_attn.v_proj", "lm_head"


@pytest.fixture
def said(tmp_path):
    """(the configuration, the problems as text) of PLAIN with these changes; None takes a key away."""

    def said(**changes):
        raw = {key: value for key, value in {**PLAIN, **changes}.items() if value is not None}
        (tmp_path / "adapter_config.json").write_text(json.dumps(raw))
        config, problems = read_config(tmp_path)
        return config, [str(problem) for problem in problems]

    return said


@pytest.fixture
def read(said):
    def read(**changes):
        config, problems = said(**changes)
        assert problems == []
        assert config is not None
        return config

    return read


def refused(said, **changes):
    config, problems = said(**changes)
    assert config is None
    (problem,) = problems
    return problem


def test_a_plain_configuration_says_nothing_more(read):
    config = read()
    assert config == PeftConfig(r=4, lora_alpha=8, use_rslora=False, target_modules=("q_proj",))
    assert (config.exclude_modules, config.layers_to_transform, config.layers_pattern) == ((), (), ())
    assert config.base_name == ""


def test_everything_that_decides_is_read(read):
    config = read(
        use_rslora=True, exclude_modules=["o_proj"], layers_to_transform=[0, 3], layers_pattern="h",
        base_model_name_or_path="clinic/base",
    )  # fmt: skip
    assert (config.use_rslora, config.exclude_modules, config.layers_to_transform) == (True, ("o_proj",), (0, 3))
    assert (config.layers_pattern, config.base_name) == (("h",), "clinic/base")


@pytest.mark.parametrize(("use_rslora", "scale"), [(False, 8 / 4), (True, 8 / 2)])
def test_the_scale_is_alpha_over_r_or_over_its_root(read, use_rslora, scale):
    assert read(use_rslora=use_rslora).scale == scale


@pytest.mark.parametrize("rank", [1, 512])
def test_a_rank_is_at_least_1(read, rank):
    assert read(r=rank).r == rank


@pytest.mark.parametrize("rank", [0, -1, 1.5, True, "8"])
def test_a_rank_that_is_none_is_shown(said, rank):
    text = refused(said, r=rank)
    assert text == f"adapter_config.json: r: is {rank!r} → it must be a whole number, at least 1"


@pytest.mark.parametrize("alpha", [0.5, 1, 1e-3])
def test_an_alpha_may_be_small(read, alpha):
    assert read(lora_alpha=alpha).lora_alpha == alpha


@pytest.mark.parametrize("alpha", [0, -1, True, "8"])
def test_an_alpha_that_is_none_is_shown(said, alpha):
    assert refused(said, lora_alpha=alpha).startswith(
        f"adapter_config.json: lora_alpha: is {alpha!r} → it must be a number"
    )


@pytest.mark.parametrize("key", ["r", "lora_alpha", "target_modules"])
def test_a_key_that_is_not_there_is_said_to_be_missing(said, key):
    assert refused(said, **{key: None}).startswith(f"adapter_config.json: {key}: is missing")


@pytest.mark.parametrize("alpha", [math.inf, math.nan])
def test_what_is_no_json_number_is_said(said, alpha):
    assert "is not JSON: " in refused(said, lora_alpha=alpha)


@pytest.mark.parametrize("key", ["target_modules", "exclude_modules"])
@pytest.mark.parametrize("value", [["q_proj", ""], ["q_proj", 3], [3], [""], "", "(unclosed", 3, {"q_proj": 1}])
def test_module_names_are_texts_or_one_expression(said, key, value):
    assert "it must be module names, or an expression" in refused(said, **{key: value})


def test_no_modules_are_none_to_leave_out_and_none_to_adapt(said, read):
    assert read(exclude_modules=[]).exclude_modules == ()
    assert "it must be module names, or an expression" in refused(said, target_modules=[])


@pytest.mark.parametrize("value", ["(unclosed", ["h", "("], [3], [""], 3, {"h": 1}])
def test_patterns_of_layers_are_expressions(said, value):
    assert "layers_pattern: is" in refused(said, layers_pattern=value)


@pytest.mark.parametrize("flag", ["use_rslora", "use_dora", "lora_bias", "use_qalora", "fan_in_fan_out"])
@pytest.mark.parametrize("value", ["false", "true", 0, 1, []])
def test_a_flag_is_true_or_false_and_no_word_for_it(said, flag, value):
    _, problems = said(**{flag: value})
    assert problems == [f"adapter_config.json: {flag}: is {value!r} → it must be true or false, as PEFT writes it"]


def test_modules_may_have_ranks_and_alphas_of_their_own(read):
    config = read(
        rank_pattern={"q_proj": 2, "layers.1.mlp.down_proj": 16, "down_proj": 3}, alpha_pattern={"v_proj": 2.5}
    )
    ranks = {"layers.0.self_attn.q_proj": 2, "layers.1.mlp.down_proj": 16, "layers.11.mlp.down_proj": 3, "o_proj": 4}
    assert {module: config.rank_of(module) for module in ranks} == ranks
    assert config.rank_of("layers.0.my_q_proj") == 4  # a name starts behind a dot
    assert (config.largest_rank, config.alpha_pattern) == (16, (("v_proj", 2.5),))
    assert read(rank_pattern={"q_proj": 2}).largest_rank == read().largest_rank == 4


@pytest.mark.parametrize("key", ["rank_pattern", "alpha_pattern"])
@pytest.mark.parametrize("empty", [None, False, {}, []])
def test_no_patterns_are_none(read, key, empty):
    assert getattr(read(**{key: empty}), key) == ()


@pytest.mark.parametrize("key", ["rank_pattern", "alpha_pattern"])
@pytest.mark.parametrize(
    "value", [{"q_proj": "8"}, {"q_proj": 0}, {"(a+)+": 8}, {"q|k": 8}, {"": 8}, ["q_proj"], "q", 3]
)
def test_patterns_are_module_names_with_numbers(said, key, value):
    assert "it must be module names with" in refused(said, **{key: value})


def test_a_key_that_is_unknown_and_set_is_refused(said, read):
    read(anything_new=None, another=False, third=[], peft_version="0.21.2", lora_dropout=0.1, megatron_core="core")
    (problem,) = said(use_newer_lora={"x": 1})[1]
    assert problem.startswith("adapter_config.json: use_newer_lora: is no key of PEFT 0.21 that is known here")


def test_every_key_of_the_installed_peft_is_known(said):
    from dataclasses import fields

    from peft import LoraConfig

    known = {*peft_config._READ, *peft_config._OF_TRAINING, *peft_config._FLAGS}
    known |= {*peft_config._EXTRAS, *peft_config._PATTERNS, "runtime_config"}
    assert {field.name for field in fields(LoraConfig)} - known == set()


def test_an_expression_that_is_made_to_be_slow_ends_with_a_message():
    slow = config(target_modules="(a|a)+[bc]")
    with pytest.raises(TimeoutError):
        slow.targets("a" * 60)
    with pytest.raises(TimeoutError):
        config(layers_to_transform=(0,), layers_pattern=("(a|a)+[bc]",)).targets("a" * 60 + ".q_proj")


def test_what_is_nested_without_end_is_said(tmp_path):
    (tmp_path / "adapter_config.json").write_text("[" * 100_000 + "]" * 100_000)
    (problem,) = read_config(tmp_path)[1]
    assert "is nested too deeply" in str(problem)


@pytest.mark.parametrize(
    ("files", "says"),
    [
        (
            ["checkpoint-500/adapter_config.json", "checkpoint-1000/adapter_config.json"],
            "name one of them: {}/checkpoint-1000",
        ),
        (["sft/adapter_config.json"], "the adapter lies one folder deeper, in sft → name {}/sft"),
        (["config.json", "model.safetensors"], "this is a whole model, no adapter"),
        (["lora.gguf"], "this is an adapter of llama.cpp"),
        (["notes.txt"], "this is no PEFT adapter folder → save the adapter with PEFT's save_pretrained"),
    ],
)
def test_a_folder_that_is_something_else_is_called_by_its_name(tmp_path, files, says):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("{}")
    (problem,) = read_config(tmp_path)[1]
    assert says.format(tmp_path) in str(problem)


def test_a_file_and_a_path_to_nothing_are_no_folders(tmp_path):
    file = tmp_path / "adapter.zip"
    file.write_bytes(b"PK")
    assert "adapter.zip is a file" in str(read_config(file)[1][0])
    assert "there is no folder" in str(read_config(tmp_path / "nothing")[1][0])


def test_all_that_is_wrong_is_reported_together(said):
    config, problems = said(r=0, lora_alpha=0, bias="all", use_dora=True)
    assert config is None
    assert len(problems) == 4


@pytest.mark.parametrize("value", [["x"], {"a": 1}])
def test_layers_that_are_no_numbers_are_a_problem_beside_the_others(said, value):
    config, problems = said(layers_to_transform=value, use_dora=True)
    assert config is None
    assert len(problems) == 2
    assert "has values that PEFT does not write" in problems[1]


# -- which modules ----------------------------------------------------------------------------------------------------


def config(**changes):
    return PeftConfig(**{"r": 4, "lora_alpha": 8, "use_rslora": False, "target_modules": ("q_proj",), **changes})


def test_a_name_covers_whole_last_parts_alone():
    assert config().targets(Q1)
    assert config(target_modules=("self_attn.q_proj",)).targets(Q1)
    assert config(target_modules=(Q1,)).targets(Q1)
    assert not config(target_modules=("proj",)).targets(Q1)
    assert not config().targets(V1)


def test_an_expression_covers_whole_names():
    assert config(target_modules=r".*\.q_proj").targets(Q1)
    assert not config(target_modules=r".*\.q_pro").targets(Q1)
    assert not config(target_modules="q_proj").targets(Q1)


@pytest.mark.parametrize("head", ["lm_head", "embed_out", "output", "score", "classifier"])
def test_all_linear_leaves_the_output_out(head):
    assert not config(target_modules="all-linear").targets(head)
    assert not config(target_modules="all-linear").targets(f"model.{head}")
    assert config(target_modules="all-linear").targets(f"{head}.dense")


def test_what_is_excluded_is_not_targeted():
    for excluded in (("q_proj",), r".*q_proj", (Q1,)):
        assert not config(exclude_modules=excluded).targets(Q1)
        assert not config(exclude_modules=excluded, target_modules="all-linear").targets(Q1)
    assert config(exclude_modules=("v_proj",)).targets(Q1)


def test_layers_narrow_what_names_cover_and_nothing_else():
    assert config(layers_to_transform=(0, 1)).targets(Q1)
    assert not config(layers_to_transform=(0, 2)).targets(Q1)
    assert not config(layers_to_transform=(1,)).targets("model.q_proj")
    assert config(layers_to_transform=(2,), target_modules=(Q1,)).targets(Q1)
    assert config(layers_to_transform=(2,), target_modules=r".*\.q_proj").targets(Q1)
    assert config(layers_to_transform=(2,), target_modules="all-linear").targets(Q1)


def test_a_pattern_says_what_the_layers_are_called():
    two = "encoder.h.0.block.1.q_proj"
    assert config(layers_to_transform=(0,), layers_pattern=("h",)).targets(two)
    assert not config(layers_to_transform=(1,), layers_pattern=("h",)).targets(two)
    assert config(layers_to_transform=(1,), layers_pattern=("block",)).targets(two)
    assert config(layers_to_transform=(0,), layers_pattern=("nothing", "h")).targets("h.0.q_proj")
    assert not config(layers_to_transform=(0,), layers_pattern=("layers",)).targets(two)


# -- more than a plain LoRA -------------------------------------------------------------------------------------------

EXTRAS = (
    "use_dora", "lora_bias", "modules_to_save", "trainable_token_indices",
    "alora_invocation_tokens", "layer_replication", "target_parameters", "use_qalora", "use_bdlora", "kasa_config",
    "monteclora_config", "arrow_config", "fan_in_fan_out",
)  # fmt: skip


@pytest.mark.parametrize("key", EXTRAS)
def test_each_extra_is_refused_when_set_and_passes_when_empty(said, read, key):
    for empty in (False,) if key in peft_config._FLAGS else (False, {}, [], 0):
        read(**{key: empty})
    found, problems = said(**{key: True if key in peft_config._FLAGS else {"a": 1}})
    assert found is not None
    (problem,) = problems
    assert problem.startswith(f"adapter_config.json: {key}: ")


@pytest.mark.parametrize("init", [None, True, False, *PLAIN_INITS, "Gaussian"])
def test_initialisations_that_leave_the_base_alone_pass(read, init):
    assert PLAIN_INITS == ("gaussian", "eva", "orthogonal", "mica")
    read(init_lora_weights=init)


@pytest.mark.parametrize("init", ["pissa", "olora", "corda", "loftq", "anything_new"])
def test_initialisations_that_change_the_base_are_refused(said, init):
    (problem,) = said(init_lora_weights=init)[1]
    assert problem.startswith(f"adapter_config.json: init_lora_weights: '{init}' changes the base's own weights")


@pytest.mark.parametrize(("bias", "fits"), [(None, True), ("none", True), ("all", False), ("lora_only", False)])
def test_trained_biases_are_refused(said, bias, fits):
    assert (said(bias=bias)[1] == []) is fits


@pytest.mark.parametrize("kind", [None, "IA3", "lora"])
def test_only_a_lora_is_one(said, kind):
    (problem,) = said(peft_type=kind)[1]
    assert problem == f"adapter_config.json: peft_type: is {kind!r} → only LORA can be served"


@pytest.mark.parametrize(
    ("content", "says"), [(b"[]", "holds no JSON object"), (b"{", "is not JSON: EOF"), (b"\xff", "cannot be read")]
)
def test_what_is_no_configuration_is_said(tmp_path, content, says):
    (tmp_path / "adapter_config.json").write_bytes(content)
    found, (problem,) = read_config(tmp_path)
    assert found is None
    assert says in str(problem)


def test_a_folder_without_one_is_no_adapter(tmp_path):
    found, (problem,) = read_config(tmp_path)
    assert found is None
    assert "is missing: this is no PEFT adapter folder" in str(problem)
