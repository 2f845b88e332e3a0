"""One run, for real, on a base of random weights: what it learns, leaves, publishes and refuses."""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig, InvalidData
from lifecycle.home import Home
from lifecycle.models.base import fingerprint
from lifecycle.models.preflight import preflight
from lifecycle.publishing import Shelf
from lifecycle.registry import Registry
from lifecycle.rows.forms import conversation
from lifecycle.states import State
from lifecycle.store.artifacts import ArtifactStore, digest_of_folder
from tests import blank_registry
from training import run, supervised
from training.config import TrainJob
from training.data import run_checks
from training.data.checks import check
from training.data.findings import DataReport
from training.progress import Curve, Silent
from training.run import RunRecord, TrainResult, run_name, train
from training.settings import run_settings
from training.tokens import IGNORED, ChatTokenizer

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains

Rows = Callable[..., list[dict[str, Any]]]


@dataclass
class Place:
    """A home of its own, and a configuration that can be changed."""

    folder: Path
    raw: dict[str, Any]
    home: Home
    shelf: Shelf

    def job(self, **changes: Any) -> TrainJob:
        return TrainJob.from_mapping({**self.raw, **changes}, self.folder)

    def train(self, watch: Any = None, force: bool = False, **changes: Any) -> TrainResult:
        return train(self.job(**changes), self.home, self.shelf, force=force, watch=watch)


PRECISIONS = ("auto", "float32", "bfloat16")
HOW = {"lr": 2e-2, "epochs": 4, "batch_size": 8, "max_length": 128, "seed": 3}


def make_place(folder: Path, base: Path, colours: Rows) -> Place:
    folder.mkdir(parents=True, exist_ok=True)
    for name, rows in (("train", colours(48)), ("validation", colours(8, start=100))):
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(lines, encoding="utf-8")
    (folder / "system.txt").write_text("أجب بلون واحد", encoding="utf-8")
    blank_registry.at(folder / "registry.db")
    return place_at(folder, base)


def place_at(folder: Path, base: Path) -> Place:
    """One that was made."""
    raw = {
        "name": "colours",
        "base": str(base),
        "data": {"train": "train.jsonl", "validation": "validation.jsonl"},
        "method": {"type": "lora", "r": 8, "alpha": 16},
        "optimisation": HOW,
        "prompt": {"system": "system.txt"},
        "golden_prompts": 2,
    }
    home = Home(
        root=folder, registry_url=f"sqlite:///{folder / 'registry.db'}", artifacts_url=str(folder / "artifacts")
    )
    shelf = Shelf(Registry.open(home.registry_url), ArtifactStore(home.artifacts_url, home.cache), actor="tester")
    return Place(folder, raw, home, shelf)


@pytest.fixture
def place(tmp_path: Path, bases: Callable[..., Path], colours: Rows) -> Place:
    return make_place(tmp_path / "home", bases(), colours)


