"""adapter_config.json, key by key: what an absent key means, what each rule of targets covers, what is refused."""

from __future__ import annotations

import json
import math

import pytest

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


@pytest.mark.parametrize("alpha", [0, -1, True, math.inf, math.nan, "8"])
def test_an_alpha_that_is_none_is_shown(said, alpha):
    assert refused(said, lora_alpha=alpha).startswith(
        f"adapter_config.json: lora_alpha: is {alpha!r} → it must be a number"
    )


@pytest.mark.parametrize("key", ["r", "lora_alpha", "target_modules"])
def test_a_key_that_is_not_there_is_said_to_be_missing(said, key):
    assert refused(said, **{key: None}).startswith(f"adapter_config.json: {key}: is missing")


@pytest.mark.parametrize("key", ["target_modules", "exclude_modules"])
@pytest.mark.parametrize("value", [["q_proj", ""], ["q_proj", 3], [3], [""], [], "", "(unclosed", 3, {"q_proj": 1}])
def test_module_names_are_texts_or_one_expression(said, key, value):
    assert "it must be module names, or an expression" in refused(said, **{key: value})


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
    "use_dora", "lora_bias", "rank_pattern", "alpha_pattern", "modules_to_save", "trainable_token_indices",
    "alora_invocation_tokens", "layer_replication", "target_parameters", "use_qalora", "use_bdlora", "kasa_config",
    "monteclora_config", "arrow_config", "fan_in_fan_out",
)  # fmt: skip


@pytest.mark.parametrize("key", EXTRAS)
def test_each_extra_is_refused_when_set_and_passes_when_empty(said, read, key):
    for empty in (False, {}, [], 0):
        read(**{key: empty})
    found, problems = said(**{key: {"a": 1}})
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
    ("content", "says"), [(b"[]", "holds no JSON object"), (b"{", "cannot be read"), (b"\xff", "cannot be read")]
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
