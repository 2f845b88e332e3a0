"""An Axolotl YAML becomes the same training here, or is refused with what would be another."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.training.foreign.conftest import Place, problems, told
from training.optimisation import OptimisationSettings

CHAT = {"path": "محادثات.jsonl", "type": "chat_template"}
LORA: dict[str, Any] = {
    "base_model": "org/model",
    "load_in_8bit": False,
    "load_in_4bit": False,
    "datasets": [{**CHAT, "split": "train", "ds_type": "json"}],
    "val_set_size": 0.1,
    "output_dir": "./outputs/lora-out",
    "adapter": "lora",
    "lora_model_dir": None,
    "sequence_len": 2048,
    "sample_packing": False,
    "eval_sample_packing": True,
    "pad_to_sequence_len": True,
    "lora_r": 16,
    "lora_alpha": 32,
    "lora_dropout": 0.05,
    "lora_target_modules": ["q_proj", "v_proj"],
    "wandb_project": None,
    "wandb_entity": "team",
    "gradient_accumulation_steps": 2,
    "micro_batch_size": 4,
    "num_epochs": 3,
    "optimizer": "adamw_torch_fused",
    "lr_scheduler": "cosine",
    "learning_rate": 0.0002,
    "bf16": "auto",
    "tf32": False,
    "gradient_checkpointing": True,
    "resume_from_checkpoint": None,
    "logging_steps": 1,
    "attn_implementation": "flash_attention_2",
    "loss_watchdog_threshold": 5.0,
    "warmup_ratio": 0.1,
    "evals_per_epoch": 4,
    "saves_per_epoch": 1,
    "weight_decay": 0.0,
    "plugins": ["axolotl.integrations.liger.LigerPlugin"],
    "liger_rope": True,
    "special_tokens": {"pad_token": "<|end_of_text|>"},
}
"""In the shape of the tool's own examples."""
LEAST: dict[str, Any] = {
    "base_model": "org/model",
    "datasets": [CHAT],
    "adapter": "lora",
    "lora_r": 8,
    "lora_alpha": 16,
    "lora_target_linear": True,
    "learning_rate": 1e-4,
}
ROW = {"messages": [{"role": "user", "content": "ما لون السماء؟"}, {"role": "assistant", "content": "أزرق"}]}
TALK = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}


@pytest.fixture
def chats(place: Place) -> Place:
    place.rows("محادثات.jsonl", [ROW] * 40)
    return place


def first(**more: Any) -> dict[str, Any]:
    """The least configuration with more said of its data set."""
    return {**LEAST, "datasets": [{**CHAT, **more}]}


def test_a_file_in_the_shape_of_its_examples_becomes_the_same_training(chats: Place) -> None:
    job = chats.job(LORA)
    how, method = job.config.optimisation, job.config.method
    assert job.base == "org/model"
    assert job.train_paths == (chats.root / "محادثات.jsonl",)
    assert (method.type, method.r, method.alpha, method.dropout, method.rslora) == ("lora", 16, 32.0, 0.05, False)
    assert method.target_modules == ("q_proj", "v_proj")
    assert (how.lr, how.epochs, how.batch_size, how.accumulation) == (2e-4, 3.0, 4, 2)
    assert (how.schedule, how.warmup, how.max_length, how.gradient_checkpointing) == ("cosine", 0.1, 2048, True)
    assert (job.config.data.holdout, how.precision) == (0.1, "float32")


def test_its_own_defaults_are_written_out_where_they_are_not_ours(chats: Place) -> None:
    job = chats.job(LEAST)
    how, method = job.config.optimisation, job.config.method
    assert (method.rslora, method.dropout, method.target_modules) == (False, 0.0, "all-linear")
    assert (how.epochs, how.batch_size, how.accumulation, how.max_length) == (1.0, 1, 1, 512)
    assert (how.schedule, how.warmup, how.seed) == ("cosine", 0.03, 42)
    assert not how.gradient_checkpointing


def test_every_key_of_the_example_is_told(chats: Place) -> None:
    keys = {*LORA} - {"datasets", "special_tokens"}
    inside = {"datasets[0].path", "datasets[0].type", "datasets[0].split", "datasets[0].ds_type"}
    assert told(chats.translate(LORA)) == keys | inside | {"special_tokens.pad_token"}