class Recorder(Silent):
    """A watcher that remembers."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.steps: list[tuple[int, int]] = []
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def step(self, done: int, total: int) -> None:
        self.steps.append((done, total))


@dataclass
class Done:
    place: Place
    result: TrainResult
    watch: Recorder


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, bases: Callable[..., Path], colours: Rows) -> Done:
    """One run that the tests below look at; none of them changes it."""
    place = make_place(tmp_path_factory.mktemp("done"), bases(), colours)
    watch = Recorder()
    return Done(place, place.train(watch), watch)


def test_the_loss_falls_and_the_best_epoch_is_kept(done: Done) -> None:
    metrics = done.result.record.metrics
    log = [json.loads(line) for line in (done.result.folder / "log.jsonl").read_text().splitlines()]
    validation = [entry["loss"] for entry in log if entry["kind"] == "validation"]
    assert len(validation) == 5  # the base, and four epochs
    assert metrics["eval_loss"] == min(validation[1:])
    assert metrics["eval_loss"] < 0.8 * metrics["base_eval_loss"] == pytest.approx(0.8 * validation[0])
    assert metrics["train_rows"] == 48
    assert metrics["validation_rows"] == 8


def test_progress_is_told_from_the_first_step_to_the_last(done: Done) -> None:
    assert done.watch.steps == [(step, 24) for step in range(1, 25)]
    assert done.watch.stages[0] == "reading the rows"
    assert done.watch.stages[-1] == "publishing"


def test_the_run_leaves_a_curve_a_log_and_its_configuration_and_no_checkpoints(done: Done) -> None:
    folder = done.result.folder
    assert sorted(path.name for path in folder.iterdir()) == [
        "README.md",
        "adapter",
        "data.json",
        "given.json",
        "learning_rate.png",
        "log.jsonl",
        "loss.png",
        "metrics.png",
        "run.json",
        "tensorboard",
        "tracked.json",
    ]
    for picture in folder.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")
    record = RunRecord.model_validate_json((folder / "run.json").read_text(encoding="utf-8"))
    assert record == done.result.record
    assert record.spent is not None
    assert record.spent.seconds > 0.0
    assert "cores of" in record.spent.machine
    assert record.config["optimisation"]["seed"] == 3
    assert record.system == "أجب بلون واحد"


def test_the_folder_holds_nothing_of_the_machine_or_the_process(done: Done) -> None:
    adapter = done.result.folder / "adapter"
    assert {path.name for path in adapter.iterdir()} == {
        "adapter_config.json",
        "adapter_model.safetensors",
        "dabt_manifest.json",
    }
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "tagged"
    assert config["target_modules"] == sorted(config["target_modules"])
    assert str(done.place.folder) not in (adapter / "adapter_config.json").read_text()


def test_a_draft_is_published_with_its_whole_lineage(done: Done, bases: Callable[..., Path]) -> None:
    version, record, registry = done.result.version, done.result.record, done.place.shelf.registry
    assert version.ref == "colours:1"
    assert version.state is State.DRAFT
    assert version.spec.prompt.system == "أجب بلون واحد"
    assert version.spec.base == fingerprint(bases()).digest
    assert version.lineage.source == "training"
    assert (version.lineage.run, version.lineage.data_digest) == (record.run, record.data_digest)
    assert version.created_by == "tester"
    assert version.spec.adapter is not None
    manifest = registry.adapter(version.spec.adapter)
    assert manifest.rank == 8
    assert manifest.scale == pytest.approx(16 / math.sqrt(8))
    assert manifest.metrics == record.metrics
    assert manifest.golden == record.golden
    assert manifest.config == record.config
    assert registry.version("colours:1") == version
    stored = done.place.shelf.store.get(version.spec.adapter)
    assert digest_of_folder(stored) == digest_of_folder(done.result.folder / "adapter")


def test_preflight_passes_what_the_recipe_saves(done: Done, bases: Callable[..., Path]) -> None:
    facts = preflight(done.result.folder / "adapter", bases())
    assert facts.rank == 8
    assert len(facts.target_modules) == 7


def test_the_stored_adapter_loaded_by_peft_gives_the_golden_log_probabilities(
    done: Done, bases: Callable[..., Path]
) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    assert done.result.version.spec.adapter is not None
    stored = done.place.shelf.store.get(done.result.version.spec.adapter)
    model = AutoModelForCausalLM.from_pretrained(bases(), dtype=torch.float32)
    plain = {g.prompt_ids: logprobs(model, g) for g in done.result.record.golden}
    model = PeftModel.from_pretrained(model, str(stored)).eval()
    assert len(done.result.record.golden) == 2
    for g in done.result.record.golden:
        assert len(g.adapter_logprobs) == len(g.completion_ids) > 3
        assert logprobs(model, g) == pytest.approx(list(g.adapter_logprobs), abs=1e-4)
        assert plain[g.prompt_ids] == pytest.approx(list(g.base_logprobs), abs=1e-4)
        assert sum(g.adapter_logprobs) > sum(g.base_logprobs) + 1.0


def logprobs(model: Any, g: Any) -> list[float]:
    """Token by token, each with its own forward pass: slower than the recorder's way, and surely right."""
    import torch

    ids, found = list(g.prompt_ids), []
    with torch.no_grad():
        for token in g.completion_ids:
            found.append(torch.log_softmax(model(torch.tensor([ids])).logits[0, -1], -1)[token].item())
            ids.append(token)
    return found


