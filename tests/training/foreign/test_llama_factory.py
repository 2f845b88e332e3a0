"""A LLaMA-Factory YAML becomes the same training here, or is refused with what would be another."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.foreign.conftest import Place, problems, told
from training.optimisation import OptimisationSettings

SFT: dict[str, Any] = {
    "model_name_or_path": "org/model",
    "trust_remote_code": True,
    "stage": "sft",
    "do_train": True,
    "finetuning_type": "lora",
    "lora_rank": 8,
    "lora_target": "all",
    "dataset": "triage",
    "cutoff_len": 512,
    "max_samples": 1000,
    "preprocessing_num_workers": 16,
    "output_dir": "saves/triage",
    "logging_steps": 10,
    "save_steps": 500,
    "plot_loss": True,
    "overwrite_output_dir": True,
    "report_to": "none",
    "per_device_train_batch_size": 2,
    "gradient_accumulation_steps": 8,
    "learning_rate": "1e-4",  # YAML 1.1 reads it as text
    "num_train_epochs": 2.0,
    "lr_scheduler_type": "cosine",
    "warmup_ratio": 0.1,
    "bf16": True,
    "ddp_timeout": 180000000,
    "resume_from_checkpoint": None,
    "val_size": 0.1,
}
"""In the shape of the tool's own examples."""
LEAST = {"model_name_or_path": "org/model", "dataset": "triage"}
ALPACA = {"instruction": "سؤال", "input": "", "output": "جواب"}
PAIR = {"instruction": "q", "input": "", "chosen": "a", "rejected": "b"}
TALK = {"conversations": [{"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
MESSAGES = {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}
OPENAI_TAGS = {"role_tag": "role", "content_tag": "content", "user_tag": "user", "assistant_tag": "assistant"}


@pytest.fixture
def triage(place: Place) -> Place:
    place.rows("data/فرز.jsonl", [ALPACA] * 40)
    place.info(triage={"file_name": "فرز.jsonl"})
    return place


@pytest.fixture
def pairs(place: Place) -> Place:
    place.rows("data/pairs.jsonl", [PAIR] * 4)
    columns = {"prompt": "instruction", "query": "input", "chosen": "chosen", "rejected": "rejected"}
    place.info(triage={"file_name": "pairs.jsonl", "ranking": True, "columns": columns})
    return place


def test_a_file_in_the_shape_of_its_examples_becomes_the_same_training(triage: Place) -> None:
    job = triage.job(SFT)
    how, method = job.config.optimisation, job.config.method
    assert (job.config.name, job.base) == ("triage", "org/model")
    assert job.train_paths == (triage.root / "data/فرز.jsonl",)
    assert (method.type, method.r, method.alpha, method.dropout, method.rslora) == ("lora", 8, 16.0, 0.0, False)
    assert method.target_modules == "all-linear"
    assert (how.lr, how.epochs, how.batch_size, how.accumulation) == (1e-4, 2.0, 2, 8)
    assert (how.schedule, how.warmup, how.max_length, how.precision) == ("cosine", 0.1, 512, "bfloat16")
    assert job.config.data.holdout == 0.1


def test_its_own_defaults_are_written_out_where_they_are_not_ours(triage: Place) -> None:
    job = triage.job(LEAST)
    how, method = job.config.optimisation, job.config.method
    assert (method.r, method.alpha, method.rslora) == (8, 16.0, False)
    assert (how.lr, how.epochs, how.batch_size, how.accumulation) == (5e-5, 3.0, 8, 1)
    assert (how.schedule, how.warmup, how.seed, how.max_length) == ("linear", 0.0, 42, 2048)
    assert how.gradient_checkpointing
    assert how.precision == "float32"


@pytest.mark.parametrize(
    ("given", "path", "value"),
    [
        ({"lora_rank": 32}, "method.alpha", 64.0),
        ({"lora_alpha": 5}, "method.alpha", 5.0),
        ({"lora_target": "q_proj, v_proj"}, "method.target_modules", ("q_proj", "v_proj")),
        ({"lora_target": ["q_proj"]}, "method.target_modules", ("q_proj",)),
        ({"use_rslora": True}, "method.rslora", True),
        ({"quantization_bit": 4}, "method.type", "qlora"),
        ({"finetuning_type": "full"}, "method.type", "full"),
        ({"finetuning_type": "freeze"}, "method.layers", 2),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": 3}, "method.layers", 3),
        ({"finetuning_type": "freeze", "freeze_extra_modules": "lm_head"}, "method.head", True),
        ({"lr_scheduler_type": "constant", "warmup_ratio": 0.2}, "optimisation.warmup", 0.0),
        ({"lr_scheduler_type": "constant"}, "optimisation.schedule", "constant_with_warmup"),
        ({"max_steps": 7}, "optimisation.max_steps", 7),
        ({"max_steps": 7}, "optimisation.epochs", 7.0),
        ({"disable_gradient_checkpointing": True}, "optimisation.gradient_checkpointing", False),
        ({"early_stopping_steps": 2, "eval_strategy": "epoch"}, "optimisation.early_stopping", 2),
        ({"group_by_length": True}, "optimisation.group_by_length", True),
        ({"group_by_length": False}, "optimisation.group_by_length", False),
        ({"train_sampling_strategy": "group_by_length"}, "optimisation.group_by_length", True),
        ({"train_sampling_strategy": "random"}, "optimisation.group_by_length", False),
        ({"val_size": 0.25}, "data.holdout", 0.25),
        ({"val_size": 4}, "data.holdout", 0.1),  # 4 of 40 rows
    ],
)
def test_a_value_that_is_said_in_another_way_is_translated(
    triage: Place, given: dict[str, Any], path: str, value: Any
) -> None:
    read: Any = triage.job({**LEAST, **given}).config
    for part in path.split("."):
        read = getattr(read, part)
    assert read == value


@pytest.mark.parametrize(
    ("given", "place_of", "fault"),
    [
        ({"template": "qwen3"}, "template", "empty thoughts"),
        ({"template": "qwen"}, "template", "a system text of its own"),
        ({"template": "chatml"}, "template", "takes the place of the tokenizer's template"),
        ({"enable_thinking": True}, "enable_thinking", "empty thoughts"),
        ({"train_on_prompt": True}, "train_on_prompt", "only answers"),
        ({"mask_history": True}, "mask_history", "weight 0"),
        ({"packing": True}, "packing", "see each other"),
        ({"neat_packing": True}, "neat_packing", "batch_size counts rows"),
        ({"quantization_bit": 8}, "quantization_bit", "NF4"),
        ({"quantization_bit": 4, "quantization_type": "fp4"}, "quantization_bit", "NF4"),
        ({"quantization_bit": 4, "finetuning_type": "full"}, "quantization_bit", "packs the base"),
        ({"resume_from_checkpoint": "saves/checkpoint-5"}, "resume_from_checkpoint", "its own alone"),
        ({"use_dora": True}, "use_dora", "vLLM refuses"),
        ({"additional_target": "embed_tokens"}, "additional_target", "server"),
        ({"finetuning_type": "freeze", "freeze_trainable_layers": -2}, "freeze_trainable_layers", "first layers"),
        ({"optim": "adamw_8bit"}, "optim", "AdamW"),
        ({"lr_scheduler_type": "polynomial"}, "lr_scheduler_type", "cosine"),
        ({"early_stopping_steps": 2}, "early_stopping_steps", "counts epochs"),
        ({"adam_beta2": 0.95}, "adam_beta2", "0.999"),
        ({"fp16": True}, "fp16", "float16"),
        ({"train_sampling_strategy": "sequential"}, "train_sampling_strategy", "by chance or by length"),
        ({"max_samples": 39}, "max_samples", "the first 39 rows"),
        ({"warmup_steps": 1000}, "warmup_steps", "never be reached"),
        ({"lora_rnak": 4}, "lora_rnak", "did you mean lora_rank?"),
        ({"نص": 1}, "نص", "what it decides is not known"),
    ],
)
def test_what_would_be_lost_is_refused_with_the_cure_and_goes_on_when_it_is_accepted(
    triage: Place, given: dict[str, Any], place_of: str, fault: str
) -> None:
    raw = {**LEAST, **given}
    found = problems(lambda: triage.translate(raw))
    assert list(found) == [place_of]
    assert fault in found[place_of]
    assert f"--accept {place_of}" in found[place_of]
    made = triage.translate(raw, accept=(place_of,))
    assert list(made.accepted) == [place_of]
    assert triage.job(raw, accept=(place_of,)).config.name == "triage"


@pytest.mark.parametrize(
    ("given", "place_of", "fault"),
    [
        ({"stage": "kto"}, "stage", "no counterpart"),
        ({"stage": "rm"}, "stage", "no counterpart"),
        ({"finetuning_type": "oft"}, "finetuning_type", "no counterpart"),
        ({"stage": "pt", "finetuning_type": "full"}, "finetuning_type", "no counterpart"),
        ({"lora_rank": "eight"}, "lora_rank", "no number"),
        ({"lora_rank": 24}, "lora_rank (here method.r)", "24"),
        ({"learning_rate": 5}, "learning_rate (here optimisation.lr)", "0.1"),
        ({"lora_target": "q_proj,lm_head"}, "lora_target (here method.target_modules)", "lm_head"),
        ({"val_size": 0.5}, "val_size", "between 0 and 0.5"),
        ({"use_rslora": "maybe"}, "use_rslora", "neither true nor false"),
        ({"deepspeed": "ds_z3.json"}, "deepspeed", "--devices"),
        ({"dataset": "none"}, "dataset.none", "it has triage"),
        ({"adapter_name_or_path": "a,b"}, "adapter_name_or_path", "several adapters"),
        ({"dataset_dir": "REMOTE:org/sets"}, "dataset_dir", "no folder here"),
        ({"dataset_dir": "elsewhere"}, "dataset_dir", "--root"),
    ],
)
def test_what_cannot_be_here_is_refused_by_the_foreign_key(
    triage: Place, given: dict[str, Any], place_of: str, fault: str
) -> None:
    raw = {**LEAST, **given}
    found = problems(lambda: triage.translate(raw))
    assert fault in found[place_of]
    assert f"--accept {place_of}" not in found[place_of]


def test_all_that_is_wrong_is_told_at_once(triage: Place) -> None:
    raw = {**LEAST, "template": "qwen3", "lora_rank": 12, "optim": "sgd", "colour": "red", "dataset": "triage,none"}
    found = problems(lambda: triage.translate(raw))
    assert {*found} == {"template", "lora_rank (here method.r)", "optim", "colour", "dataset.none"}


def test_a_step_has_the_rows_of_all_devices(triage: Place) -> None:
    raw = {**LEAST, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "deepspeed": "ds.json"}
    how = triage.job(raw, devices=4).config.optimisation
    assert (how.batch_size, how.accumulation) == (2, 12)
    text = (triage.ours / "triage.yaml").read_text(encoding="utf-8")
    assert "2 × 3 × 4 devices = 24 rows a step" in text


@pytest.mark.parametrize("asked", [1, 2, 5])
def test_warm_up_steps_become_a_share_that_makes_as_many(triage: Place, asked: int) -> None:
    raw = {**LEAST, "warmup_steps": asked, "per_device_train_batch_size": 2, "warmup_ratio": 0.5}
    how = triage.job(raw).config.optimisation
    steps = OptimisationSettings(batch_size=2, epochs=3).steps(36)  # a tenth of 40 is held out
    assert how.warmup_steps(steps) == asked


def test_a_default_system_text_becomes_a_file_beside_the_configuration(triage: Place) -> None:
    job = triage.job({**LEAST, "default_system": "صنّف الرسالة."})
    assert job.prompt.system == "صنّف الرسالة."
    printed = problems(lambda: triage.translate({**LEAST, "default_system": "x"}, out=None))
    assert "--out" in printed["default_system"]


def test_a_default_system_text_is_refused_where_rows_may_have_their_own(place: Place) -> None:
    place.rows("data/talks.jsonl", [TALK])
    place.info(triage={"file_name": "talks.jsonl", "formatting": "sharegpt"})
    found = problems(lambda: place.translate({**LEAST, "default_system": "x"}))
    assert "before those that rows have" in found["default_system"]


def test_an_adapter_is_gone_on_from_with_its_own_shape_and_dropout(triage: Place) -> None:
    folder = triage.root / "saves/أول"
    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 64, "lora_dropout": 0.05}))
    raw = {**LEAST, "adapter_name_or_path": "saves/أول", "lora_rank": 8, "lora_dropout": 0.5}
    job = triage.job(raw)
    assert (job.folder / job.config.method.adapter).resolve() == folder
    assert job.config.method.dropout == 0.05
    assert "r" not in job.config.method.model_fields_set
    assert (
        "no PEFT folder"
        in problems(lambda: triage.translate({**raw, "adapter_name_or_path": "none"}))["adapter_name_or_path"]
    )