def test_its_default_warm_up_is_a_hundred_steps_at_most(chats: Place) -> None:
    how = chats.job({**LEAST, "num_epochs": 200}).config.optimisation
    steps = OptimisationSettings(batch_size=1, epochs=200).steps(36)
    assert steps * 0.03 > 100
    assert how.warmup_steps(steps) == 100


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({"adapter": "qlora", "load_in_4bit": True}, "method.type", "qlora"),
        ({"load_in_4bit": True}, "method.type", "qlora"),
        ({"adapter": None}, "method.type", "full"),
        ({"peft_use_rslora": True}, "method.rslora", True),
        ({"lora_target_modules": ["q_proj"]}, "method.target_modules", "all-linear"),
        ({"bf16": True}, "optimisation.precision", "bfloat16"),
        ({"gradient_checkpointing": "offload"}, "optimisation.gradient_checkpointing", True),
        ({"max_steps": 9}, "optimisation.max_steps", 9),
        ({"group_by_length": True}, "optimisation.group_by_length", True),
        ({"early_stopping_patience": 3, "evals_per_epoch": 1}, "optimisation.early_stopping", 3),
        ({"val_set_size": 4}, "data.holdout", 0.1),
        ({"chat_template": "tokenizer_default"}, "template", None),
        ({"excess_length_strategy": "truncate"}, "optimisation.max_length", 512),
        ({"eval_sequence_len": 512, "base_model_config": "org/model"}, "optimisation.max_length", 512),
    ],
)
def test_a_value_that_is_said_in_another_way_is_translated(
    chats: Place, given: dict[str, Any], path: str, value: Any
) -> None:
    read: Any = chats.job({**LEAST, **given}).config
    for part in path.split("."):
        read = getattr(read, part)
    assert read == value


@pytest.mark.parametrize(
    ("given", "place_of", "fault"),
    [
        ({"sample_packing": True}, "sample_packing", "batch_size counts rows"),
        ({"train_on_inputs": True}, "train_on_inputs", "only answers"),
        ({"load_in_8bit": True}, "load_in_8bit", "8 bits"),
        ({"chat_template": "llama3"}, "chat_template", "one of Axolotl's own"),
        ({"chat_template": "tokenizer_default_fallback_chatml"}, "chat_template", "one of Axolotl's own"),
        ({"special_tokens": {"eos_token": "<|eot|>"}}, "special_tokens.eos_token", "what ends an answer"),
        ({"special_tokens": {"odd": "x"}}, "special_tokens.odd", "not known"),
        ({"tokens": ["<a>"]}, "tokens", "vocabulary"),
        ({"lora_modules_to_save": ["lm_head"]}, "lora_modules_to_save", "server"),
        ({"lora_rank_pattern": {"q_proj": 4}}, "lora_rank_pattern", "training here gives all of them one"),
        ({"peft": {"loftq_config": {"loftq_bits": 4}}}, "peft.loftq_config.loftq_bits", "LoftQ"),
        ({"optimizer": "adamw_bnb_8bit"}, "optimizer", "AdamW"),
        ({"lr_scheduler": "rex"}, "lr_scheduler", "cosine"),
        ({"cosine_min_lr_ratio": 0.1}, "cosine_min_lr_ratio", "schedule"),
        ({"early_stopping_patience": 3}, "early_stopping_patience", "counts epochs"),
        ({"neftune_noise_alpha": 5}, "neftune_noise_alpha", "noise"),
        ({"resume_from_checkpoint": "out/checkpoint-3"}, "resume_from_checkpoint", "its own alone"),
        ({"plugins": ["axolotl.integrations.spectrum.SpectrumPlugin"]}, "plugins", "code of its own"),
        ({"shuffle_merged_datasets": False}, "shuffle_merged_datasets", "order"),
        ({"dataset_exact_deduplication": True}, "dataset_exact_deduplication", "twice"),
        ({"batch_size": 64}, "batch_size", "gradient_accumulation_steps"),
        ({"sequnce_len": 64}, "sequnce_len", "did you mean sequence_len?"),
        ({"datasets": [{**CHAT, "type": "alpaca"}]}, "datasets[0].type", "a text of its own"),
        ({"datasets": [{**CHAT, "type": "sharegpt"}]}, "datasets[0].type", "a text of its own"),
        ({"datasets": [{**CHAT, "split": "train[:10%]"}]}, "datasets[0].split", "a part of the file"),
        ({"datasets": [{**CHAT, "roles_to_train": ["user"]}]}, "datasets[0].roles_to_train", "other roles"),
        ({"datasets": [{**CHAT, "train_on_eos": "all"}]}, "datasets[0].train_on_eos", "ends of turns"),
        ({"datasets": [{**CHAT, "colour": 1}]}, "datasets[0].colour", "not known"),
        ({"datasets": [{**CHAT, "type": {"format": "{x}"}}]}, "datasets[0].type.format", "a text of its own"),
    ],
)
def test_what_would_be_lost_is_refused_with_the_cure_and_goes_on_when_it_is_accepted(
    chats: Place, given: dict[str, Any], place_of: str, fault: str
) -> None:
    raw = {**LEAST, **given}
    found = problems(lambda: chats.translate(raw))
    assert list(found) == [place_of]
    assert fault in found[place_of]
    assert f"--accept {place_of}" in found[place_of]
    assert list(chats.translate(raw, accept=(place_of,)).accepted) == [place_of]
    assert chats.job(raw, accept=(place_of,)).config.name == "triage"


