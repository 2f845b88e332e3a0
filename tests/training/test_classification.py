"""Sequence classification: learnt with all weights or with LoRA, saved with its head, and cut nowhere in silence."""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig, InvalidData
from lifecycle.home import Home
from lifecycle.manifests import ClassifierManifest
from lifecycle.models.base import fingerprint
from lifecycle.models.whole_models import preflight_classifier
from lifecycle.publishing import Shelf
from lifecycle.rows.kinds import Labelled
from lifecycle.store.artifacts import ArtifactStore, digest_of_folder
from lifecycle.version import Prompt
from tests.training.tiny_bert import make_encoder, sentences
from training.config import TrainJob
from training.label_scores import label_scores
from training.method import Task
from training.methods import read_method
from training.optimisation import OptimisationSettings
from training.progress import Silent
from training.recipes.classification import Classification, LabelledExample, golden_texts, label_order
from training.run import train as run_training
from training.settings import run_settings

pytestmark = pytest.mark.timeout(300)

NO_PROMPT = Prompt()


def labelled(rows: list[dict[str, Any]]) -> list[Labelled]:
    return [Labelled(f"rows.jsonl:{at}", row["id"], row["text"], row["label"]) for at, row in enumerate(rows, 1)]


@pytest.fixture(scope="session")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_encoder(tmp_path_factory.mktemp("encoders") / "tiny-bert")


def task(encoder: Path, folder: Path, **how: Any) -> Task:
    settings = {"lr": 5e-3, "epochs": 4, "batch_size": 8, "max_length": 16, **how}
    folder.mkdir(parents=True, exist_ok=True)
    optimisation = OptimisationSettings.model_validate(settings)
    return Task("mood", encoder, fingerprint(encoder), NO_PROMPT, optimisation, folder, Silent())


def train(method: Classification, at: Task, rows: list[dict[str, Any]], validation: list[dict[str, Any]]) -> Any:
    with run_settings():
        return method.train(at, method.examples(at, labelled(rows)), method.examples(at, labelled(validation)))