def test_preferences_become_dpo_against_its_numbers(pairs: Place) -> None:
    method = pairs.job({**LEAST, "stage": "dpo", "pref_ftx": 0.2, "pref_loss": "hinge"}).config.method
    assert (method.type, method.beta, method.loss, method.sft) == ("dpo", 0.1, "hinge", 0.2)
    found = problems(lambda: pairs.translate({**LEAST, "stage": "dpo", "pref_loss": "simpo"}))
    assert "no counterpart" in found["pref_loss"]
    assert "pairs of answers" in problems(lambda: pairs.translate(LEAST))["dataset.triage"]


def test_plain_texts_are_packed_into_blocks(place: Place) -> None:
    place.rows("data/c4.jsonl", [{"text": "one"}, {"text": "اثنان"}])
    place.info(triage={"file_name": "c4.jsonl", "columns": {"prompt": "text"}})
    raw = {**LEAST, "stage": "pt", "template": "default", "packing": True, "cutoff_len": 128, "group_by_length": True}
    job = place.job(raw)
    assert (job.config.method.type, job.config.optimisation.max_length) == ("text", 128)
    found = problems(lambda: place.translate({**raw, "warmup_steps": 5, "packing": False}))
    assert {*found} == {"warmup_steps", "packing"}


# -- rows -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "row"),
    [
        ({}, ALPACA),
        ({"columns": {"prompt": "instruction", "response": "output"}}, {"instruction": "q", "output": "a"}),
        ({"columns": {"prompt": "question", "response": "answer"}}, {"question": "q", "answer": "a"}),
        (
            {"columns": {"prompt": "instruction", "response": "output", "system": "system", "history": "history"}},
            {"instruction": "q", "output": "a", "system": "s", "history": [["q0", "a0"]]},
        ),
        ({"formatting": "sharegpt"}, TALK),
        ({"formatting": "sharegpt"}, {"conversations": [{"from": "system", "value": "s"}, *TALK["conversations"]]}),
        ({"formatting": "sharegpt", "columns": {"messages": "messages"}, "tags": OPENAI_TAGS}, MESSAGES),
    ],
)
def test_a_form_that_comes_to_the_same_turns_is_taken(place: Place, entry: dict[str, Any], row: Any) -> None:
    place.rows("data/rows.jsonl", [row])
    place.info(triage={"file_name": "rows.jsonl", **entry})
    assert place.job(LEAST).train_paths == (place.root / "data/rows.jsonl",)


