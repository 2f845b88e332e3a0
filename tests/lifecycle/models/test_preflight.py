"""Preflight: each refusal alone, and several together. What it lets through is in test_preflight_accepts.py."""

from __future__ import annotations

import json

import numpy
import pytest

from lifecycle.errors import AdapterRefused, InvalidInput
from lifecycle.models.base import fingerprint
from lifecycle.models.preflight import preflight
from lifecycle.origin import Origin

Q0 = "model.layers.0.self_attn.q_proj"


def refusals(peft, base, **limits):
    """The problems as text, one each; the adapter must be refused."""
    with pytest.raises(AdapterRefused) as caught:
        preflight(peft.folder, base, **limits)
    return [str(problem) for problem in caught.value.problems]


def the_refusal(peft, base, **limits):
    """The only problem: a fault must not drag others along that are no faults."""
    found = refusals(peft, base, **limits)
    assert len(found) == 1, found
    return found[0]


# -- the configuration ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("use_dora", True, "DoRA"),
        ("bias", "all", "biases are not served"),
        ("bias", "lora_only", "biases are not served"),
        ("lora_bias", True, "bias on lora_B"),
        ("rank_pattern", {"absent": 128}, "rank_pattern: is 128; the server takes"),
        ("rank_pattern", {"q_proj": 0}, "module names with whole ranks"),
        ("alpha_pattern", {"q_proj": -1}, "module names with alphas above 0"),
        ("modules_to_save", ["lm_head"], "fully trained modules"),
        ("trainable_token_indices", [5, 6], "token embeddings"),
        ("alora_invocation_tokens", [1, 2], "aLoRA"),
        ("layer_replication", [[0, 2], [1, 2]], "another base"),
        ("target_parameters", ["experts.gate_up_proj"], "bare parameters"),
        ("use_qalora", True, "QALoRA"),
        ("use_bdlora", {"nblocks": 2}, "block-diagonal"),
        ("fan_in_fan_out", True, "transposed"),
        ("init_lora_weights", "pissa", "changes the base"),
        ("init_lora_weights", "pissa_niter_16", "changes the base"),
        ("init_lora_weights", "olora", "changes the base"),
        ("init_lora_weights", "corda", "changes the base"),
        ("init_lora_weights", "loftq", "changes the base"),
        ("init_lora_weights", "lora_ga", "changes the base"),
        ("peft_type", "IA3", "only LORA"),
        ("peft_type", None, "only LORA"),
        ("r", 0, "at least 1"),
        ("r", "4", "at least 1"),
        ("r", True, "at least 1"),
        ("lora_alpha", 0, "no effect"),
        ("lora_alpha", -8, "no effect"),
        ("lora_alpha", "8", "no effect"),
        ("target_modules", [], "module names"),
        ("target_modules", "(unclosed", "module names"),
        ("target_modules", None, "module names"),
    ],
)
def test_a_configuration_that_is_no_plain_lora_is_refused_with_its_key(peft, base, key, value, says):
    peft.config[key] = value
    peft.save()
    refusal = the_refusal(peft, base)
    assert refusal.startswith(f"adapter_config.json: {key}")
    assert says in refusal


@pytest.mark.parametrize("key", ["r", "lora_alpha", "target_modules"])
def test_a_missing_key_is_refused(peft, base, key):
    del peft.config[key]
    peft.save()
    assert "is missing" in the_refusal(peft, base)


def test_a_missing_configuration_is_refused(peft, base):
    (peft.save() / "adapter_config.json").unlink()
    assert "is missing: this is no PEFT adapter folder" in the_refusal(peft, base)


@pytest.mark.parametrize("text", ["{", "[]", "", "null", "\x00"])
def test_a_configuration_that_is_no_json_object_is_refused(peft, base, text):
    (peft.save() / "adapter_config.json").write_text(text)
    assert the_refusal(peft, base).startswith("adapter_config.json: ")


def test_a_rank_above_the_servers_is_refused(peft, base):
    peft.save()
    preflight(peft.folder, base, max_rank=4)
    assert "is 4; the server takes 2" in the_refusal(peft, base, max_rank=2)


# -- the weights file -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["adapter_model.bin", "adapter_model.pt", "adapter_model.pth", "weights.pkl"])
def test_pickled_weights_are_refused(peft, base, name):
    (peft.save() / name).write_bytes(b"\x80")
    assert the_refusal(peft, base).startswith(f"{name}: is pickled")


def test_pickled_weights_alone_are_refused_without_being_opened(peft, base):
    file = peft.save() / "adapter_model.safetensors"
    file.rename(peft.folder / "adapter_model.bin")
    found = refusals(peft, base)
    assert any("is pickled" in refusal for refusal in found)
    assert any(refusal.startswith("adapter_model.safetensors: is missing") for refusal in found)


