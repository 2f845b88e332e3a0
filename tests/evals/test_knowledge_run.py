"""Versions with knowledge, scored and asked in a whole evaluation: what stood before them is kept with the answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from lifecycle.errors import InvalidData

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
TASK = """
data: rows.jsonl
scorers: [normalised, citations, abstention, faithfulness, {type: missed, answer: normalised}]
metric: normalised
"""
ORACLE = """
solver: {type: oracle, documents: handbook.md, template: "Read:\\n{passages}\\nAsked: {question}"}
"""
DOCUMENT = "## h07\nThe pharmacy opens at 8:30.\n\n## h08\nThe dentist is Rima.\n"


@pytest.fixture
def asked(workplace: Path, base_model: Path) -> Path:
    """Two questions with a right passage, which the fake service finds for one of them, and one with none."""
    gold = (["h07"], ["h08"], [])
    rows = [
        {"prompt": f"question {at}", "completion": "8:30", "meta": {"passages": names}} for at, names in enumerate(gold)
    ]
    (workplace / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    (workplace / "handbook.md").write_text(DOCUMENT, encoding="utf-8")
    (workplace / "facts.yaml").write_text(TASK)
    (workplace / "oracle.yaml").write_text(TASK + ORACLE)
    for name in ("facts", "oracle"):
        (workplace / f"{name}-eval.yaml").write_text(
            f"{{name: facts, task: {name}.yaml, base: {base_model}, policy: policy.yaml, noise_items: 0,\n"
            "arms: {base: {}, rag: {knowledge: {index: handbook}}}}\n"
        )
    return workplace


def test_faults_are_told_apart_for_versions_that_retrieve_and_for_no_others(asked, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: "9:15", "rag": lambda _: "9:15 [h07]"}
    config = EvalConfig.load(asked / "facts-eval.yaml")
    report = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).report
    rag = next(arm for arm in report.arms if arm.arm == "rag")
    means = {name: figure.value for name, figure in rag.metrics.items()}
    assert (means["retriever_missed"], means["model_missed"]) == (0.5, 0.5)
    assert (means["citation_precision"], means["citation_given"]) == (0.5, 1.0)
    assert (means["abstains"], means["answers"]) == (0.0, 1.0)
    assert rag.tables["where answers go wrong"]["passage there"] == {"wrong": 1}


def test_the_oracle_gives_the_right_passages_to_versions_without_knowledge_alone(asked, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: "8:30", "rag": lambda _: "9:15"}
    config = EvalConfig.load(asked / "oracle-eval.yaml")
    made = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    sent = {body["messages"][-1]["content"] for body in models.bodies}
    assert {
        "Read:\n[h07] The pharmacy opens at 8:30.\nAsked: question 0",
        "Read:\n[h08] The dentist is Rima.\nAsked: question 1",
        "Read:\n(none)\nAsked: question 2",
        "question 0",
    } <= sent
    assert "the right passages were given" in made.report.provisional[0]
    assert not any(verdict.decides for verdict in made.verdicts)


def test_an_oracle_is_another_suite_and_its_documents_count_by_what_they_say(asked, registry, home, models) -> None:
    from evals.tasks.loading import load_suite

    plain, oracle = (EvalConfig.load(asked / f"{name}-eval.yaml") for name in ("facts", "oracle"))
    before = load_suite(oracle, home.cache).digest
    assert before != load_suite(plain, home.cache).digest
    (asked / "handbook.md").rename(asked / "moved.md")
    text = (asked / "oracle.yaml").read_text()
    (asked / "oracle.yaml").write_text(text.replace("handbook.md", "moved.md"))
    assert load_suite(oracle, home.cache).digest == before
    (asked / "moved.md").write_text(DOCUMENT.replace("8:30", "9:15"), encoding="utf-8")
    assert load_suite(oracle, home.cache).digest != before


def test_a_label_without_a_passage_is_told_before_anything_is_asked(asked, registry, home, models) -> None:
    (asked / "handbook.md").write_text("## h07\nThe pharmacy opens at 8:30.\n", encoding="utf-8")
    config = EvalConfig.load(asked / "oracle-eval.yaml")
    with pytest.raises(InvalidData, match="no passage h08"):
        evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    assert not models.bodies


def test_answers_kept_without_the_words_of_their_passages_are_asked_again(asked, registry, home, models) -> None:
    models.speaks |= {"base": lambda _: "8:30", "rag": lambda _: "8:30"}
    config = EvalConfig.load(asked / "facts-eval.yaml")
    evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    (first, *_) = files = sorted((home.cache / "answers").glob("*.jsonl"))
    lines = [json.loads(line) for line in first.read_text("utf-8").splitlines()]
    first.write_text("".join(json.dumps({**line, "texts": []}) + "\n" for line in lines), encoding="utf-8")
    before = sum(models.asked.values())
    evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    assert (len(files), sum(models.asked.values()) - before) == (2, 3)
