"""Preflight at its bounds: ranks, element types, which of the deltas are zero, and names that fit only almost."""

from __future__ import annotations

import json
import struct

import numpy
import pytest

from lifecycle.errors import AdapterRefused
from lifecycle.models.preflight import SERVED_MODULES, SERVED_RANKS, preflight

Q0 = "model.layers.0.self_attn.q_proj"
LAST = "model.layers.1.mlp.down_proj"


def refusals(peft, base, **limits):
    with pytest.raises(AdapterRefused) as caught:
        preflight(peft.folder, base, **limits)
    return [str(problem) for problem in caught.value.problems]


def stored_as(peft, dtype, size):
    """The folder saved with every tensor's bytes said to be of `dtype`, `size` bytes an element, all ones in bits."""
    peft.save()
    header, body = {}, b""
    for name, array in peft.tensors.items():
        raw = array.astype("<f8").tobytes() if dtype == "F64" else b"\x01" * (array.size * size)
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    (peft.folder / "adapter_model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + body)


def test_the_ranks_and_modules_are_those_that_vllm_0_32_takes():
    assert SERVED_RANKS == (1, 8, 16, 32, 64, 128, 256, 320, 512)
    assert set(SERVED_MODULES) == {
        "q_proj", "k_proj", "v_proj", "o_proj", "qkv_proj", "gate_proj", "up_proj", "down_proj", "gate_up_proj",
        "query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h", "out_proj", "in_proj", "fc1", "fc2", "c_attn",
        "c_proj", "c_fc", "Wqkv", "wqkv", "wo", "w1", "w2", "w3",
    }  # fmt: skip


@pytest.mark.parametrize(("most", "fits"), [(4, True), (3, False)])
def test_a_rank_may_be_the_servers_largest(peft, base, most, fits):
    peft.save()
    if fits:
        assert preflight(peft.folder, base, max_rank=most).rank == 4
    else:
        (refusal,) = refusals(peft, base, max_rank=most)
        assert refusal.startswith("adapter_config.json: r: is 4; the server takes 3 → train with r ≤ 3")


@pytest.mark.parametrize(("rank", "fits"), [(64, True), (65, False)])
def test_a_server_takes_ranks_up_to_64_unless_it_says_otherwise(peft, base, rank, fits):
    peft.config["r"] = rank
    for key, array in peft.tensors.items():
        shape = (rank, array.shape[1]) if "lora_A" in key else (array.shape[0], rank)
        peft.tensors[key] = numpy.ones(shape)
    peft.save()
    if fits:
        assert preflight(peft.folder, base).rank == 64
    else:
        (refusal,) = refusals(peft, base)
        assert "the server takes 64" in refusal


def test_wide_floats_pass(peft, base):
    stored_as(peft, "F64", 8)
    assert preflight(peft.folder, base).rank == 4


@pytest.mark.parametrize(("dtype", "size"), [("I8", 1), ("F8_E4M3", 1), ("I64", 8)])
def test_elements_that_are_no_floats_are_refused_for_that_alone(peft, base, dtype, size):
    """And not also for a delta of zero: nobody has looked at it."""
    stored_as(peft, dtype, size)
    (refusal,) = refusals(peft, base)
    assert f"is stored as {dtype}, expected BF16, F16 or F32" in refusal
    assert "and 27 more" in refusal


@pytest.mark.parametrize("alive", [Q0, LAST])
def test_one_module_with_an_effect_is_enough_wherever_it_is(peft, base, alive):
    for key, array in peft.tensors.items():
        if alive not in key:
            array[:] = 0
    assert preflight(peft.save(), base).rank == 4


@pytest.mark.parametrize("dead", [Q0, LAST])
def test_a_delta_of_zero_in_one_module_is_no_fault_wherever_it_is(peft, base, dead):
    peft.tensors[peft.key(dead, "B")][:] = 0
    assert preflight(peft.save(), base).rank == 4


def test_factors_that_are_zero_by_turns_have_no_effect(peft, base):
    """A is zero in one half of the modules and B in the other."""
    for at, module in enumerate(sorted({key.rpartition(".lora_")[0] for key in peft.tensors})):
        peft.tensors[f"{module}.lora_{'AB'[at % 2]}.weight"][:] = 0
    peft.save()
    (refusal,) = refusals(peft, base)
    assert "every delta is zero" in refusal


def test_values_that_are_no_numbers_are_found_in_the_last_module_too(peft, base):
    peft.tensors[peft.key(LAST, "B")][0, 0] = numpy.nan
    peft.tensors[peft.key(LAST, "A")][0, 0] = numpy.inf
    peft.save()
    (refusal,) = refusals(peft, base)
    assert refusal.startswith(f"{peft.key(LAST, 'A')} and 1 more: holds NaN or infinite values")


@pytest.mark.parametrize("name", ["x.bin", "x.pt", "x.pth", "x.ckpt", "x.pkl", "x.pickle"])
def test_every_pickle_is_refused(peft, base, name):
    (peft.save() / name).write_bytes(b"\x80")
    (refusal,) = refusals(peft, base)
    assert refusal.startswith(f"{name}: is pickled")


@pytest.mark.parametrize(
    "name", ["training_args.bin", "optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "rng_state.pth"]
)
def test_a_trainers_state_is_no_pickle_of_weights(peft, base, name):
    (peft.save() / name).write_bytes(b"\x80")
    assert preflight(peft.folder, base).rank == 4
    (peft.folder / f"my_{name}").write_bytes(b"\x80")
    assert [text.partition(":")[0] for text in refusals(peft, base)] == [f"my_{name}"]


@pytest.mark.parametrize(
    ("there", "says"),
    [
        ("adapter_model.safetensors.index.json", "split over several files"),
        ("adapters.safetensors", "an adapter of MLX"),
        ("global_step500", "a checkpoint of DeepSpeed"),
        ("__0_0.distcp", "a checkpoint of FSDP"),
        ("notes.txt", "is missing → save with PEFT's save_pretrained (safetensors)"),
    ],
)
def test_weights_in_another_form_are_called_by_their_name(peft, base, there, says):
    (peft.save() / "adapter_model.safetensors").unlink()
    (peft.folder / there).touch()
    with pytest.raises(AdapterRefused) as caught:
        preflight(peft.folder, base)
    assert says in "\n".join(map(str, caught.value.problems))


def test_a_module_that_is_there_twice_is_refused(peft, base):
    name = next(name for name in peft.tensors if name.endswith("lora_A.weight"))
    peft.tensors[name.removeprefix("base_model.model.")] = peft.tensors[name]
    with pytest.raises(AdapterRefused, match="is there twice, with and without"):
        preflight(peft.save(), base)


def test_an_expression_made_to_be_slow_ends_with_a_message(peft, base):
    peft.config["target_modules"] = r"(?:[a-z0-9_.]|[a-z0-9_.]{2})+$[#!]"
    with pytest.raises(AdapterRefused, match="takes too long to hold against the base's modules"):
        preflight(peft.save(), base)


def test_several_pickles_come_in_order(peft, base):
    for name in ("b.bin", "a.pt"):
        (peft.save() / name).write_bytes(b"\x80")
    assert [text.partition(":")[0] for text in refusals(peft, base)] == ["a.pt", "b.bin"]


def test_a_delta_that_is_zero_but_for_one_value_has_an_effect(peft, base):
    for array in peft.tensors.values():
        array[:] = 0
        array[-1, -1] = 1e-3
    assert preflight(peft.save(), base).rank == 4


def test_shapes_are_looked_at_in_both_factors_and_every_module(peft, base):
    for module in (Q0, LAST):
        peft.tensors[peft.key(module, "A")] = numpy.ones((2, 4, 16))
        peft.tensors[peft.key(module, "B")] = numpy.ones((7, 4))
    peft.save()
    found = "\n".join(refusals(peft, base))
    assert f"{peft.key(Q0, 'A')} and 1 more: has shape [2, 4, 16], expected two dimensions" in found
    assert found.count("has shape [7, 4] where the base has out_features") == 1
    assert f"{peft.key(Q0, 'B')} and 1 more: has shape [7, 4] where the base has out_features 16" in found


def test_a_target_that_the_base_does_not_have_at_all_is_named(peft, base):
    peft.config["target_modules"] = [*peft.config["target_modules"], "no_such_proj"]
    with pytest.raises(AdapterRefused) as caught:
        preflight(peft.save(), base)
    assert [(one.place, one.fault) for one in caught.value.problems] == [
        ("no_such_proj", "is among the config's target_modules, and the file has no tensors for it")
    ]
