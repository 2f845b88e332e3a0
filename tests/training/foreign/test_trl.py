"""A TRL YAML becomes the same training here, or is refused with what would be another."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from tests.training.foreign.conftest import Place, problems, told
from training.foreign.trl_keys import KEYS

TURNS = [{"role": "user", "content": "ما لون السماء؟"}, {"role": "assistant", "content": "أزرق"}]
CHAT = {"messages": TURNS}
ASKED = {"prompt": TURNS[:1], "completion": TURNS[1:]}
PAIR = {"prompt": TURNS[:1], "chosen": TURNS[1:], "rejected": [{"role": "assistant", "content": "أحمر"}]}
SFT: dict[str, Any] = {
    "model_name_or_path": "org/model",
    "dtype": "bfloat16",
    "attn_implementation": "flash_attention_2",
    "use_peft": True,
    "lora_r": 32,
    "lora_alpha": 16,
    "lora_target_modules": ["q_proj", "v_proj"],
    "dataset_name": "data",
    "dataset_train_split": "train",
    "dataset_test_split": "test",
    "eval_strategy": "steps",
    "eval_steps": 100,
    "assistant_only_loss": True,
    "learning_rate": "2.0e-4",
    "num_train_epochs": 1,
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "gradient_checkpointing": True,
    "gradient_checkpointing_kwargs": {"use_reentrant": False},
    "max_length": 2048,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "bf16": True,
    "logging_steps": 25,
    "output_dir": "Qwen2-0.5B-SFT",
    "push_to_hub": True,
    "report_to": ["wandb"],
    "seed": 7,
}
"""In the shape of the tool's own examples."""
LEAST: dict[str, Any] = {
    "model_name_or_path": "org/model",
    "dataset_name": "data",
    "use_peft": True,
    "lora_target_modules": ["all-linear"],
    "assistant_only_loss": True,
}


@pytest.fixture
def chats(place: Place) -> Place:
    place.rows("data/train.jsonl", [CHAT] * 40)
    place.rows("data/test.jsonl", [CHAT] * 4)
    return place


def test_a_file_in_the_shape_of_its_examples_becomes_the_same_training(chats: Place) -> None:
    job = chats.job(SFT)
    how, method = job.config.optimisation, job.config.method
    assert job.base == "org/model"
    assert job.train_paths == (chats.root / "data/train.jsonl",)
    assert job.validation_path == chats.root / "data/test.jsonl"
    assert (method.type, method.r, method.alpha, method.dropout, method.rslora) == ("lora", 32, 16.0, 0.05, False)
    assert method.target_modules == ("q_proj", "v_proj")
    assert (how.lr, how.epochs, how.batch_size, how.accumulation, how.seed) == (2e-4, 1.0, 2, 8, 7)
    assert (how.schedule, how.warmup, how.max_length, how.gradient_checkpointing) == ("cosine", 0.1, 2048, True)
    assert how.precision == "bfloat16"
    assert [tracker.type for tracker in job.config.tracking] == ["wandb"]


def test_every_key_of_the_example_is_told(chats: Place) -> None:
    assert told(chats.translate(SFT)) == {*SFT}


