"""Rows of a question with its choices: every way to name the right one, and none that can mean two."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.run import evaluate
from evals.solvers.chat import Chat
from evals.tasks.choice_rows import conversation
from evals.tasks.loading import load_suite
from lifecycle.errors import InvalidData
from lifecycle.rows.faults import Unreadable

QUICK = Endpoint(url="http://models.test/v1", retries=0, patience=0.0)
ARC = {"text": ["red", "blue"], "label": ["1", "2"]}


def row(answer: Any, choices: Any = ("red", "blue", "green"), key: str = "answer") -> dict[str, Any]:
    given = list(choices) if isinstance(choices, tuple) else choices
    return {"question": "Which?", "choices": given, key: answer}


@pytest.mark.parametrize(
    ("given", "right"),
    [
        (row(1), "blue"),
        (row("blue"), "blue"),
        (row("B"), "blue"),
        (row("(c)"), "green"),
        (row("ب"), "blue"),
        (row("ا"), "red"),
        (row(0, ("B", "A")), "B"),
        (row("B", ("B", "A")), "B"),  # a text before a letter
        (row(1, ("7", "1")), "1"),  # by both
        (row("2", ARC, "answerKey"), "blue"),
        ({"question_stem": "Which?", "choices": ARC, "answerKey": "1"}, "red"),
        (row("هـ", ("a", "b", "c", "d", "e")), "e"),
    ],
)
def test_the_right_choice_is_named_by_place_text_letter_or_label(given: dict[str, Any], right: str) -> None:
    turns = conversation(given)["messages"]
    assert [turn["content"] for turn in turns] == ["Which?", right]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        (row(3), "3 is none of the choices"),
        (row(-1), "-1 is none"),
        (row(True), "True is none"),
        (row(None), "None is none"),
        (row("D"), "'D' is none"),
        (row("purple"), "'purple' is none"),
        (row(2, ("1", "2", "3")), "2 is both"),
        (row(0, "red"), "no list of texts"),
        (row(0, ("red", 5)), "no list of texts"),
        (row(0, ()), "no list of texts"),
        (row(10**400), "is none of the choices"),
        ({"question": " ", "choices": ["a", "b"], "answer": 0}, "the question is no text"),
        ({"question": "?", "choices": ["a", "b"], "answer": 0, "meta": 5}, "meta is no object"),
        ({"prompt": "?", "completion": "a"}, "has no question with choices"),
        ([], "has no question with choices"),
    ],
)
def test_what_is_no_such_row_is_told(given: Any, says: str) -> None:
    with pytest.raises(Unreadable) as error:
        conversation(given)
    assert says in str(error.value)


def test_a_file_of_them_compares_arms_by_likelihood_with_its_subjects_as_slices(
    tmp_path: Path, trained: str, registry, home, models
) -> None:
    path = tmp_path / "capitals.jsonl"
    rows = [{"question": f"سؤال {n}؟", "choices": ["نعم", "لا"], "answer": n % 2, "subject": ("a", "b")[n < 8], "id": n}
            for n in range(20)]  # fmt: skip
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows), encoding="utf-8")
    models.likes = lambda kind, question, text: -1.0 if (text == "نعم") == (kind == "base" or "0" in question) else -2.0
    config = EvalConfig.of_rows(str(path), "base,toy:1").model_copy(update={"slices": ("subject",)})
    report = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK).report
    assert (report.metric, report.n_items) == ("acc", 20)
    assert report.arms[0].metrics["acc"].value == 0.5
    assert report.slice({"subject": "b"}).n == 8
    assert models.bodies[0]["continuations"] == ["نعم", "لا"]


def test_bad_rows_are_told_by_line_and_a_task_file_may_ask_for_a_written_answer(workplace: Path, home) -> None:
    path = workplace / "mixed.jsonl"
    path.write_text("\n".join(map(json.dumps, [row(0), row(9), {"text": "x", "label": "y"}, row("red")])))
    with pytest.raises(InvalidData) as error:
        load_suite(EvalConfig.of_rows(str(path), "base,toy:1"), home.cache)
    assert [problem.place.rpartition(":")[2] for problem in error.value.problems] == ["2", "3"]
    path.write_text("\n".join(json.dumps({**row(n % 3), "question": f"{n}?"}) for n in range(6)))
    (workplace / "short.yaml").write_text("data: mixed.jsonl\nsolver: chat\nscorers: [contains]\n")
    arms = "arms:\n  base: {}\n  adapter: {version: 'toy:1'}\n"
    (workplace / "own.yaml").write_text(f"name: toy\npolicy: policy.yaml\ntask: short.yaml\n{arms}")
    suite = load_suite(EvalConfig.load(workplace / "own.yaml"), home.cache)
    assert isinstance(suite.solver, Chat)
    assert suite.metric == "contains"