@pytest.mark.parametrize("keep", [0, 4, 8, 100, -1])
def test_a_truncated_file_is_refused(peft, base, keep):
    file = peft.save() / "adapter_model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    assert the_refusal(peft, base).startswith("adapter_model.safetensors: ")


def test_a_file_with_no_tensors_is_refused(peft, base):
    peft.tensors = {}
    peft.save()
    assert the_refusal(peft, base) == "adapter_model.safetensors: holds no tensors"


def test_a_file_that_cannot_be_read_is_refused(peft, base):
    file = peft.save() / "adapter_model.safetensors"
    file.unlink()
    file.mkdir()
    assert "adapter_model.safetensors: is missing" in the_refusal(peft, base)


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf, -numpy.inf])
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_values_that_are_no_numbers_are_refused_wherever_they_are(peft, base, value, dtype):
    key = peft.key(Q0, "B")
    peft.tensors[key][-1, -1] = value
    peft.save(dtype)
    refusal = the_refusal(peft, base)
    assert refusal.startswith(key)
    assert "NaN or infinite" in refusal


@pytest.mark.parametrize("side", ["A", "B"])
def test_a_delta_that_is_zero_everywhere_is_refused(peft, base, side):
    for key, array in peft.tensors.items():
        if f"lora_{side}" in key:
            array[:] = 0
    peft.save()
    assert "every delta is zero" in the_refusal(peft, base)


@pytest.mark.parametrize(("gone", "left"), [("A", "B"), ("B", "A")])
def test_a_pair_that_is_not_whole_is_refused(peft, base, gone, left):
    del peft.tensors[peft.key(Q0, gone)]
    peft.save()
    refusal = the_refusal(peft, base)
    assert refusal.startswith(Q0)
    assert f"has no lora_{gone}" in refusal


@pytest.mark.parametrize(
    ("key", "says"),
    [
        (f"base_model.model.{Q0}.lora_magnitude_vector", "DoRA"),
        ("base_model.model.lm_head.modules_to_save.weight", "fully trained module"),
        ("base_model.model.model.embed_tokens.weight", "save_embedding_layers=False"),
        ("base_model.model.lm_head.weight", "room for a new token"),
        ("base_model.model.model.embed_tokens.lora_embedding_A", "embedding"),
        ("base_model.model.model.embed_tokens.token_adapter.trainable_tokens_delta", "token embeddings"),
        (f"base_model.model.{Q0}.lora_B.bias", "bias"),
        (f"base_model.model.{Q0}.base_layer.bias", "bias"),
        (f"base_model.model.{Q0}.lora_A.default.weight", "adapter's name inside"),
        ("mystery", "no tensor of a LoRA"),
    ],
)
def test_a_tensor_that_belongs_to_no_plain_lora_is_refused(peft, base, key, says):
    peft.tensors[key] = numpy.ones((2, 2))
    peft.save()
    refusal = the_refusal(peft, base)
    assert refusal.startswith(key)
    assert says in refusal


# -- the base -------------------------------------------------------------------------------------------------------


def test_target_modules_that_the_server_does_not_adapt_are_refused(peft, base):
    peft.save()
    refusal = the_refusal(peft, base, served_modules=["q_proj", "k_proj", "v_proj", "o_proj"])
    assert refusal.startswith("down_proj, gate_proj, up_proj: ")
    assert "target some of k_proj, o_proj, q_proj, v_proj" in refusal


def test_an_adapted_output_head_is_refused(peft, base):
    peft.config["target_modules"].append("lm_head")
    peft.tensors[peft.key("lm_head", "A")] = numpy.ones((4, 16))
    peft.tensors[peft.key("lm_head", "B")] = numpy.ones((50, 4))
    peft.save()
    assert the_refusal(peft, base).startswith("lm_head: ")


@pytest.mark.parametrize(
    ("side", "shape", "says"), [("A", (4, 17), "in_features 16"), ("B", (15, 4), "out_features 16")]
)
def test_a_shape_that_does_not_fit_the_base_is_refused(peft, base, side, shape, says):
    peft.tensors[peft.key(Q0, side)] = numpy.ones(shape)
    peft.save()
    assert says in the_refusal(peft, base)


def test_a_rank_of_a_module_other_than_its_own_is_refused(peft, base):
    peft.config["rank_pattern"] = {"q_proj": 8}
    peft.save()
    assert "q_proj.lora_A.weight and 3 more: has rank 4 where the config's r is 8" in the_refusal(peft, base)


def test_a_rank_in_the_file_other_than_the_configs_is_refused(peft, base):
    peft.tensors[peft.key(Q0, "A")] = numpy.ones((8, 16))
    peft.save()
    assert "has rank 8 where the config's r is 4" in the_refusal(peft, base)


def test_a_tensor_of_three_dimensions_is_refused(peft, base):
    peft.tensors[peft.key(Q0, "A")] = numpy.ones((2, 4, 16))
    peft.save()
    assert "expected two dimensions" in the_refusal(peft, base)


