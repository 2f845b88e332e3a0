"""Preflight against PEFT itself: what PEFT saves is understood as PEFT means it."""

from __future__ import annotations

import pytest

from lifecycle.errors import AdapterRefused
from lifecycle.models.base import linear_shapes
from lifecycle.models.peft_config import read_config
from lifecycle.models.preflight import preflight

pytestmark = pytest.mark.e2e  # imports torch, transformers and peft


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3, "vocab_size": 100}
    model = LlamaForCausalLM(LlamaConfig(num_attention_heads=4, num_key_value_heads=2, **sizes))
    folder = tmp_path_factory.mktemp("llama")
    model.to(torch.bfloat16).save_pretrained(folder)
    return folder


@pytest.fixture
def save(base, tmp_path):
    """Save an adapter of these settings with PEFT; random rather than zero, as if it had been trained."""
    from peft import LoraConfig, get_peft_model
    from transformers import LlamaForCausalLM

    def save(**settings):
        model = LlamaForCausalLM.from_pretrained(base, dtype="float32")
        model = get_peft_model(model, LoraConfig(**({"r": 8, "lora_alpha": 16, "init_lora_weights": False} | settings)))
        model.save_pretrained(tmp_path / "adapter")
        return tmp_path / "adapter", model.peft_config["default"]

    return save


@pytest.mark.parametrize(
    "settings",
    [
        {"target_modules": "all-linear"},
        {"target_modules": ["q_proj", "v_proj"], "use_rslora": True},
        {"target_modules": r".*\.mlp\..*_proj"},
        {"target_modules": ["q_proj"], "layers_to_transform": [0, 2]},
        {"target_modules": ["q_proj"], "layers_to_transform": 1, "layers_pattern": "layers"},
        {"target_modules": "all-linear", "exclude_modules": ["down_proj"]},
        {"target_modules": ["q_proj", "k_proj"], "exclude_modules": r".*k_proj"},
    ],
    ids=",".join,
)
def test_what_peft_saves_passes_and_its_targets_are_read_as_peft_reads_them(base, save, settings):
    from peft.tuners.tuners_utils import check_target_module_exists

    folder, written = save(**settings)
    facts = preflight(folder, base)
    assert facts.scale == pytest.approx(16 / 8**0.5 if settings.get("use_rslora") else 2.0)
    config, problems = read_config(folder)
    assert problems == []
    modules = [module for module in linear_shapes(base) if module != "lm_head"]
    assert len(modules) == 21
    for module in modules:
        peft_says = check_target_module_exists(written, module)
        # An excluded module comes back as an object of a class of its own, which is true.
        targeted = bool(peft_says) and type(peft_says).__name__ != "_ExcludedModule"
        assert config.targets(module) == targeted, module


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"use_dora": True}, "DoRA's magnitude"),
        ({"modules_to_save": ["lm_head"]}, "lm_head.weight: is a whole matrix"),
        ({"trainable_token_indices": [1, 2]}, "holds trained token embeddings"),
        ({"bias": "all"}, "trained biases"),
        ({"lora_bias": True}, "is a trained bias"),
        ({"init_lora_weights": "pissa"}, "changes the base's own weights"),
        ({"init_lora_weights": True}, "every delta is zero"),
        ({"target_modules": ["q_proj", "embed_tokens"]}, "adapts an embedding"),
    ],
    ids=lambda value: ",".join(value) if isinstance(value, dict) else None,
)
def test_what_peft_saves_of_more_than_a_plain_lora_is_refused_by_its_tensors_too(base, save, settings, says):
    folder, _ = save(**({"target_modules": ["q_proj"]} | settings))
    with pytest.raises(AdapterRefused, match=says):
        preflight(folder, base)