@pytest.mark.parametrize(
    ("entry", "row", "fault"),
    [
        ({}, ALPACA | {"input": "more"}, r"'سؤال\nmore', and here it is user 'سؤال\n\nmore'"),
        ({}, ALPACA | {"system": "s"}, "and here it is system 's'"),
        ({}, ALPACA | {"history": [["q0", "a0"]]}, "and here it is user 'q0'"),
        ({}, ALPACA | {"score": 3}, "score is no key of the form"),
        ({"columns": {"prompt": "output", "response": "instruction"}}, ALPACA, "here it is user 'سؤال'"),
        ({"columns": {"prompt": "ask", "response": "say"}}, {"ask": "q", "say": "a"}, "no form of rows here fits it"),
        ({"columns": {"prompt": "ask"}}, ALPACA, "cannot read it by this mapping"),
        ({"formatting": "sharegpt"}, MESSAGES, "cannot read it by this mapping"),
        ({"formatting": "sharegpt"}, {"conversations": TALK["conversations"][::-1]}, "no form of rows here fits"),
    ],
)
def test_rows_that_come_to_other_turns_are_named_with_both_readings(
    place: Place, entry: dict[str, Any], row: Any, fault: str
) -> None:
    place.rows("data/rows.jsonl", [ALPACA if not entry else row, row])
    place.info(triage={"file_name": "rows.jsonl", **entry})
    found = problems(lambda: place.translate(LEAST))
    assert [*found] == ["dataset.triage"]
    assert fault in found["dataset.triage"]
    assert "--accept dataset.triage" in found["dataset.triage"]