@pytest.fixture(scope="session", params=["whole", "lora"])
def trained(request: Any, encoder: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """By all weights and by LoRA, on the same rows."""
    method = Classification.model_validate({"lora": {"r": 8, "alpha": 16} if request.param == "lora" else None})
    how = {"epochs": 4} if request.param == "whole" else {"epochs": 12, "lr": 2e-3}
    at = task(encoder, tmp_path_factory.mktemp(request.param), **how)
    return method, at, train(method, at, sentences(96), sentences(32, 1000))


def test_it_learns_what_tells_the_labels_apart(trained: Any) -> None:
    _, _, left = trained
    assert left.metrics["eval_macro_f1"] > 0.95
    assert left.metrics["eval_loss"] < 0.5 * left.metrics["base_eval_loss"]
    assert left.metrics["eval_f1[good]"] > 0.9
    assert (left.metrics["train_rows"], left.metrics["validation_rows"], left.metrics["labels"]) == (96, 32, 2)


def test_the_folder_is_a_whole_classifier_that_preflight_lets_through(trained: Any, encoder: Path) -> None:
    _, _, left = trained
    assert left.folder.name == "classifier"
    facts = preflight_classifier(left.folder, encoder)
    assert (facts.labels, facts.architecture) == (("bad", "good"), "BertForSequenceClassification")
    names = {path.name for path in left.folder.iterdir()}
    assert names >= {
        "config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
        "dabt_manifest.json",
    }
    assert not {name for name in names if name.startswith("adapter") or name.endswith((".bin", ".pt"))}
    assert str(encoder) not in (left.folder / "config.json").read_text()


def test_the_head_and_all_else_that_was_drawn_by_chance_is_in_the_folder_as_it_was_trained(trained: Any) -> None:
    """A head that PEFT leaves out is drawn anew at every load, and answers by chance (peft#310)."""
    from transformers import AutoModelForSequenceClassification

    method, at, left = trained
    _, told = AutoModelForSequenceClassification.from_pretrained(left.folder, output_loading_info=True)
    assert not told["missing_keys"]
    assert not told["unexpected_keys"]
    rows = method.examples(at, labelled(sentences(32, 2000)))
    said = golden_texts(left.folder, rows)
    right = [("bad", "good")[one.logits[1] > one.logits[0]] == row.label for one, row in zip(said, rows, strict=True)]
    assert sum(right) >= 31
    assert said == golden_texts(left.folder, rows)


def test_the_service_computes_what_the_trainer_recorded(trained: Any) -> None:
    from service.classification.classifier import Classifier

    method, at, left = trained
    served = Classifier.load(left.folder)
    texts = [row["text"] for row in sentences(5, 3000)]
    recorded = golden_texts(left.folder, method.examples(at, labelled(sentences(5, 3000))))
    together = served.logits(served.tokens(texts))
    for one, logits in zip(recorded, together, strict=True):
        assert logits == pytest.approx(one.logits, abs=1e-4)
    assert (served.labels, served.limit, served.truncates, served.exclusive) == (("bad", "good"), 16, False, True)


def test_the_same_run_leaves_the_same_bytes_and_another_order_of_rows_the_same_labels(
    encoder: Path, tmp_path: Path
) -> None:
    rows = sentences(16)
    left = [train(Classification(), task(encoder, tmp_path / name, epochs=1), rows, sentences(8, 500)) for name in "ab"]
    assert digest_of_folder(left[0].folder) == digest_of_folder(left[1].folder)
    random.Random(1).shuffle(rows)
    examples = Classification().examples(task(encoder, tmp_path / "c"), labelled(rows))
    assert label_order(examples, []) == ("bad", "good")


@pytest.mark.parametrize(
    ("labels", "order"),
    [
        (["10", "9", "-1"], ("-1", "9", "10")),
        (["b", "a", "10"], ("10", "a", "b")),
        (["سلبي", "إيجابي"], ("إيجابي", "سلبي")),
    ],
)
def test_labels_stand_by_size_where_they_are_numbers_and_by_spelling_else(
    labels: list[str], order: tuple[str, ...]
) -> None:
    examples = [LabelledExample("x", "t", label, [1]) for label in labels]
    assert label_order(examples, []) == order
    assert label_order(examples[::-1], []) == order


def test_a_text_over_the_limit_is_an_error_with_its_place_and_every_one_is_named(encoder: Path, tmp_path: Path) -> None:
    rows = labelled(
        [{"id": str(at), "text": "so " * length, "label": "good"} for at, length in enumerate([14, 15, 40])]
    )
    with pytest.raises(InvalidData) as caught:
        Classification().examples(task(encoder, tmp_path), rows)
    assert [problem.place for problem in caught.value.problems] == ["rows.jsonl:2", "rows.jsonl:3"]
    assert "17 tokens, and optimisation.max_length is 16" in caught.value.problems[0].fault
    assert "truncate" in caught.value.problems[0].cure


def test_with_truncate_texts_are_cut_and_the_service_cuts_them_too(encoder: Path, tmp_path: Path) -> None:
    from service.classification.classifier import Classifier

    method, at = Classification(truncate=True), task(encoder, tmp_path, epochs=1)
    long = [{**row, "text": row["text"] + " so" * 40} for row in sentences(16)]
    assert {len(example.input_ids) for example in method.examples(at, labelled(long))} == {16}
    left = train(method, at, long, sentences(8, 500))
    assert Classifier.load(left.folder).truncates
    assert json.loads((left.folder / "tokenizer_config.json").read_text())["model_max_length"] == 16


def test_one_label_and_labels_that_only_validation_has_are_refused_with_their_places(
    encoder: Path, tmp_path: Path
) -> None:
    method, at = Classification(), task(encoder, tmp_path)
    good = [row for row in sentences(8) if row["label"] == "good"]
    with pytest.raises(InvalidData, match="nothing to tell apart"):
        train(method, at, good, good)
    strange = [*sentences(4, 100), {"id": "x", "text": "so so", "label": "mixed"}]
    with pytest.raises(InvalidData, match=r"rows\.jsonl:5: its label is 'mixed'"):
        train(method, at, sentences(8), strange)


def test_balanced_weights_let_a_rare_label_count_as_much_as_a_common_one(encoder: Path, tmp_path: Path) -> None:
    examples = Classification().examples(task(encoder, tmp_path), labelled(sentences(8)))
    rare = [example for example in examples if example.label == "good"][:1]
    mostly_bad = [*rare, *(example for example in examples if example.label == "bad")][:4]
    weights = Classification(class_weights="balanced")._weights(mostly_bad, ("bad", "good"))
    assert weights.tolist() == pytest.approx([4 / (2 * 3), 4 / (2 * 1)])
    twice = Classification(class_weights="balanced")._weights(mostly_bad, ("bad", "good"), [2.0, 1.0, 1.0, 1.0])
    assert twice.tolist() == pytest.approx([5 / (2 * 3), 5 / (2 * 2)])
    given = Classification(class_weights={"good": 3.0, "bad": 0.5})._weights(mostly_bad, ("bad", "good"))
    assert given.tolist() == [0.5, 3.0]
    assert Classification()._weights(mostly_bad, ("bad", "good")) is None


def test_weights_that_do_not_fit_the_labels_are_all_told_at_once() -> None:
    examples = [LabelledExample("x", "t", label, [1]) for label in ("bad", "good")]
    with pytest.raises(InvalidConfig) as caught:
        Classification(class_weights={"god": 1.0, "bad": 0.0})._weights(examples, ("bad", "good"))
    places = [problem.place.removeprefix("method.class_weights.") for problem in caught.value.problems]
    assert places == ["good", "god", "bad"]


def test_what_the_base_cannot_follow_is_told_before_anything_is_read(encoder: Path, tmp_path: Path) -> None:
    how = OptimisationSettings(max_length=33)
    (problem,) = Classification().problems(encoder, NO_PROMPT, how, 16)
    assert (problem.place, "32 tokens" in problem.fault) == ("optimisation.max_length", True)
    fine = OptimisationSettings(max_length=32)
    assert Classification().problems(encoder, NO_PROMPT, fine, 16) == []


def test_a_lora_that_the_base_has_no_modules_for_is_refused_before_training(encoder: Path) -> None:
    fine = OptimisationSettings(max_length=32)

    def problems(*modules: str) -> list[Any]:
        lora = {"r": 3, **({"target_modules": modules} if modules else {})}
        return Classification.model_validate({"lora": lora}).problems(encoder, NO_PROMPT, fine, 16)

    assert problems() == problems("query", "value") == problems("attention.self.key") == []
    (none,) = problems("q_proj")
    (one,) = problems("query", "v_proj")
    assert {none.place, one.place} == {"method.lora.target_modules"}
    assert "PEFT can make no adapter" in none.fault
    assert one.fault == "the base has no v_proj"


def test_a_packed_base_is_refused_before_training(encoder: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(encoder, tmp_path / "packed"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": {"quant_method": "gptq"}}))
    problems = Classification().problems(folder, NO_PROMPT, OptimisationSettings(max_length=16), 16)
    assert [problem.place for problem in problems] == ["base"]
    assert "packed by gptq" in problems[0].fault


def test_a_base_without_a_class_for_it_is_refused(tmp_path: Path, encoder: Path) -> None:
    folder = tmp_path / "vision"
    folder.mkdir()
    for file in encoder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "config.json").write_text(json.dumps({"model_type": "vit"}))
    (problem,) = Classification().problems(folder, NO_PROMPT, OptimisationSettings(max_length=16), 16)
    assert "vit has no class for sequence classification" in problem.fault


def test_it_is_asked_for_by_its_name() -> None:
    method, problems = read_method({"type": "classification", "lora": {"r": 4}, "class_weights": "balanced"})
    assert (isinstance(method, Classification), problems) == (True, [])
    _, problems = read_method({"type": "classification", "rank": 4})
    assert [problem.place for problem in problems] == ["method.rank"]


def test_scores_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    chance = random.Random(4)
    targets = [chance.randrange(3) for _ in range(60)]
    answers = [target if chance.random() < 0.7 else chance.randrange(3) for target in targets]
    found = label_scores(answers, targets, ("a", "b", "c"))
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(targets, answers, labels=[0, 1, 2])
    for place, label in enumerate("abc"):
        assert found[f"precision[{label}]"] == pytest.approx(precision[place])
        assert found[f"recall[{label}]"] == pytest.approx(recall[place])
        assert found[f"f1[{label}]"] == pytest.approx(f1[place])
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(targets, answers))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(targets, answers, average="macro"))


