"""Preflight: what it lets through, and what it tells of it."""

from __future__ import annotations

import pytest

from lifecycle.models.preflight import SERVED_MODULES, preflight

Q0 = "model.layers.0.self_attn.q_proj"


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_a_plain_lora_passes_and_its_facts_are_told(peft, base, dtype):
    facts = preflight(peft.save(dtype), base)
    assert (facts.rank, facts.alpha, facts.scale, facts.use_rslora) == (4, 8.0, 2.0, False)
    assert facts.target_modules == tuple(sorted(name for name in SERVED_MODULES[:8] if name != "qkv_proj"))
    assert facts.parameters == sum(array.size for array in peft.tensors.values())
    assert facts.bytes == (peft.folder / "adapter_model.safetensors").stat().st_size
    assert facts.base_name == "clinic/base"


def test_a_rank_stabilised_adapter_has_the_scale_of_its_root(peft, base):
    peft.config["use_rslora"] = True
    assert preflight(peft.save(), base).scale == pytest.approx(8 / 2)


@pytest.mark.parametrize(
    "targets",
    ["all-linear", r".*\.(q|k|v|o|gate|up|down)_proj", r"model\.layers\.\d+\.(self_attn|mlp)\.\w+_proj"],
)
def test_targets_may_be_an_expression_or_all_linear(peft, base, targets):
    peft.config["target_modules"] = targets
    preflight(peft.save(), base)


def test_targets_may_be_whole_module_names(peft, base):
    peft.config["target_modules"] = [Q0]
    peft.tensors = {key: array for key, array in peft.tensors.items() if Q0 in key}
    assert preflight(peft.save(), base).target_modules == ("q_proj",)


def test_layers_left_out_on_purpose_are_not_missed(peft, base):
    peft.config["layers_to_transform"] = [1]
    peft.tensors = {key: array for key, array in peft.tensors.items() if ".layers.1." in key}
    preflight(peft.save(), base)
    peft.config.update(layers_to_transform=1, layers_pattern="layers")
    preflight(peft.save(), base)


def test_excluded_modules_are_not_missed(peft, base):
    peft.config["exclude_modules"] = ["mlp.down_proj"]
    peft.tensors = {key: array for key, array in peft.tensors.items() if "down_proj" not in key}
    assert "down_proj" not in preflight(peft.save(), base).target_modules


def test_keys_without_pefts_prefix_are_understood(peft, base):
    peft.tensors = {key.removeprefix("base_model.model."): array for key, array in peft.tensors.items()}
    preflight(peft.save(), base)


def test_a_zero_delta_in_some_modules_is_no_fault(peft, base):
    peft.tensors[peft.key(Q0, "B")][:] = 0
    preflight(peft.save(), base)


@pytest.mark.parametrize("init", [True, False, "gaussian", "eva", "orthogonal"])
def test_initialisations_that_leave_the_base_alone_pass(peft, base, init):
    peft.config["init_lora_weights"] = init
    preflight(peft.save(), base)


def test_the_state_that_a_trainer_leaves_beside_the_weights_is_no_fault(peft, base):
    folder = peft.save()
    for name in ("training_args.bin", "optimizer.pt", "scheduler.pt", "rng_state_0.pth"):
        (folder / name).write_bytes(b"\x80")
    preflight(folder, base)