def test_its_own_defaults_are_written_out(chats: Place) -> None:
    how = chats.job(LEAST).config.optimisation
    assert (how.lr, how.epochs, how.batch_size, how.accumulation, how.max_length) == (2e-5, 3.0, 8, 1, 1024)
    assert (how.schedule, how.warmup, how.seed, how.gradient_checkpointing) == ("linear", 0.0, 42, True)
    method = chats.job(LEAST).config.method
    assert (method.r, method.alpha, method.dropout, method.target_modules) == (16, 32.0, 0.05, "all-linear")


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({"use_peft": False, "lora_target_modules": None}, "method.type", "full"),
        ({"load_in_4bit": True, "use_bnb_nested_quant": True}, "method.type", "qlora"),
        ({"use_rslora": True}, "method.rslora", True),
        ({"train_sampling_strategy": "group_by_length"}, "optimisation.group_by_length", True),
        ({"max_steps": 12}, "optimisation.max_steps", 12),
        ({"accelerate_config": "fsdp2", "num_processes": 4}, "optimisation.fsdp", True),
        ({"accelerate_config": "zero3", "num_processes": 4}, "optimisation.accumulation", 4),
        ({"num_processes": 4, "gradient_accumulation_steps": 2}, "optimisation.accumulation", 8),
        ({"eval_strategy": "epoch", "dataset_test_split": "test"}, "data.validation", "../tool/data/test.jsonl"),
        ({"report_to": "tensorboard"}, "tracking", ["tensorboard"]),
    ],
)
def test_a_key_becomes_what_it_means(chats: Place, given: dict[str, Any], path: str, value: Any) -> None:
    here: Any = chats.translate({**LEAST, **given}).mapping
    for key in path.split("."):
        here = here[key]
    assert here == value


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"assistant_only_loss": False}, "assistant_only_loss", "questions and system texts are learnt too"),
        ({"assistant_only_loss": None}, "assistant_only_loss", "write assistant_only_loss: true"),
        ({"packing": True}, "packing", "batch_size counts rows"),
        ({"use_dora": True}, "use_dora", "vLLM refuses"),
        ({"lora_modules_to_save": ["lm_head"]}, "lora_modules_to_save", "beside the adapter"),
        ({"load_in_4bit": True}, "use_bnb_nested_quant", "scales not packed"),
        ({"loss_type": "dft"}, "loss_type", "another loss"),
        ({"eos_token": "<|im_end|>"}, "eos_token", "another token"),
        ({"optim": "adafactor"}, "optim", "AdamW is the one"),
        ({"model_revision": "v1"}, "model_revision", "name the folder"),
        ({"env": {"CUDA_VISIBLE_DEVICES": "0"}}, "env", "where dabt train is started"),
        ({"lora_rnak": 8}, "lora_rnak", "did you mean lora_r"),
        ({"dtype": "bfloat16", "use_peft": False, "lora_target_modules": None}, "dtype", "half precision"),
    ],
)
def test_what_would_be_lost_is_refused_until_it_is_accepted(
    chats: Place, given: dict[str, Any], key: str, words: str
) -> None:
    wrong = problems(lambda: chats.translate({**LEAST, **given}))
    assert list(wrong) == [key]
    assert words in wrong[key]
    assert key in chats.translate({**LEAST, **given}, accept=(key,)).accepted


@pytest.mark.parametrize(
    ("given", "key", "words"),
    [
        ({"max_length": None}, "max_length", "the longest row"),
        ({"lora_target_modules": None}, "lora_target_modules", "write all-linear"),
        ({"dataset_name": "nowhere/at/all"}, "dataset_name", "there is no folder"),
        ({"dataset_name": None, "learning_rate": 1e-4}, "dataset_name", "is missing"),
        ({"dataset_train_split": "valid"}, "dataset_train_split", "no file of"),
        ({"chat_template_path": "no.jinja"}, "chat_template_path", "there is no file"),
        ({"accelerate_config": "multi_gpu"}, "accelerate_config", "say --devices N"),
    ],
)
def test_what_has_no_counterpart_is_refused(chats: Place, given: dict[str, Any], key: str, words: str) -> None:
    wrong = problems(lambda: chats.translate({**LEAST, **given}))
    assert list(wrong) == [key]
    assert words in wrong[key]


def test_rows_say_which_command_the_file_is_of(place: Place) -> None:
    place.rows("data/pairs.jsonl", [PAIR] * 20)
    job = place.job({**LEAST, "beta": 0.2, "loss_type": ["ipo"]})
    how, method = job.config.optimisation, job.config.method
    assert (method.type, method.beta, method.loss, method.dropout, how.lr) == ("dpo", 0.2, "ipo", 0.0, 1e-6)
    place.rows("data/pairs.jsonl", [{"text": "نص طويل"}] * 20)
    assert place.job({**LEAST, "packing": True}).config.method.type == "text"
    place.rows("data/pairs.jsonl", [ASKED] * 20)
    assert place.job({**LEAST, "assistant_only_loss": None}).config.method.type == "lora"
    assert [*problems(lambda: place.job({**LEAST, "completion_only_loss": False}))] == ["completion_only_loss"]