def test_a_run_publishes_a_classifier_that_the_service_loads_by_its_digest_and_verifies(
    encoder: Path, tmp_path: Path
) -> None:
    from service.classification.classifier import Classifier
    from service.classification.golden import verify

    for name, rows in (("train", sentences(48)), ("validation", sentences(16, 1000))):
        (tmp_path / f"{name}.csv").write_text(
            "text,label\n" + "".join(f"{row['text']},{row['label']}\n" for row in rows), encoding="utf-8"
        )
    raw = {
        "name": "mood",
        "base": str(encoder),
        "method": {"type": "classification", "class_weights": "balanced"},
        "data": {"train": "train.csv", "validation": "validation.csv"},
        "optimisation": {"lr": 5e-3, "epochs": 2, "batch_size": 8, "max_length": 16},
        "golden_prompts": 3,
    }
    home = Home.at(tmp_path / "home")
    with Shelf.at(home).registry as registry:
        shelf = Shelf(registry, ArtifactStore(home.artifacts_url, home.cache))
        job = TrainJob.from_mapping(raw, tmp_path)
        result = run_training(job, home, shelf)
        again = run_training(job, home, shelf)
        manifest = registry.artifact(str(result.version.spec.classifier))
    assert (result.version.ref, result.version.spec.kind, result.reused) == ("mood:1", "classifier", False)
    assert (again.reused, again.version) == (True, result.version)
    assert isinstance(manifest, ClassifierManifest)
    assert (manifest.labels, manifest.base_name, len(manifest.golden)) == (("bad", "good"), "tiny-bert", 3)
    assert manifest.metrics["eval_macro_f1"] == result.record.metrics["eval_macro_f1"]
    verify(Classifier.load(shelf.store.get(manifest.digest)), manifest)
    assert {"loss.png", "log.jsonl", "run.json", "classifier"} <= {path.name for path in result.folder.iterdir()}


@pytest.mark.parametrize(("how", "steps"), [({"max_steps": 2}, 2), ({"max_minutes": 1e-9}, 1)])
def test_a_run_ends_after_so_many_steps_or_minutes(
    encoder: Path, tmp_path: Path, how: dict[str, Any], steps: int
) -> None:
    done = train(Classification(), task(encoder, tmp_path, **how), sentences(48), sentences(16, 1000))
    assert done.metrics["steps"] == steps


def test_early_stopping_and_the_best_epoch_go_by_the_figure_that_is_named(encoder: Path, tmp_path: Path) -> None:
    how = {"best_by": "accuracy", "early_stopping": 1, "epochs": 12}
    done = train(Classification(), task(encoder, tmp_path, **how), sentences(48), sentences(16, 1000))
    log = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text(encoding="utf-8").splitlines()]
    figures = [entry["accuracy"] for entry in log if entry["kind"] == "validation"][1:]
    best = max(figures)
    assert done.metrics["eval_accuracy"] == best
    assert done.metrics["epochs"] == figures.index(best) + 2 < 12  # one epoch without a better one