@pytest.mark.parametrize(
    ("given", "place_of", "fault"),
    [
        ({"rl": "kto"}, "rl", "no counterpart"),
        ({"adapter": "llama-adapter"}, "adapter", "no counterpart"),
        ({"lora_r": None}, "lora_r", "no default"),
        ({"lora_alpha": None}, "lora_alpha", "no default"),
        ({"learning_rate": None}, "learning_rate", "no default"),
        ({"lora_target_linear": False}, "lora_target_modules", "PEFT would choose"),
        ({"lora_r": 24}, "lora_r (here method.r)", "24"),
        ({"deepspeed": "zero2.json"}, "deepspeed", "--devices"),
        ({"datasets": [{"path": "s3://a/b.json", "type": "chat_template"}]}, "datasets[0].path", "whole splits alone"),
        ({"datasets": [{"path": "محادثات.jsonl"}]}, "datasets[0].type", "write chat_template"),
        ({"datasets": []}, "datasets", "names no data set"),
        ({"datasets": None}, "datasets", "names no data set"),
        ({"datasets": "one.jsonl"}, "datasets", "names no data set"),
        ({"test_datasets": [CHAT, CHAT]}, "test_datasets", "one validates"),
        ({"chat_template_jinja": "none.jinja"}, "chat_template_jinja", "there is no file"),
    ],
)
def test_what_cannot_be_here_is_refused_by_the_foreign_key(
    chats: Place, given: dict[str, Any], place_of: str, fault: str
) -> None:
    found = problems(lambda: chats.translate({**LEAST, **given}))
    assert fault in found[place_of]
    assert f"--accept {place_of}" not in found[place_of]


def test_a_step_has_the_rows_of_all_devices(chats: Place) -> None:
    raw = {**LEAST, "micro_batch_size": 2, "gradient_accumulation_steps": 3, "fsdp": ["full_shard"], "fsdp_config": {}}
    how = chats.job(raw, devices=2).config.optimisation
    assert (how.fsdp, how.batch_size, how.accumulation) == (True, 4, 3)  # a batch is of all processes here
    how = chats.job({**raw, "fsdp": None, "deepspeed": "zero1.json"}, devices=2).config.optimisation
    assert (how.fsdp, how.batch_size, how.accumulation) == (False, 2, 6)


def test_a_template_of_ones_own_is_taken_as_it_is(chats: Place) -> None:
    text = "{% for m in messages %}{{ m.content }}{% endfor %}"
    job = chats.job({**LEAST, "chat_template": "jinja", "chat_template_jinja": text})
    assert job.template == str(chats.ours / "triage.jinja")
    assert (chats.ours / "triage.jinja").read_text() == text
    (chats.root / "قالب.jinja").write_text(text)
    job = chats.job({**LEAST, "chat_template_jinja": "قالب.jinja"})
    assert job.template == str(chats.root / "قالب.jinja")


def test_an_adapter_is_gone_on_from_with_its_own_shape(chats: Place) -> None:
    (chats.root / "out").mkdir()
    (chats.root / "out/adapter_config.json").write_text(json.dumps({"r": 64}))
    method = chats.job({**LEAST, "lora_model_dir": "out"}).config.method
    assert method.adapter == "../tool/out"
    assert "r" not in method.model_fields_set