def test_a_golden_prompt_is_what_the_server_renders_and_ends_with_the_turn(
    done: Done, bases: Callable[..., Path]
) -> None:
    chat = ChatTokenizer.load(bases())
    g = done.result.record.golden[0]
    served = [
        {"role": "system", "content": "أجب بلون واحد"},
        {"role": "user", "content": "what colour is thing 100? white"},
    ]
    rendered = chat.tokenizer.apply_chat_template(served, add_generation_prompt=True, return_dict=True)["input_ids"]
    assert list(g.prompt_ids) == rendered
    assert g.completion_ids[-1] == chat.tokenizer.eos_token_id


def test_a_run_leaves_the_process_as_it_was(place: Place) -> None:
    import torch
    from huggingface_hub import constants

    def settings() -> tuple[Any, ...]:
        generators = random.getstate(), tuple(torch.get_rng_state().tolist())
        return torch.get_num_threads(), constants.HF_HUB_DISABLE_TELEMETRY, dict(os.environ), generators

    before = settings()
    place.train(optimisation=SHORT)
    assert settings() == before


def test_the_same_run_is_reused_and_not_trained_again(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "train", forbidden)
    again = done.place.train()
    assert again.reused
    assert again.version == done.result.version
    assert again.record == done.result.record


def forbidden(*args: object, **kwargs: object) -> None:
    raise AssertionError("it was trained again")


def test_moving_or_renaming_the_files_is_still_the_same_run(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervised, "train", forbidden)
    folder = done.place.folder / "elsewhere"
    folder.mkdir(exist_ok=True)
    for name in ("train", "validation"):
        (folder / f"{name}-rows.jsonl").write_bytes((done.place.folder / f"{name}.jsonl").read_bytes())
    data = {"train": "elsewhere/train-rows.jsonl", "validation": "elsewhere/validation-rows.jsonl"}
    assert done.place.train(data=data).reused


@pytest.mark.parametrize(
    "change",
    [
        {"optimisation": {**HOW, "seed": 4}},
        {"optimisation": {**HOW, "lr": 1e-3}},
        {"method": {"type": "lora", "r": 16, "alpha": 16}},
        {"prompt": {}},
        {"data": {"train": "validation.jsonl", "validation": "train.jsonl"}},
        {"data": {"train": "train.jsonl"}},
        {"name": "hues"},
    ],
)
def test_anything_that_changes_the_result_is_another_run(done: Done, change: dict[str, Any]) -> None:
    base = done.result.record.base
    assert run_name(done.place.job(), base) == done.result.record.run
    assert run_name(done.place.job(**change), base) != done.result.record.run


