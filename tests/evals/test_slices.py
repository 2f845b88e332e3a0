"""Every item lies in slices by its language, length and label, and by whatever field its task names."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.config import EvalConfig
from evals.sample import Sample
from evals.slices import language_of, length_of, with_slices
from evals.tasks.loading import load_suite
from lifecycle.errors import InvalidData


def sample(question: str, target: str = "", **slices: str) -> Sample:
    return Sample(
        key=question, id=question, messages=({"role": "user", "content": question},), target=target, slices=slices
    )


def config(tmp_path: Path, *rows: dict[str, Any], task: str = "", **more: Any) -> EvalConfig:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows) + "\n", encoding="utf-8")
    if task:
        (tmp_path / "task.yaml").write_text(f"data: rows.jsonl\n{task}\n")
        more |= {"task": str(tmp_path / "task.yaml")}
    return EvalConfig.model_validate(
        {"name": "toy", "arms": {"base": {}, "other": {}}, "provisional": ["a test"], "data": str(path), **more}
    )


def slices(plan: EvalConfig, tmp_path: Path) -> list[dict[str, str]]:
    return [dict(sample.slices) for sample in load_suite(plan, tmp_path / "cache").samples]


@pytest.mark.parametrize(
    ("question", "language"),
    [("عندي ألم", "ar"), ("I hurt", "latin"), ("У меня болит", "cyrillic"), ("عندي ألم pain", "mixed"), ("4?", "none")],
)
def test_a_language_is_what_reports_on_data_call_it_and_arabic_is_ar(question: str, language: str) -> None:
    assert language_of(question) == language


@pytest.mark.parametrize(
    ("characters", "name"),
    [
        (0, "short"),
        (100, "short"),
        (101, "medium"),
        (500, "medium"),
        (501, "long"),
        (2000, "long"),
        (2001, "very long"),
    ],
)
def test_the_bounds_of_lengths_are_fixed(characters: int, name: str) -> None:
    assert length_of("a" * characters) == name


def test_rows_have_language_length_label_and_the_fields_that_the_task_names(tmp_path: Path) -> None:
    rows = [
        {"text": "خدمة ممتازة", "label": "good", "meta": {"department": "er", "urgent": True}},
        {"text": "slow " * 30, "label": "bad", "meta": {"department": "lab", "urgent": False}},
    ]
    plan = config(tmp_path, *rows, task="slices: [department, urgent]")
    assert slices(plan, tmp_path) == [
        {"language": "ar", "length": "short", "label": "good", "department": "er", "urgent": "true"},
        {"language": "latin", "length": "medium", "label": "bad", "department": "lab", "urgent": "false"},
    ]
    alone = config(tmp_path, *rows, slices=["department"])
    assert [set(own) for own in slices(alone, tmp_path)] == [{"language", "length", "label", "department"}] * 2


def test_texts_that_are_no_labels_have_none(tmp_path: Path) -> None:
    rows = [{"prompt": "q", "completion": "in the red house"}, {"prompt": "q", "completion": "by bus"}]
    assert slices(config(tmp_path, *rows), tmp_path) == [{"language": "latin", "length": "short"}] * 2


def test_an_item_that_says_its_language_is_believed(tmp_path: Path) -> None:
    rows = [{"prompt": text, "completion": "x y z w", "meta": {"language": "fr"}} for text in ("Bonjour", "salut")]
    assert [own["language"] for own in slices(config(tmp_path, *rows, slices=["language"]), tmp_path)] == ["fr", "fr"]
    assert [own["language"] for own in slices(config(tmp_path, *rows), tmp_path)] == ["latin", "latin"]


def test_a_language_that_no_row_says_is_worked_out_and_one_that_some_say_is_told(tmp_path: Path) -> None:
    rows = [{"prompt": "hi", "completion": "a"}, {"prompt": "ho", "completion": "b"}]
    assert slices(config(tmp_path, *rows, slices=["language"]), tmp_path)[0]["language"] == "latin"
    with pytest.raises(InvalidData, match="it has no 'language', and other items have"):
        with_slices([sample("a", language="en"), sample("b")], labels=False)


def test_a_row_without_a_field_that_the_task_names_is_told(tmp_path: Path) -> None:
    plan = config(tmp_path, {"prompt": "hi", "completion": "a"}, slices=["department"])
    with pytest.raises(InvalidData, match="department"):
        load_suite(plan, tmp_path / "cache")


def test_slices_are_in_no_digest_of_the_suite(tmp_path: Path) -> None:
    rows = [{"prompt": "hi", "completion": "a b c d", "meta": {"who": "x"}}]
    plain, parted = (load_suite(config(tmp_path, *rows, **more), tmp_path) for more in ({}, {"slices": ["who"]}))
    assert (plain.digest, plain.data_digest) == (parted.digest, parted.data_digest)


def test_items_of_lm_evals_tasks_lie_in_slices_too(workplace: Path, trained: str, home) -> None:
    plan = EvalConfig.load(workplace / "toy.yaml", slices=("emergency",))
    first, second = (dict(item.slices) for item in load_suite(plan, home.cache).samples[:2])
    assert first == {"language": "ar", "length": "short", "emergency": "true"}
    assert second == {"language": "latin", "length": "short", "emergency": "false"}
    with pytest.raises(InvalidData, match="department"):
        load_suite(EvalConfig.load(workplace / "toy.yaml", slices=("department",)), home.cache)