def test_a_row_that_the_tool_drops_in_silence_is_named(place: Place) -> None:
    unordered = [{"from": "human", "value": "q"}, {"from": "bot", "value": "a"}]
    place.rows("data/rows.jsonl", [TALK, {"conversations": unordered}])
    place.info(triage={"file_name": "rows.jsonl", "formatting": "sharegpt"})
    assert "row 2 of rows.jsonl" in problems(lambda: place.translate(LEAST))["dataset.triage"]


@pytest.mark.parametrize(
    ("entry", "place_of", "fault"),
    [
        ({"ms_hub_url": "org/data"}, "dataset.triage", "download it"),
        ({"hf_hub_url": "org/data", "split": "train[:10%]"}, "dataset.triage", "a whole split"),
        ({"hf_hub_url": "org/data", "folder": "ar"}, "dataset.triage.folder", "download it"),
        ({"script_url": "code"}, "dataset.triage", "download it"),
        ({"formatting": "openai"}, "dataset.triage.formatting", "adds a system text of its own"),
        ({"num_samples": 5}, "dataset.triage.num_samples", "by chance"),
        ({"split": "test"}, "dataset.triage.split", "a part of the file"),
        ({"colour": 1}, "dataset.triage.colour", "no key that is known"),
        ({"file_name": "none.jsonl"}, "dataset.triage", "there is no file"),
    ],
)
def test_what_an_entry_says_beside_its_form_is_named(
    triage: Place, entry: dict[str, Any], place_of: str, fault: str
) -> None:
    triage.info(triage={"file_name": "فرز.jsonl", **entry})
    assert fault in problems(lambda: triage.translate(LEAST))[place_of]


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"triage": 3}'])
def test_a_description_of_data_that_is_none_ends_with_a_message(triage: Place, text: str) -> None:
    (triage.root / "data/dataset_info.json").write_text(text)
    assert {*problems(lambda: triage.translate(LEAST))} <= {"dataset_dir", "dataset.triage"}