def test_a_run_is_named_by_the_precision_that_auto_became(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    base = done.result.record.base
    names = {kind: run_name(done.place.job(optimisation={**HOW, "precision": kind}), base) for kind in PRECISIONS}
    assert names["float32"] == done.result.record.run
    assert names["float32"] != names["bfloat16"]
    for able, precision in ((True, "bfloat16"), (False, "float32")):
        monkeypatch.setattr("training.bfloat16.multiplied_in_hardware", lambda able=able: able)
        assert run_name(done.place.job(optimisation={**HOW, "precision": "auto"}), base) == names[precision]


def test_another_base_is_another_run(done: Done, bases: Callable[..., Path]) -> None:
    assert run_name(done.place.job(), fingerprint(bases("untagged")).digest) != done.result.record.run


def test_a_run_whose_adapter_was_changed_is_not_reused(place: Place) -> None:
    first = place.train(optimisation=SHORT)
    (first.folder / "adapter" / "adapter_config.json").write_text("{}")
    second = place.train(optimisation=SHORT)
    assert not second.reused
    assert second.version == first.version


def test_training_again_by_force_gives_the_same_version(place: Place) -> None:
    first = place.train(optimisation=SHORT)
    second = place.train(optimisation=SHORT, force=True)
    assert not second.reused
    assert second.record.artifact == first.record.artifact
    assert second.version == first.version


SHORT = {**HOW, "epochs": 1, "batch_size": 16}


def nothing_published(place: Place) -> bool:
    return not place.shelf.registry.names() and not list(place.home.runs.glob("*/run.json"))


@pytest.mark.parametrize("when", ["training", "golden prompts", "publishing"])
def test_an_interrupted_run_publishes_nothing_and_the_next_one_does(place: Place, when: str) -> None:
    class Interrupting(Silent):
        def step(self, done: int, total: int) -> None:
            if when == "training":
                raise KeyboardInterrupt

        def stage(self, text: str) -> None:
            if text == when != "training":
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.train(Interrupting(), optimisation=SHORT)
    assert not place.shelf.registry.names()
    result = place.train(optimisation=SHORT)
    assert result.version.ref == "colours:1"
    assert result.reused is (when == "publishing")  # the run itself was whole by then


def test_two_that_ask_for_one_run_at_once_make_it_once(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    original = supervised.train

    def counted(*args: Any, **more: Any) -> Any:
        calls.append(args)
        return original(*args, **more)

    monkeypatch.setattr(supervised, "train", counted)
    with ThreadPoolExecutor(2) as pool:
        results = list(pool.map(lambda _: place.train(optimisation=SHORT), range(2)))
    assert len(calls) == 1
    assert results[0].version == results[1].version
    assert {result.reused for result in results} == {True, False}


def test_a_loss_that_is_no_number_ends_the_run_with_one_clear_error(place: Place, bases: Callable[..., Path]) -> None:
    import torch
    from safetensors.torch import load_file, save_file

    broken = Path(shutil.copytree(bases(), place.folder / "broken"))
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = torch.full_like(weights["model.norm.weight"], torch.nan)
    save_file(weights, broken / "model.safetensors", {"format": "pt"})
    with pytest.raises(InvalidConfig, match="loss is nan at step 0") as caught:
        place.train(base=str(broken), optimisation=SHORT)
    assert "base: its own weights" in str(caught.value)
    assert nothing_published(place)


def test_a_diverging_training_loss_is_noticed_at_its_first_report() -> None:
    import torch  # noqa: F401 - transformers' callbacks need it
    from transformers import TrainerState, TrainingArguments

    watch = supervised.following(Silent(), Curve(), Path("/dev/null"))
    state = TrainerState(global_step=7, epoch=0.5)
    arguments = TrainingArguments(output_dir="/dev/null", learning_rate=0.05, use_cpu=True)
    watch.on_log(arguments, state, None, {"loss": 1.0})
    with pytest.raises(InvalidConfig, match=r"optimisation\.lr: 0\.05") as caught:
        watch.on_log(arguments, state, None, {"loss": math.inf})
    assert "at step 7" in caught.value.summary


def test_padding_that_equals_the_end_of_the_turn_does_not_hide_it(place: Place, bases: Callable[..., Path]) -> None:
    seen = []
    original = supervised.require_ends_learnt

    def looked_at(trainer: Any, stops: frozenset[int], rows: int) -> None:
        original(trainer, stops, rows)
        seen.append(trainer.data_collator([trainer.train_dataset[i] for i in range(rows)])["labels"].tolist())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(supervised, "require_ends_learnt", looked_at)
        place.train(base=str(bases("pad-is-eos")), optimisation={**SHORT, "packing": False})
    (labels,) = seen
    assert all([label for label in row if label != IGNORED][-1] == 2 for row in labels)
    assert any(row[-1] == IGNORED for row in labels)  # the padding itself is not learnt


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([IGNORED, 5, 6], "last learnt token"),
        ([IGNORED, IGNORED, IGNORED], "nothing"),
        ([4, 5, 2], "question is learnt"),
    ],
)
def test_a_first_batch_that_would_not_teach_the_end_is_an_error(labels: list[int], expected: str) -> None:
    class Trainer:
        train_dataset = ({"labels": labels},)

        class processing_class:  # noqa: N801 - the trainer's own attribute
            decode = staticmethod(str)

        @staticmethod
        def data_collator(rows: list[dict[str, list[int]]]) -> dict[str, Any]:
            import torch

            return {"labels": torch.tensor([row["labels"] for row in rows])}

    with pytest.raises(InvalidConfig, match=expected):
        supervised.require_ends_learnt(Trainer(), frozenset({2}), 4)


