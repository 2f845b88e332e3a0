"""A LoRA that no server would take is refused before it is trained, by preflight's own rules."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from training.lora_shape import LoraShape
from training.recipes.merged_lora import MergedLora

pytestmark = pytest.mark.e2e  # imports torch and PEFT


def saved(folder: Path, config: Any, kind: str = "AutoModelForCausalLM") -> Path:
    import torch
    import transformers

    torch.manual_seed(3)
    getattr(transformers, kind).from_config(config).save_pretrained(folder)
    return folder


def llama(folder: Path) -> Path:
    from transformers import LlamaConfig

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2}
    return saved(folder, LlamaConfig(vocab_size=64, **sizes))


def test_a_plain_base_is_followed(tmp_path: Path) -> None:
    base = llama(tmp_path / "llama")
    assert LoraShape().misfits(base, 64) == []
    assert LoraShape(target_modules=("q_proj", "down_proj")).misfits(base, 64) == []


def test_a_rank_over_the_servers_is_refused_and_the_servers_own_is_not(tmp_path: Path) -> None:
    base = llama(tmp_path / "llama")
    (problem,) = LoraShape(r=64).misfits(base, 32)
    assert (problem.place, problem.fault) == ("method.r", "64 is more than 32, the servers' --max-lora-rank")
    assert LoraShape(r=64).misfits(base, 64) == []


def test_modules_that_the_base_lacks_are_named(tmp_path: Path) -> None:
    base = llama(tmp_path / "llama")
    (problem,) = LoraShape(target_modules=("q_proj", "c_attn")).misfits(base, 64)
    assert problem.place == "method.target_modules"
    assert "the base has no c_attn" in problem.fault
    (none,) = LoraShape(target_modules=("c_attn",)).misfits(base, 64)
    assert "PEFT can make no adapter" in none.fault


def test_a_delta_that_is_merged_may_have_any_rank_and_modules_that_the_base_has(tmp_path: Path) -> None:
    from transformers import GPT2Config

    base = saved(tmp_path / "gpt2", GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2))
    assert MergedLora(r=3, target_modules=("c_attn",)).unmakable(base) == []
    (problem,) = MergedLora(target_modules=("c_attn", "q_proj")).unmakable(base)
    assert (problem.place, problem.fault) == ("method.target_modules", "the base has no q_proj")


def test_transposed_layers_are_refused_before_training(tmp_path: Path) -> None:
    from transformers import GPT2Config

    base = saved(tmp_path / "gpt2", GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2))
    (problem,) = LoraShape().misfits(base, 64)
    assert (problem.place, "Conv1D" in problem.fault) == ("base", True)


def test_fused_experts_are_refused_before_training(tmp_path: Path) -> None:
    """The server would miss the deltas of the experts, which PEFT cannot put on them."""
    from transformers import MixtralConfig

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    base = saved(tmp_path / "moe", MixtralConfig(vocab_size=64, num_key_value_heads=2, num_local_experts=2, **sizes))
    problems = LoraShape().misfits(base, 64)
    assert problems
    assert {problem.place for problem in problems} == {"method.target_modules"}


def test_the_processs_default_type_is_left_alone_by_a_base_in_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two runs that are fitted at once in one process would take each other's for their own, and leave it there."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 1, "num_attention_heads": 2}
    LlamaForCausalLM(LlamaConfig(vocab_size=64, **sizes)).to(torch.bfloat16).save_pretrained(tmp_path)
    told = []
    original = torch.set_default_dtype
    monkeypatch.setattr(torch, "set_default_dtype", lambda dtype: (told.append(dtype), original(dtype)))
    assert LoraShape().misfits(tmp_path, 64) == []
    assert set(told) <= {torch.float32}