def test_several_files_are_one_list_and_shares_are_weights(triage: Place) -> None:
    triage.rows("data/two.jsonl", [ALPACA])
    triage.info(triage={"file_name": "فرز.jsonl"}, two={"file_name": "two.jsonl"})
    both = {**LEAST, "dataset": "triage, two"}
    assert [source.weight for source in triage.job(both).config.data.train] == [None, None]
    mixed = {**both, "mix_strategy": "interleave_under", "interleave_probs": "0.7,0.3"}
    assert triage.job(mixed).config.data.weights == [0.7, 0.3]
    found = problems(lambda: triage.translate({**mixed, "mix_strategy": "interleave_over"}))
    assert {*found} == {"mix_strategy", "interleave_probs"}
    validated = triage.job({**LEAST, "eval_dataset": "two"})
    assert validated.validation_path == triage.root / "data/two.jsonl"


def test_paths_start_where_the_tool_is_started_and_ours_at_the_written_file(triage: Place) -> None:
    (triage.root / "models/قاعدة").mkdir(parents=True)
    made = triage.translate({**LEAST, "model_name_or_path": "models/قاعدة"})
    assert made.mapping["base"] == "../tool/models/قاعدة"
    assert made.mapping["data"]["train"] == "../tool/data/فرز.jsonl"
    job = triage.job({**LEAST, "model_name_or_path": "models/قاعدة"})
    assert job.base == str(triage.root / "models/قاعدة")
    printed = triage.translate(LEAST, out=None)
    assert printed.mapping["data"]["train"] == str(triage.root / "data/فرز.jsonl")


def test_tokens_that_are_kept_are_read_there_in_place_of_the_data(triage: Place) -> None:
    raw = {**LEAST, "tokenized_path": "kept"}
    assert "tokenized_path" in triage.translate(raw).idle
    (triage.root / "kept").mkdir()
    (triage.root / "kept/state.json").write_text("{}")
    assert "in place of the data sets" in problems(lambda: triage.translate(raw))["tokenized_path"]


def test_every_key_of_the_example_is_told(triage: Place) -> None:
    assert told(triage.translate(SFT)) == {*SFT}


def test_the_scale_of_the_adapter_is_theirs(triage: Place) -> None:
    """alpha / r, since rsLoRA is off there; ours by default is alpha / sqrt(r)."""
    method = triage.job(LEAST).config.method
    assert method.scale == pytest.approx(16 / 8)
    assert method.model_copy(update={"rslora": True}).scale == pytest.approx(16 / math.sqrt(8))