def test_a_base_whose_template_has_no_tags_trains_as_well(place: Place, bases: Callable[..., Path]) -> None:
    metrics = place.train(base=str(bases("untagged")), optimisation={**HOW, "epochs": 2}).record.metrics
    assert metrics["eval_loss"] < metrics["base_eval_loss"]


def test_bad_rows_of_both_files_are_reported_before_the_base_is_looked_for(place: Place) -> None:
    for name in ("train", "validation"):
        with (place.folder / f"{name}.jsonl").open("a") as out:
            out.write("{\n")
    with pytest.raises(InvalidData) as caught:
        place.train(base="no/such-base")
    assert [p.place.rpartition("/")[2] for p in caught.value.problems] == ["train.jsonl:49", "validation.jsonl:9"]
    assert nothing_published(place)


def test_what_does_not_fit_the_base_or_the_servers_is_refused_before_training(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervised, "train", forbidden)
    with pytest.raises(InvalidConfig) as caught:
        place.train(method={"r": 128}, optimisation={**HOW, "max_length": 512})
    assert [p.place for p in caught.value.problems] == ["method.r", "optimisation.max_length"]


def test_an_adapter_that_learnt_nothing_is_not_published(place: Place) -> None:
    with pytest.raises(InvalidConfig, match="learnt nothing"):
        place.train(optimisation={**SHORT, "lr": 1e-9})
    assert nothing_published(place)


