"""A classifier as an arm: asked over the same items through /v1/classify, and judged and opened like any version."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from evals.chat_rows import documents
from evals.config import EvalConfig
from evals.gate.suites import make_gate
from evals.run import evaluate
from lifecycle.errors import InvalidConfig, InvalidData, NotAllowed
from lifecycle.manifests import ClassifierManifest
from lifecycle.version import Lineage, Version, VersionSpec, digest_of

N_ITEMS = 60
TASK = """
task: mood
custom_dataset: !function evals.chat_rows.dataset
dataset_kwargs: {data: mood.jsonl}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: target
generation_kwargs: {until: [], max_gen_toks: 8}
metric_list:
  - {metric: label, labels: [good, bad]}
"""
CONFIG = """
name: mood
task: mood
task_files: tasks
base: BASE
metric: accuracy
policy: policy.yaml
concurrency: 4
noise_items: 8
arms:
  base: {prompt: {system: system.txt}}
  classifier: {version: "mood:newest"}
"""


def label(text: str) -> str:
    return ("good", "bad")[int(text.rsplit(" ", 1)[1]) % 2]


def classifier(registry: Any, name: str = "mood") -> Version:
    """A version as training publishes it, over an encoder that no service runs."""
    encoder, digest = digest_of("encoder"), digest_of("classifier")
    registry.add_artifact(
        ClassifierManifest(
            digest=digest,
            base=encoder,
            base_name="encoder",
            parameters=1,
            bytes=1,
            metrics={"train_rows": 1200.0},
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
            labels=("bad", "good"),
            architecture="BertForSequenceClassification",
        )
    )
    spec = VersionSpec(base=encoder, classifier=digest)
    return registry.create_version(name, spec, actor="test", lineage=Lineage(source="training"))


@pytest.fixture
def moods(workplace: Path, base_model: Path) -> Path:
    rows = [json.dumps({"text": f"the film {number}", "label": label(f"x {number}")}) for number in range(N_ITEMS)]
    (workplace / "tasks" / "mood.jsonl").write_text("\n".join(rows) + "\n")
    (workplace / "tasks" / "mood.yaml").write_text(TASK)
    (workplace / "policy.yaml").write_text("name: better\nrules:\n  - {rule: beats, arm: base}\n")
    (workplace / "mood.yaml").write_text(CONFIG.replace("BASE", str(base_model)))
    return workplace


def test_it_answers_the_same_items_and_is_gated_and_promoted_like_any_version(
    moods: Path, registry: Any, home: Any, models: Any
) -> None:
    version = classifier(registry)
    models.speaks |= {"base": lambda text: "good", "classifier": label}
    gate = make_gate("mood", moods / "policy.yaml", [moods / "mood.yaml"], registry, home.cache)
    registry.set_gate(gate, actor="test", reason="what readers need")
    evaluation = evaluate(EvalConfig.load(moods / "mood.yaml"), registry, home, transport=models.transport)
    base, arm = evaluation.report.arms
    assert (arm.metrics["accuracy"].value, base.metrics["accuracy"].value) == (1.0, 0.5)
    assert (arm.metrics["macro_f1"].value, base.metrics["macro_f1"].value) == (1.0, pytest.approx(1 / 3))
    assert (arm.errors, arm.completion_tokens, arm.prompt_tokens, arm.latency_p95 > 0) == (0, 0, 3, True)
    assert (evaluation.report.n_train, evaluation.report.base) == (1200, "tiny-base")
    assert evaluation.report.noise_floor == 0.0
    (comparison,) = evaluation.report.comparisons
    assert (comparison.wins, comparison.losses) == (N_ITEMS // 2, 0)
    assert [(verdict.ref, verdict.passed) for verdict in evaluation.verdicts] == [(version.ref, True)]
    assert evaluation.recommended == version.ref
    assert registry.promote(version.ref, actor="test", reason="it is better").numbers == {version.number}


def test_what_it_is_sent_is_the_text_alone(moods: Path, registry: Any, home: Any, models: Any) -> None:
    version = classifier(registry)
    models.speaks |= {"base": label, "classifier": label}
    evaluate(EvalConfig.load(moods / "mood.yaml", limit=2), registry, home, transport=models.transport)
    sent = [body for body in models.bodies if body["model"] == version.ref]
    assert [body.keys() for body in sent] == [{"model", "input"}] * 2


def test_an_item_with_turns_before_its_question_is_refused_and_not_asked_in_part(
    moods: Path, registry: Any, home: Any, models: Any
) -> None:
    classifier(registry)
    turns = [("user", "hi 1"), ("assistant", "hello"), ("user", "the film 2"), ("assistant", "good")]
    row = {"messages": [{"role": role, "content": text} for role, text in turns]}
    (moods / "tasks" / "mood.jsonl").write_text(json.dumps(row) + "\n")
    models.speaks |= {"base": label, "classifier": label}
    with pytest.raises(NotAllowed, match="has turns before its question"):
        evaluate(EvalConfig.load(moods / "mood.yaml"), registry, home, transport=models.transport)


def test_classifiers_alone_need_no_base(moods: Path, registry: Any, home: Any, models: Any) -> None:
    first, other = classifier(registry), digest_of("another")
    manifest = registry.artifact(str(first.spec.classifier)).model_copy(update={"digest": other})
    registry.add_artifact(manifest)
    second = registry.create_version("mood", first.spec.model_copy(update={"classifier": other}), actor="test")
    text = CONFIG.replace("base: BASE\n", "").partition("arms:")[0]
    arms = f'arms:\n  base: {{version: "{first.ref}"}}\n  next: {{version: "{second.ref}"}}\n'
    (moods / "two.yaml").write_text(text + arms)
    models.speaks["classifier"] = label
    evaluation = evaluate(EvalConfig.load(moods / "two.yaml"), registry, home, transport=models.transport)
    assert [arm.ref for arm in evaluation.report.arms] == [first.ref, second.ref]
    assert evaluation.report.base == "encoder"


def test_a_classifier_is_no_adapter_for_a_recipe(moods: Path, registry: Any, home: Any, models: Any) -> None:
    classifier(registry)
    text = (moods / "mood.yaml").read_text().replace('version: "mood:newest"', 'adapter: "mood:newest"')
    (moods / "wrong.yaml").write_text(text)
    with pytest.raises(InvalidConfig, match="has no adapter"):
        evaluate(EvalConfig.load(moods / "wrong.yaml"), registry, home, transport=models.transport)


def test_texts_with_labels_are_items_whose_target_is_the_label(tmp_path: Path) -> None:
    file = tmp_path / "mood.csv"
    file.write_text("id,text,label\na,great film,good\nb,فيلم سيئ,سلبي\n", encoding="utf-8")
    assert [(one["id"], one["question"], one["target"], one["messages_before"]) for one in documents(file)] == [
        ("a", "great film", "good", "[]"),
        ("b", "فيلم سيئ", "سلبي", "[]"),
    ]


def test_rows_that_are_no_items_are_refused_as_before(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    file.write_text('{"text": "only a text"}\n')
    with pytest.raises(InvalidData, match="no conversations or texts with labels"):
        documents(file)