def test_adapters_alone_are_trained_from_pairs_and_texts(place: Place) -> None:
    place.rows("data/pairs.jsonl", [PAIR] * 20)
    less = {key: value for key, value in LEAST.items() if key != "use_peft"}
    assert "write use_peft: true" in problems(lambda: place.translate(less))["use_peft"]


@pytest.mark.e2e  # imports peft
def test_texts_are_trained_without_a_template_there(place: Place, tmp_path: Path) -> None:
    place.rows("data/train.jsonl", [{"prompt": "q", "completion": "a"}] * 20)
    assert "lists of turns" in problems(lambda: place.translate(LEAST))["dataset_name"]
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text('{"model_type": "llama"}')
    (base / "tokenizer_config.json").write_text("{}")
    made = place.translate({**LEAST, "model_name_or_path": str(base), "lora_target_modules": None})
    assert made.mapping["method"]["target_modules"] == ["q_proj", "v_proj"], "as PEFT chooses for a llama"


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({**CHAT, "system": "be brief"}, "the tool reads user"),
        ({"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}, "the tool reads human"),
    ],
)
def test_rows_that_are_read_in_another_way_are_told(place: Place, row: dict[str, Any], words: str) -> None:
    place.rows("data/train.jsonl", [row] * 20)
    assert words in problems(lambda: place.translate(LEAST))["dataset_name"]


def test_a_mixture_of_data_sets_becomes_a_list(place: Place) -> None:
    place.rows("one.jsonl", [CHAT] * 30)
    place.rows("two.jsonl", [CHAT] * 10)
    sets = [{"path": "json", "data_files": name, "split": "train"} for name in ("one.jsonl", "two.jsonl")]
    mixed = {key: value for key, value in LEAST.items() if key != "dataset_name"} | {"datasets": sets}
    job = place.job({**mixed, "test_split_size": 0.2})
    assert job.train_paths == (place.root / "one.jsonl", place.root / "two.jsonl")
    assert job.config.data.holdout == 0.2
    shares = {**mixed, "datasets": [{**one, "fraction": 0.5} for one in sets]}
    wrong = problems(lambda: place.translate(shares))
    assert [*wrong] == ["datasets[0].fraction", "datasets[1].fraction"]
    assert place.job(shares, accept=tuple(wrong)).config.data.weights == [0.5, 0.5]
    odd = {**mixed, "datasets": [{**sets[0], "split": "train[:10%]", "data_files": None}, {"name": "x"}, 7]}
    assert [*problems(lambda: place.translate(odd))] == ["datasets[0].data_files", "datasets[1]", "datasets[2]"]


def test_a_chat_template_goes_along(chats: Place) -> None:
    (chats.root / "chat.jinja").write_text("{{ messages }}")
    assert chats.translate({**LEAST, "chat_template_path": "chat.jinja"}).mapping["template"] == "../tool/chat.jinja"
    folder = chats.root / "instruct"
    folder.mkdir()
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": "{{ messages }}"}))
    made = chats.translate({**LEAST, "chat_template_path": "instruct"})
    assert (made.mapping["template"], made.texts) == ("triage.jinja", {".jinja": "{{ messages }}"})


def test_files_of_the_two_tools_that_name_the_base_alike_are_told_apart(chats: Place) -> None:
    both = {**LEAST, "stage": "sft"}
    (wrong,) = problems(lambda: chats.translate(both)).values()
    assert "could be LLaMA-Factory or TRL" in wrong
    assert chats.translate(LEAST).tool == "TRL"


@pytest.mark.e2e  # imports trl
def test_every_key_that_the_tool_has_is_known() -> None:
    from trl import DatasetMixtureConfig, DPOConfig, ModelConfig, ScriptArguments, SFTConfig

    from training.foreign import optimiser, trl, trl_rows

    read = "".join(Path(str(module.__file__)).read_text(encoding="utf-8") for module in (optimiser, trl, trl_rows))
    kinds: tuple[Any, ...] = (SFTConfig, DPOConfig, ModelConfig, ScriptArguments, DatasetMixtureConfig)
    fields = {field.name for kind in kinds for field in dataclasses.fields(kind)}
    known = {name for name in fields if name in KEYS.lost or KEYS.why_idle(name) or f'"{name}"' in read}
    assert fields - known == set()