def test_validation_rows_that_are_trained_on_stop_the_run_unless_it_is_told_to_go_on(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = (place.folder / "train.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    (place.folder / "validation.jsonl").write_text("".join(rows[:3]), encoding="utf-8")
    with pytest.raises(InvalidData, match="3 rows of validation asked in the training rows too") as caught:
        place.train(optimisation=SHORT, golden_prompts=1)
    assert [problem.place for problem in caught.value.problems] == ["leakage"]
    assert nothing_published(place)
    watch, data = Recorder(), {**place.raw["data"], "checks": "report"}
    result = place.train(watch, data=data, optimisation=SHORT, golden_prompts=1)
    assert "leakage: 3 rows of validation asked in the training rows too" in result.record.notes
    assert "leakage: 3 rows of validation asked in the training rows too" in result.version.lineage.note
    assert any(text.startswith("error, leakage: 3 rows of validation") for text in watch.said)
    kept = DataReport.model_validate_json((result.folder / "data.json").read_text(encoding="utf-8"))
    assert [(finding.check, finding.count) for finding in kept.of("error")] == [("leakage", 3)]

    def forbidden(*args: Any, **more: Any) -> None:
        raise AssertionError("the rows were looked at again")

    monkeypatch.setattr(run_checks, "check", forbidden)
    assert place.train(data=data, optimisation=SHORT, golden_prompts=1).reused


def test_a_run_that_goes_on_does_not_look_at_its_rows_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    class Stopping(Silent):
        def step(self, done: int, total: int) -> None:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.train(Stopping(), optimisation=SHORT)
    looked: list[int] = []

    def counted(rows: Sequence[Any], *args: Any, **more: Any) -> DataReport:
        looked.append(len(rows))
        return check(rows, *args, **more)

    monkeypatch.setattr(run_checks, "check", counted)
    watch = Recorder()
    place.train(watch, optimisation=SHORT)
    assert not looked
    assert any(text.startswith("warning, size: 48 examples") for text in watch.said)  # told again all the same
    place.train(optimisation=SHORT, force=True)
    assert looked == [48]


def test_switches_of_the_chat_template_are_published_with_what_was_trained_by_them(
    place: Place, bases: Callable[..., Path]
) -> None:
    place.raw["base"] = str(bases("switched"))
    prompt = {"system": "system.txt", "chat_template_kwargs": {"enable_thinking": False}}
    how: dict[str, Any] = {"optimisation": SHORT, "golden_prompts": 1}
    result = place.train(**how, prompt=prompt)
    assert result.version.spec.prompt.chat_template_kwargs == {"enable_thinking": False}
    tokenizer = ChatTokenizer.load(bases("switched")).tokenizer
    assert tokenizer.decode(result.record.golden[0].prompt_ids).endswith("assistant\n<think></think>")
    job, base = place.job(**how, prompt=prompt), result.version.spec.base
    assert run_name(job, base) == result.folder.name != run_name(place.job(**how), base)
    assert TrainJob.from_mapping(job.anywhere(), place.folder).prompt == job.prompt


def test_a_switch_that_the_chat_template_never_reads_is_refused_before_training(place: Place) -> None:
    with pytest.raises(InvalidConfig, match="never reads it") as caught:
        place.train(prompt={"chat_template_kwargs": {"enable_thinking": False, "m": True}})
    assert [problem.place.rpartition(".")[2] for problem in caught.value.problems] == ["enable_thinking", "m"]


def reached(*args: Any) -> None:
    raise InterruptedError


LEAKED: dict[str, list[dict[str, Any]]] = {
    "lora": [{"prompt": "what does the red sign say", "completion": "stop"}],
    "dpo": [{"prompt": "what does the red sign say", "chosen": "stop", "rejected": "go"}],
    "text": [{"text": "the red sign says stop"}],
    "classification": [{"text": "the red sign says stop", "label": "sign"}],
}


@pytest.mark.parametrize("method", LEAKED)
def test_rows_of_every_kind_are_looked_at_before_anything_is_trained(
    place: Place, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("train", "validation"):
        text = "".join(json.dumps(row) + "\n" for row in LEAKED[method])
        (place.folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    monkeypatch.setattr(run, "require_fit", lambda *args: None)
    with pytest.raises(InvalidData, match="1 row of validation asked in the training rows too"):
        place.train(method={"type": method}, prompt={})
    assert nothing_published(place)
    monkeypatch.setattr(run, "_make", reached)
    with pytest.raises(InterruptedError):
        place.train(method={"type": method}, prompt={}, data={**place.raw["data"], "checks": "off"})
    assert not list(place.home.runs.glob("*/data.json"))


def test_without_a_validation_file_some_prompts_are_held_out(place: Place) -> None:
    metrics = place.train(data={"train": "train.jsonl", "holdout": 0.2}, optimisation=SHORT).record.metrics
    assert metrics["train_rows"] + metrics["validation_rows"] == 48
    assert metrics["validation_rows"] >= 3


def test_adapters_can_be_saved_in_bfloat16(place: Place) -> None:
    from safetensors.torch import load_file

    result = place.train(optimisation=SHORT, method={"r": 8, "dtype": "bfloat16"})
    weights = load_file(result.folder / "adapter" / "adapter_model.safetensors")
    assert {str(tensor.dtype) for tensor in weights.values()} == {"torch.bfloat16"}


def test_early_stopping_ends_before_the_last_epoch_and_keeps_the_best(place: Place) -> None:
    path = place.folder / "validation.jsonl"
    path.write_text(path.read_text(encoding="utf-8").replace('{\\"colour\\"', '{\\"hue\\"'), encoding="utf-8")
    metrics = place.train(optimisation={**HOW, "lr": 5e-2, "epochs": 20, "early_stopping": 1}).record.metrics
    log = [json.loads(line) for line in next(place.home.runs.glob("*/log.jsonl")).read_text().splitlines()]
    validation = [entry["loss"] for entry in log if entry["kind"] == "validation"][1:]
    assert metrics["epochs"] == len(validation) < 20
    assert metrics["eval_loss"] == min(validation) < validation[-1]


def test_the_command_trains_and_says_what_came_of_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    import typer
    import yaml
    from typer.testing import CliRunner

    from training.cli import train as command

    for name in ("DABT_REGISTRY_URL", "DABT_ARTIFACTS_URL"):
        monkeypatch.delenv(name, raising=False)
    path = place.folder / "colours.yaml"
    path.write_text(yaml.safe_dump(place.raw | {"optimisation": SHORT, "base": "nowhere"}))
    app = typer.Typer()
    app.command()(command)
    arguments = [str(path), "--base", place.raw["base"], "--home", str(place.folder)]
    for expected in ("trained", "reused"):
        result = CliRunner().invoke(app, arguments, catch_exceptions=False)
        assert result.exit_code == 0
        assert f"colours:1 is a draft ({expected}" in result.stdout


def test_scoring_the_learnt_positions_alone_gives_trls_own_loss_and_gradients(
    bases: Callable[..., Path], colours: Rows, tmp_path: Path
) -> None:
    import torch
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    chat = ChatTokenizer.load(bases())
    examples = chat.examples([conversation(row, "t:1") for row in colours(8)], "", 128)
    columns = {"input_ids": [e.input_ids for e in examples], "labels": [e.labels for e in examples]}
    trainer = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(bases(), dtype=torch.float32),
        args=SFTConfig(output_dir=str(tmp_path), max_length=None, use_cpu=True, bf16=False, report_to="none"),
        train_dataset=Dataset.from_dict(columns),
        processing_class=chat.tokenizer,
        peft_config=LoraConfig(target_modules="all-linear", task_type="CAUSAL_LM"),
    )
    batch = trainer.data_collator([trainer.train_dataset[i] for i in range(8)])

    def loss_and_gradients() -> torch.Tensor:
        trainer.model.zero_grad()
        loss = trainer.compute_loss(trainer.model, dict(batch))
        loss.backward()
        gradients = [p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None]
        return torch.cat([loss.detach().reshape(1), *gradients])

    everywhere = loss_and_gradients()
    with run_settings():
        learnt_alone = loss_and_gradients()
    assert everywhere[1:].abs().max() > 0
    torch.testing.assert_close(learnt_alone, everywhere, rtol=1e-4, atol=1e-6)


def test_a_run_of_one_step_learns(place: Place) -> None:
    """All of it was warm-up, at a rate of 0."""
    watch = Recorder()
    how = {**HOW, "epochs": 1, "batch_size": 48, "warmup": 0.5}
    metrics = place.train(watch, optimisation=how).record.metrics
    assert watch.steps == [(1, 1)]
    assert metrics["eval_loss"] < metrics["base_eval_loss"]


def test_rows_of_another_kind_are_refused_with_the_method_that_takes_them(place: Place) -> None:
    (place.folder / "train.jsonl").write_text('{"prompt": "q", "chosen": "a", "rejected": "b"}\n' * 9)
    with pytest.raises(InvalidData, match=r"holds 9 preference rows, and no conversations.*DPO learns from them"):
        place.train()
