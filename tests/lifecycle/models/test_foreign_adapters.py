"""Adapter folders as other tools leave them, file by file and key by key: all of them are plain LoRAs, and are taken.

Keys are those that PEFT 0.13 to 0.21 writes, which these tools save by; `training/test_importing.py` imports one whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.models.beside_adapter import other_template, tokenizer_problems
from lifecycle.models.preflight import preflight
from tests.lifecycle.conftest import MODULES, PeftFolder

COMMON: dict[str, Any] = {
    "alpha_pattern": {},
    "auto_mapping": None,
    "fan_in_fan_out": False,
    "layers_pattern": None,
    "layers_to_transform": None,
    "loftq_config": {},
    "lora_dropout": 0.0,
    "megatron_config": None,
    "megatron_core": "megatron.core",
    "modules_to_save": None,
    "rank_pattern": {},
    "revision": None,
    "use_dora": False,
    "use_rslora": False,
}
NEWER: dict[str, Any] = {
    "corda_config": None,
    "eva_config": None,
    "exclude_modules": None,
    "layer_replication": None,
    "lora_bias": False,
    "qalora_group_size": 16,
    "target_parameters": None,
    "trainable_token_indices": None,
    "use_qalora": False,
}
NEWEST: dict[str, Any] = {
    "alora_invocation_tokens": None,
    "arrow_config": None,
    "ensure_weight_tying": False,
    "peft_version": "0.19.1",
}
STATE = ("optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json", "training_args.bin")


def copied(base: Path, folder: Path, **changes: Any) -> None:
    """The tokenizer as a trainer saves it again: other settings of its last call, the same tokens."""
    tokenizer = json.loads((base / "tokenizer.json").read_text(encoding="utf-8"))
    called = {**tokenizer, "padding": {"direction": "Left"}, "truncation": {"max_length": 2048}}
    (folder / "tokenizer.json").write_text(json.dumps(called, ensure_ascii=False), encoding="utf-8")
    (folder / "special_tokens_map.json").write_text('{"pad_token": "</s>"}')
    settings = json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8"))
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "padding_side": "left", **changes}))


def plain_peft(folder: Path, base: Path) -> dict[str, Any]:
    (folder / "README.md").write_text("---\nlibrary_name: peft\n---\n")
    return {**COMMON, **NEWER, **NEWEST}


def llama_factory(folder: Path, base: Path) -> dict[str, Any]:
    """0.9.5, `lora_target: all`: names in the order of a set, the base by the folder that it was trained from."""
    plain_peft(folder, base)
    copied(base, folder)
    (folder / "chat_template.jinja").write_text((base / "chat_template.jinja").read_text() + "\n")
    for name in ("all_results.json", "train_results.json", "trainer_state.json", "trainer_log.jsonl"):
        (folder / name).write_text("{}")
    (folder / "training_args.bin").write_bytes(b"\x80")
    (folder / "training_loss.png").write_bytes(b"\x89PNG")
    names = ["gate_proj", "down_proj", "v_proj", "q_proj", "up_proj", "o_proj", "k_proj"]
    return {**COMMON, **NEWER, "target_modules": names, "base_model_name_or_path": "saves/base", "r": 4}


def axolotl(folder: Path, base: Path) -> dict[str, Any]:
    """Beside the adapter it saves the base's config.json and the configuration that it ran."""
    plain_peft(folder, base)
    copied(base, folder, chat_template=(base / "chat_template.jinja").read_text())
    (folder / "config.json").write_text((base / "config.json").read_text())
    (folder / "debug.log").write_text("")
    return {**COMMON, **NEWER, **NEWEST, "lora_dropout": 0.05, "task_type": "CAUSAL_LM"}


def unsloth(folder: Path, base: Path) -> dict[str, Any]:
    """It names a four-bit copy of the base, and that it has patched the model's class."""
    copied(base, folder)
    mapping = {
        "base_model_class": "LlamaForCausalLM",
        "parent_library": "transformers.models.llama.modeling_llama",
        "unsloth_fixed": True,
    }
    copy = "unsloth/tiny-bnb-4bit"
    return {**COMMON, **NEWER, **NEWEST, "auto_mapping": mapping, "base_model_name_or_path": copy}


def unsloth_by_expression(folder: Path, base: Path) -> dict[str, Any]:
    """As for models that see: one expression over whole names."""
    names = "|".join(sorted({module.rpartition(".")[2] for module in MODULES}))
    return {**unsloth(folder, base), "target_modules": rf"(?:.*?(?:self_attn|mlp).*?(?:{names}))"}


def trainer_checkpoint(folder: Path, base: Path) -> dict[str, Any]:
    copied(base, folder)
    for name in STATE:
        (folder / name).write_bytes(b"\x80")
    return {**COMMON}


@pytest.mark.parametrize(
    "shape", [plain_peft, llama_factory, axolotl, unsloth, unsloth_by_expression, trainer_checkpoint]
)
def test_what_other_tools_leave_is_a_plain_lora_over_its_base(
    peft: PeftFolder, base: Path, shape: Callable[[Path, Path], dict[str, Any]]
) -> None:
    peft.save()
    peft.config |= shape(peft.folder, base)
    folder = peft.save()
    facts = preflight(folder, base)
    assert (facts.rank, facts.scale, len(facts.target_modules)) == (4, 2.0, 7)
    assert (tokenizer_problems(folder, base), other_template(folder, base)) == ([], None)