def test_several_devices_that_share_weights_out_do_so_here(triage: Place) -> None:
    raw = {**LEAST, "per_device_train_batch_size": 2, "gradient_accumulation_steps": 3, "fsdp": "full_shard auto_wrap"}
    how = triage.job(raw, devices=4).config.optimisation
    assert (how.fsdp, how.batch_size, how.accumulation) == (True, 8, 3)  # a batch is of all processes here
    alone = triage.job(raw, devices=1).config.optimisation
    assert (alone.fsdp, alone.batch_size, alone.accumulation) == (False, 2, 3)
    packed = triage.job({**raw, "quantization_bit": 4}, devices=4).config.optimisation  # qlora shares nothing out
    assert (packed.fsdp, packed.batch_size, packed.accumulation) == (False, 2, 12)


@pytest.mark.parametrize(
    ("said", "kinds"),
    [("wandb", ["wandb"]), (["mlflow", "swanlab", "tensorboard"], ["mlflow", "tensorboard"]), ("none", None)],
)
def test_figures_are_told_where_they_were_told(triage: Place, said: Any, kinds: list[str] | None) -> None:
    trackers = [tracker.type for tracker in triage.job({**LEAST, "report_to": said}).config.tracking]
    assert trackers == (kinds or ["tensorboard"])  # our own default


def test_a_model_that_is_not_to_think_is_told_so_by_the_service_too(triage: Place) -> None:
    raw = {**LEAST, "template": "qwen3", "enable_thinking": False}
    read = triage.job(raw, accept=("template",)).config
    assert read.prompt.chat_template_kwargs == {"enable_thinking": False}


CHATML = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] | trim }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
"""In other words than ours, with the same tokens."""
QWEN = (
    "{% if messages[0]['role'] != 'system' %}<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. "
    "You are a helpful assistant.<|im_end|>\n{% endif %}" + CHATML
)


@pytest.fixture
def base(tmp_path: Path, bases: Callable[[str], Path]) -> Callable[[str | None], str]:
    """A base's folder with this chat template, or with none."""

    def made(template: str | None) -> str:
        folder = shutil.copytree(bases("bare"), tmp_path / "base")
        if template is not None:
            (folder / "chat_template.jinja").write_text(template, encoding="utf-8")
        return str(folder)

    return made


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("own", "name", "given", "template"),
    [
        (CHATML, "chatml", {}, None),
        (CHATML, "smollm", {}, None),
        (QWEN, "qwen", {}, None),
        (CHATML, "qwen", {"default_system": "Be brief."}, None),  # every row has it, there and here
        (None, "chatml", {}, "chatml"),
        (QWEN, "chatml", {}, "chatml"),  # there too it takes the place of the base's own
    ],
)
def test_a_template_that_gives_the_tokens_of_one_here_needs_no_word(
    triage: Place, base: Callable[..., str], own: str | None, name: str, given: dict[str, str], template: str | None
) -> None:
    made = triage.translate({**LEAST, "model_name_or_path": base(own), "template": name, **given})
    assert made.mapping.get("template") == template
    assert ("template" in made.idle) == (template is None)


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("own", "name"),
    [
        (CHATML, "qwen"),
        (QWEN, "smollm"),
        (CHATML, "llama3"),
        (None, "smollm"),
        (CHATML.replace("\n{% end", "{% end"), "yi"),
    ],
)
def test_a_template_that_gives_other_tokens_is_still_to_be_accepted(
    triage: Place, base: Callable[..., str], own: str | None, name: str
) -> None:
    raw = {**LEAST, "model_name_or_path": base(own), "template": name}
    assert "template" in problems(lambda: triage.translate(raw))


@pytest.mark.e2e
def test_rows_with_tools_are_written_in_another_form_there(place: Place, base: Callable[..., str]) -> None:
    columns = {"messages": "conversations", "tools": "tools"}
    place.rows("data/talk.jsonl", [TALK] * 4)
    place.info(talk={"file_name": "talk.jsonl", "formatting": "sharegpt", "columns": columns})
    raw = {"model_name_or_path": base(CHATML), "dataset": "talk", "template": "chatml"}
    assert "template" in problems(lambda: place.translate(raw))
