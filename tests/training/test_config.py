"""A configuration is refused with every reason at once, before any training."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import yaml

from lifecycle.errors import InvalidConfig
from training.config import OptimisationSettings, TrainJob

ROOT = Path(__file__).parents[2]
SHIPPED = sorted((ROOT / "examples/clinic/training").glob("*.yaml"))


@pytest.fixture
def raw(tmp_path: Path) -> dict[str, Any]:
    """The smallest configuration, with the files that it names."""
    for name in ("train.jsonl", "validation.jsonl"):
        (tmp_path / name).write_text('{"prompt": "q", "completion": "a"}\n')
    return {"name": "t", "base": "org/model", "data": {"train": "train.jsonl", "validation": "validation.jsonl"}}


def faults(raw: dict[str, Any], folder: Path) -> dict[str, str]:
    with pytest.raises(InvalidConfig) as caught:
        TrainJob.from_mapping(raw, folder)
    return {problem.place: f"{problem.fault} {problem.cure}" for problem in caught.value.problems}


def test_there_are_shipped_configurations() -> None:
    assert {path.stem for path in SHIPPED} == {"triage", "handbook", "digest"}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_configuration_loads(path: Path) -> None:
    config = TrainJob.load(path).config
    assert config.name == path.stem
    job = TrainJob.load(path)
    assert job.prompt.system
    assert all(path.is_file() for path in job.train_paths)


def test_defaults_suit_lora(raw: dict[str, Any], tmp_path: Path) -> None:
    config = TrainJob.from_mapping(raw, tmp_path).config
    assert config.optimisation.lr == 2e-4
    assert config.method.target_modules == "all-linear"
    assert config.method.scale == pytest.approx(32 / math.sqrt(16))
    assert config.method.model_copy(update={"rslora": False}).scale == pytest.approx(2.0)


def test_all_faults_are_reported_together_with_their_key_paths(raw: dict[str, Any], tmp_path: Path) -> None:
    raw |= {
        "name": "Bad Name",
        "method": {"r": 12, "use_dora": True, "alhpa": 3, "target_modules": ["q_proj", "lm_head"]},
        "optimisation": {"lr": -1, "epochs": "many", "shedule": "cosine"},
        "prompt": {"system": "none.txt"},
        "colour": "red",
    }
    raw["data"]["train"] = "absent.jsonl"
    said = faults(raw, tmp_path)
    assert set(said) == {
        "name",
        "method.r",
        "method.use_dora",
        "method.alhpa",
        "method.target_modules",
        "optimisation.lr",
        "optimisation.epochs",
        "optimisation.shedule",
        "prompt.system",
        "data.train",
        "colour",
    }
    assert "'Bad Name' is no name write lower-case letters, digits, - and _, at most 63" in said["name"]
    assert "did you mean alpha?" in said["method.alhpa"]
    assert "did you mean schedule?" in said["optimisation.shedule"]
    assert "lm_head" in said["method.target_modules"]


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("use_dora", True, "DoRA"),
        ("modules_to_save", ["lm_head"], "fully trained"),
        ("bias", "lora_only", "biases"),
        ("lora_bias", True, "biases"),
        ("rank_pattern", {"q_proj": 4}, "all modules one rank"),
        ("alpha_pattern", {"q_proj": 4}, "all modules one alpha"),
        ("trainable_token_indices", [1], "token embeddings"),
        ("target_parameters", ["experts.w"], "linear modules"),
        ("alora_invocation_tokens", [1], "activated LoRA"),
        ("layers_to_transform", [0], "every layer"),
        ("layer_replication", [[0, 1]], "own layers"),
        ("init_lora_weights", "pissa", "alters the base"),
        ("init_lora_weights", "pissa_niter_16", "alters the base"),
        ("init_lora_weights", "olora", "alters the base"),
        ("init_lora_weights", "corda", "alters the base"),
        ("init_lora_weights", "loftq", "alters the base"),
        ("init_lora_weights", "lora_ga", "alters the base"),
        ("r", 12, "12 would take the place"),
        ("r", 0, "slots"),
        ("target_modules", ["embed_tokens"], "embed_tokens"),
        ("target_modules", [], "no module is named"),
    ],
)
def test_what_a_server_would_refuse_or_serve_wrongly_is_refused_with_the_reason(
    raw: dict[str, Any], tmp_path: Path, key: str, value: Any, reason: str
) -> None:
    said = faults(raw | {"method": {key: value}}, tmp_path)
    assert list(said) == [f"method.{key}"]
    assert reason in said[f"method.{key}"]


@pytest.mark.parametrize(
    ("method", "keys"),
    [
        ("dpo", {"optimisation.packing"}),
        ("text", {"prompt.system", "data.answer_schema", "optimisation.group_by_length"}),
        ("classification", {"optimisation.packing", "prompt.system", "data.answer_schema", "template"}),
        *((name, set()) for name in ("lora", "qlora", "full", "last_layers", "merged_lora")),
    ],
)
def test_what_a_method_would_ignore_is_refused_by_its_key(
    raw: dict[str, Any], tmp_path: Path, method: str, keys: set[str]
) -> None:
    (tmp_path / "system.txt").write_text("Be kind.\n")
    (tmp_path / "answer.json").write_text('{"type": "object"}')
    data = {**raw["data"], "answer_schema": "answer.json"}
    optimisation = {"packing": True, "gradient_checkpointing": True, "precision": "bfloat16", "max_minutes": 5}
    optimisation |= {"group_by_length": True}
    every = {"data": data, "optimisation": optimisation, "template": "zephyr", "prompt": {"system": "system.txt"}}
    assert TrainJob.from_mapping({**raw, "method": method}, tmp_path).config.method.type == method
    if not keys:
        TrainJob.from_mapping({**raw, **every, "method": method}, tmp_path)
        return
    told = faults({**raw, **every, "method": method}, tmp_path)
    assert told.keys() == keys
    assert all(fault.endswith("leave it out") for fault in told.values())


def test_a_configuration_that_spells_out_every_default_is_taken(raw: dict[str, Any], tmp_path: Path) -> None:
    """As `dabt train --again` keeps it."""
    for method in ("classification", "text", "dpo"):
        job = TrainJob.from_mapping({**raw, "method": method}, tmp_path)
        assert TrainJob.from_mapping(job.anywhere(), tmp_path).config.method == job.config.method


@pytest.mark.parametrize("loss", ["sigmoid", "hinge", "ipo", "apo_zero", "apo_down"])
def test_smoothing_is_refused_for_a_loss_that_ignores_it(raw: dict[str, Any], tmp_path: Path, loss: str) -> None:
    how = {"type": "dpo", "label_smoothing": 0.1}
    assert "label_smoothing is of no use" in str(faults({**raw, "method": {**how, "loss": loss}}, tmp_path))
    TrainJob.from_mapping({**raw, "method": {**how, "loss": "robust"}}, tmp_path)
    TrainJob.from_mapping({**raw, "method": {**how, "loss": loss, "label_smoothing": 0.0}}, tmp_path)


def test_a_share_to_hold_out_is_refused_beside_a_validation_file(raw: dict[str, Any], tmp_path: Path) -> None:
    assert "holdout is of no use" in str(faults({**raw, "data": {**raw["data"], "holdout": 0.2}}, tmp_path))
    TrainJob.from_mapping({**raw, "data": {"train": "train.jsonl", "holdout": 0.2}}, tmp_path)


def test_a_base_may_be_a_gguf_file(raw: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "some.gguf").touch()
    expected = str(tmp_path / "models" / "some.gguf")
    assert TrainJob.from_mapping({**raw, "base": "models/some.gguf"}, tmp_path).base == expected
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(raw))
    assert TrainJob.load(tmp_path / "run.yaml", base=expected).base == expected


def test_spelling_out_that_nothing_of_it_is_wanted_is_fine(raw: dict[str, Any], tmp_path: Path) -> None:
    nothing = {
        "use_dora": False,
        "bias": "none",
        "modules_to_save": None,
        "rank_pattern": {},
        "init_lora_weights": True,
    }
    assert (
        TrainJob.from_mapping(raw | {"method": nothing}, tmp_path).config == TrainJob.from_mapping(raw, tmp_path).config
    )


def test_paths_start_at_the_configurations_folder_and_base_may_be_a_folder_or_a_hub_id(
    raw: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.txt").write_text("أجب بإيجاز\n", encoding="utf-8")
    path = tmp_path / "t.yaml"
    path.write_text(yaml.safe_dump(raw | {"prompt": {"system": "system.txt"}}))
    monkeypatch.chdir("/")
    job = TrainJob.load(path)
    assert job.train_paths == (tmp_path / "train.jsonl",)
    assert job.prompt.system == "أجب بإيجاز"
    assert job.base == "org/model"
    (tmp_path / "org/model").mkdir(parents=True)
    assert job.base == str(tmp_path / "org/model")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    assert TrainJob.load(path, base="elsewhere").base == str(tmp_path / "elsewhere")
    assert TrainJob.load(path, base="other/hub-id").base == "other/hub-id"
    assert TrainJob.from_mapping(raw | {"base": "../absent"}, tmp_path).base == str(tmp_path.parent / "absent")


@pytest.mark.parametrize("text", ["- a list", "a: [", ""])
def test_a_file_that_is_no_mapping_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "t.yaml"
    path.write_text(text)
    with pytest.raises(InvalidConfig, match=r"t\.yaml"):
        TrainJob.load(path)
    with pytest.raises(InvalidConfig, match="there is no such file"):
        TrainJob.load(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("section", "key"),
    [("optimisation", "epochs"), ("optimisation", "lr"), ("optimisation", "weight_decay"), ("method", "alpha")],
)
@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan, "inf", "1e999"])
def test_a_number_that_is_none_is_refused_by_its_key(
    raw: dict[str, Any], tmp_path: Path, section: str, key: str, value: Any
) -> None:
    assert list(faults(raw | {section: {key: value}}, tmp_path)) == [f"{section}.{key}"]


def test_what_is_no_number_is_told_together_with_every_other_fault(tmp_path: Path) -> None:
    """A file that is not there, a misspelt key, and infinities at every depth."""
    path = tmp_path / "t.yaml"
    path.write_text(
        "name: Bad Name\nbase: org/model\ndata: {train: [{path: none.jsonl, weight: 1e400}]}\n"
        "method: {type: lora, alpha: .inf, rr: 1}\noptimisation: {lr: -.inf, epochs: .nan, batch_size: .inf}\n"
        "colour: .nan\n"
    )
    with pytest.raises(InvalidConfig) as caught:
        TrainJob.load(path)
    told = {problem.place: problem for problem in caught.value.problems}
    unusable = {place for place, problem in told.items() if "is no number to work with" in problem.fault}
    assert unusable == {
        "data.train.0.weight", "method.alpha", "optimisation.lr", "optimisation.epochs", "optimisation.batch_size",
        "colour",
    }  # fmt: skip
    assert {told[place].cure for place in unusable} == {"write a number"}
    assert {"name", "method.rr", "data.train[0]"} <= told.keys()


@pytest.mark.parametrize(
    ("rows", "batch", "accumulation", "epochs", "steps"),
    [
        (1, 16, 1, 1.0, 1),
        (16, 16, 1, 1.0, 1),
        (17, 16, 1, 1.0, 2),
        (48, 8, 1, 4.0, 24),
        (10, 4, 2, 3.0, 6),
        (10, 4, 1, 0.1, 1),
    ],
)
def test_the_steps_of_a_run_end_with_each_epoch(
    rows: int, batch: int, accumulation: int, epochs: float, steps: int
) -> None:
    how = OptimisationSettings(batch_size=batch, accumulation=accumulation, epochs=epochs)
    assert how.steps(rows) == steps


@pytest.mark.parametrize(
    ("share", "steps", "warmup"),
    [
        (0.03, 1, 0),
        (0.03, 33, 0),
        (0.03, 34, 2),
        (0.03, 100, 3),
        (0.03, 101, 4),
        (0.0, 100, 0),
        (0.5, 2, 1),
        (0.999, 2, 1),
    ],
)
def test_a_run_is_never_all_warm_up(share: float, steps: int, warmup: int) -> None:
    assert OptimisationSettings(warmup=share).warmup_steps(steps) == warmup


@pytest.mark.parametrize(
    ("place", "key", "cure"),
    [
        ("optimisation.metric_for_best_model", {"metric_for_best_model": "eval_loss"}, "best_by"),
        (
            "optimisation.train_sampling_strategy",
            {"train_sampling_strategy": "group_by_length"},
            "group_by_length: true",
        ),
        ("optimisation.early_stopping_patience", {"early_stopping_patience": 2}, "early_stopping"),
        ("optimisation.report_to", {"report_to": "wandb"}, "tracking"),
    ],
)
def test_other_trainers_names_are_told_by_ours(
    raw: dict[str, Any], tmp_path: Path, place: str, key: dict[str, Any], cure: str
) -> None:
    with pytest.raises(InvalidConfig) as refused:
        TrainJob.from_mapping({**raw, "optimisation": key}, tmp_path)
    (problem,) = refused.value.problems
    assert problem.place == place
    assert cure in problem.cure


def test_a_misspelt_key_of_the_only_file_is_told_where_it_was_written(raw: dict[str, Any], tmp_path: Path) -> None:
    file = {"path": raw["data"]["train"], "wieght": 2}
    with pytest.raises(InvalidConfig, match=r"data\.train\.wieght") as refused:
        TrainJob.from_mapping({**raw, "data": {**raw["data"], "train": file}}, tmp_path)
    assert "did you mean weight?" in str(refused.value)