def test_a_layer_that_the_base_does_not_have_is_refused(peft, base):
    module = "model.layers.2.self_attn.q_proj"
    peft.tensors[peft.key(module, "A")] = numpy.ones((4, 16))
    peft.tensors[peft.key(module, "B")] = numpy.ones((16, 4))
    peft.save()
    refusal = the_refusal(peft, base)
    assert refusal.startswith(module)
    assert "its layers are 0 to 1" in refusal


def test_a_target_that_has_no_tensors_is_refused(peft, base):
    peft.tensors = {key: array for key, array in peft.tensors.items() if "v_proj" not in key}
    peft.save()
    refusal = the_refusal(peft, base)
    assert refusal.startswith("v_proj: ")
    assert "has no tensors for it" in refusal


def test_a_layer_that_lacks_its_tensors_is_refused(peft, base):
    peft.tensors = {key: array for key, array in peft.tensors.items() if Q0 not in key}
    peft.save()
    refusal = the_refusal(peft, base)
    assert refusal.startswith(Q0)
    assert "has no tensors for it" in refusal


def test_tensors_outside_of_the_targets_are_refused(peft, base):
    peft.config["target_modules"].remove("up_proj")
    peft.save()
    refusal = the_refusal(peft, base)
    assert refusal.startswith("model.layers.0.mlp.up_proj and 1 more: ")
    assert "not among the config's target_modules" in refusal


def test_the_base_that_it_was_trained_on_passes_and_another_is_refused_with_what_differs(peft, base, make_base):
    peft.save()
    Origin(base=fingerprint(base)).write(peft.folder)
    preflight(peft.folder, base)
    other = make_base("other", seed=1)
    refusal = the_refusal(peft, other)
    assert refusal.startswith("dabt_manifest.json: was trained on base; over other these differ: weights")
    assert "tokenizer" not in refusal


def test_the_same_weights_with_another_chat_template_are_another_base(peft, base, make_base):
    peft.save()
    Origin(base=fingerprint(base)).write(peft.folder)
    same = make_base("same")
    preflight(peft.folder, same)
    (same / "chat_template.jinja").write_text("{{ messages[0].content }}")
    assert "these differ: chat_template" in the_refusal(peft, same)


def test_a_recorded_digest_alone_is_enough_to_tell_bases_apart(peft, base, make_base):
    (peft.save() / "dabt_manifest.json").write_text(json.dumps({"base": fingerprint(base).digest}))
    preflight(peft.folder, base)
    assert "another base" in the_refusal(peft, make_base("other", seed=1))


@pytest.mark.parametrize("text", ["{}", "nonsense", "[]"])
def test_a_record_of_the_base_that_names_none_is_refused(peft, base, text):
    (peft.save() / "dabt_manifest.json").write_text(text)
    assert "names no base" in the_refusal(peft, base)


def test_an_unreadable_base_is_not_blamed_on_the_adapter(peft, base):
    peft.save()
    (base / "model.safetensors").unlink()
    with pytest.raises(InvalidInput) as caught:
        preflight(peft.folder, base)
    assert not isinstance(caught.value, AdapterRefused)


# -- together -------------------------------------------------------------------------------------------------------


def test_all_reasons_are_reported_at_once(peft, base):
    peft.config.update(r=128, use_dora=True, bias="all", init_lora_weights="pissa")
    peft.config["target_modules"].append("lm_head")
    peft.tensors[peft.key(Q0, "A")][0, 0] = numpy.nan
    peft.tensors[peft.key("model.layers.1.mlp.up_proj", "B")] = numpy.ones((7, 4))
    del peft.tensors[peft.key("model.layers.1.self_attn.v_proj", "B")]
    peft.tensors[f"base_model.model.{Q0}.lora_magnitude_vector"] = numpy.ones(16)
    (peft.save() / "adapter_model.bin").write_bytes(b"\x80")
    found = "\n".join(refusals(peft, base))
    for reason in (
        "use_dora", "adapter_config.json: bias", "init_lora_weights", "is 128; the server takes 64", "is pickled",
        "DoRA's magnitude", "has no lora_B", "has rank 4 where the config's r is 128", "out_features 32",
        "lm_head: is among the config's target_modules", "NaN or infinite",
    ):  # fmt: skip
        assert reason in found


def test_a_fault_that_every_layer_repeats_is_one_line(peft, base):
    for array in peft.tensors.values():
        array[0, 0] = numpy.nan
    peft.save()
    assert the_refusal(peft, base).split(": ")[0].endswith("and 27 more")


def test_an_empty_folder_is_refused_with_both_of_its_faults(peft, base, tmp_path):
    peft.folder = tmp_path / "nothing"
    assert len(refusals(peft, base)) == 2