def test_plain_texts_are_packed_into_blocks(place: Place) -> None:
    place.rows("c4.jsonl", [{"body": "one"}])
    raw = {**LEAST, "datasets": [{"path": "c4.jsonl", "type": "completion", "field": "body"}], "sample_packing": True}
    assert "no form of rows here fits it" in problems(lambda: place.translate(raw))["datasets[0]"]
    place.rows("c4.jsonl", [{"text": "one"}])
    job = place.job({**raw, "datasets": [{"path": "c4.jsonl", "type": "completion"}]})
    assert (job.config.method.type, job.config.optimisation.packing) == ("text", "auto")


def test_preferences_become_dpo(place: Place) -> None:
    turns = [{"role": "user", "content": "q"}]
    sides = {side: [*turns, {"role": "assistant", "content": side}] for side in ("chosen", "rejected")}
    place.rows("pairs.jsonl", [sides])
    raw = {**LEAST, "rl": "dpo", "datasets": [{"path": "pairs.jsonl", "type": "chat_template.argilla_chat"}]}
    method = place.job({**raw, "rl_beta": 0.3}).config.method
    assert (method.type, method.beta, method.loss) == ("dpo", 0.3, "sigmoid")
    assert place.job({**raw, "rl": "ipo", "trl": {"beta": 0.2}}).config.method.beta == 0.2
    assert place.job({**raw, "dpo_loss_type": ["ipo"]}).config.method.loss == "ipo"
    rendered = {**raw, "datasets": [{"path": "pairs.jsonl", "type": "chatml.intel"}]}
    assert [*problems(lambda: place.translate(rendered))] == ["datasets[0].type"]


@pytest.mark.parametrize(
    ("more", "row"),
    [
        ({}, ROW),
        (
            {"field_messages": "conversations", "message_property_mappings": {"role": "from", "content": "value"}},
            TALK,
        ),
        (
            {"field_messages": "conversations", "message_field_role": "from", "message_field_content": "value"},
            TALK,
        ),
    ],
)
def test_a_form_that_comes_to_the_same_turns_is_taken(place: Place, more: dict[str, Any], row: Any) -> None:
    place.rows("محادثات.jsonl", [row])
    assert place.job(first(**more)).train_paths == (place.root / "محادثات.jsonl",)


@pytest.mark.parametrize(
    ("more", "row", "fault"),
    [
        ({}, TALK, "cannot read it by this mapping"),
        ({"field_messages": "talk"}, {"talk": ROW["messages"]}, "no form of rows here fits it"),
        ({"roles": {"user": ["assistant"], "assistant": ["user"]}}, ROW, "here it is user"),
        ({}, {**ROW, "system": "s"}, "here it is system 's'"),
    ],
)
def test_rows_that_come_to_other_turns_are_named(place: Place, more: dict[str, Any], row: Any, fault: str) -> None:
    place.rows("محادثات.jsonl", [row])
    found = problems(lambda: place.translate(first(**more)))
    assert [*found] == ["datasets[0]"]
    assert fault in found["datasets[0]"]


def test_the_files_of_a_folder_are_named_one_by_one(place: Place) -> None:
    (place.root / "rows").mkdir()
    for name in ("b.jsonl", "a.jsonl"):
        place.rows(f"rows/{name}", [ROW])
    raw = {**LEAST, "datasets": [{"path": "rows", "type": "chat_template"}]}
    assert [path.name for path in place.job(raw).train_paths] == ["a.jsonl", "b.jsonl"]
    raw["datasets"] = [{"path": "rows", "type": "chat_template", "data_files": ["b.jsonl"]}]
    assert [path.name for path in place.job(raw).train_paths] == ["b.jsonl"]


def test_a_file_of_its_own_validates(chats: Place) -> None:
    chats.rows("test.jsonl", [ROW])
    job = chats.job({**LEAST, "test_datasets": [{"path": "test.jsonl", "type": "chat_template"}]})
    assert job.validation_path == chats.root / "test.jsonl"


@pytest.mark.parametrize(
    ("given", "kinds"),
    [
        ({"use_wandb": True, "wandb_project": "p"}, ["wandb"]),
        ({"wandb_project": "p", "use_mlflow": True}, ["wandb", "mlflow"]),
        ({"use_tensorboard": True, "use_wandb": False, "wandb_project": "p"}, ["tensorboard"]),
        ({}, ["tensorboard"]),
    ],
)
def test_figures_are_told_where_they_were_told(chats: Place, given: dict[str, Any], kinds: list[str]) -> None:
    assert [tracker.type for tracker in chats.job({**LEAST, **given}).config.tracking] == kinds
