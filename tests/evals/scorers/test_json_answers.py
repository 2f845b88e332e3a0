"""JSON answers field by field: types, numbers, lists and nesting as a program reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.sample import Sample
from evals.scorers.json_answers import Json, at, leaves
from tests.evals.scorers.test_texts import HOSTILE

TARGET = {"urgent": True, "age": 3, "tags": ["a", "b"], "who": {"name": "سارة", "city": {"zip": "007"}}}


async def test_every_field_has_a_figure_through_all_nesting(scored: Any) -> None:
    answer = {"urgent": True, "age": 3.0, "tags": ["b", "a"], "who": {"name": "سارة", "city": {"zip": 7}}}
    score = await scored("json", json.dumps(answer), TARGET)
    assert score.figures == {
        "valid_json": 1.0, "urgent": 1.0, "age": 1.0, "tags": 0.0, "who.name": 1.0, "who.city.zip": 0.0,
        "fields": 0.0, "fields_mean": pytest.approx(3 / 5),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("want", "got", "settings", "right"),
    [
        (True, 1, {}, False), (True, "true", {}, False), (False, 0, {}, False), (None, None, {}, True),
        (1.5, 1.6, {"tolerance": 0.11}, True), (1.5, 1.7, {"tolerance": 0.11}, False),
        (1, True, {"tolerance": 2}, False),
        ([1, 2, 2], [2, 1, 2], {"unordered": ["x"]}, True), ([1, 2, 2], [1, 1, 2], {"unordered": ["x"]}, False),
        ([1], [1, 1], {"unordered": ["x"]}, False), ([1], "1", {"unordered": ["x"]}, False),
        ([{"a": 1}, 2], [2, {"a": 1.0}], {"unordered": ["x"]}, True), ({}, {}, {}, True), ({}, [], {}, False),
    ],
)  # fmt: skip
async def test_a_value_is_right_as_a_program_reads_it(
    scored: Any, want: Any, got: Any, settings: dict[str, Any], right: bool
) -> None:
    score = await scored("json", json.dumps({"x": got}), {"x": want}, **settings)
    assert score.figures["x"] == float(right)


async def test_a_field_that_is_missing_is_not_null(scored: Any) -> None:
    assert (await scored("json", "{}", {"x": None})).figures["x"] == 0.0


@pytest.mark.parametrize("answer", HOSTILE.values(), ids=HOSTILE)
async def test_what_is_no_json_has_every_field_wrong_and_says_why(scored: Any, answer: str) -> None:
    score = await scored("json", answer, TARGET)
    assert set(score.figures.values()) == {0.0}
    assert score.unscored == {}
    assert score.explanation.startswith("the answer ")


async def test_a_schema_is_held_to(scored: Any, tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"age": {"type": "integer", "minimum": 0}}, "required": ["age"]}
    (tmp_path / "s.json").write_text(json.dumps(schema))
    settings = {"schema": str(tmp_path / "s.json")}
    assert (await scored("json", '{"age": 2}', {"age": 3}, **settings)).figures["fits_schema"] == 1.0
    assert (await scored("json", '{"age": -2}', {"age": 3}, **settings)).figures["fits_schema"] == 0.0
    assert (await scored("json", "[]", {"age": 3}, **settings)).figures["fits_schema"] == 0.0
    (problem,) = Json(schema=settings["schema"]).problems(Sample(key="k", id="i", messages=(), target={"age": "x"}))
    assert "does not fit" in problem.fault


def test_paths_and_values_are_found_again_where_keys_have_points() -> None:
    value = {"a.b": 1, "a": {"b": 2, "c": {}}}
    assert list(leaves(value)) == [("a.b", 1), ("a.b", 2), ("a.c", {})]
    assert at(value, "a.b") == 1
    assert at(value, "a.c") == {}
    assert at({"a.b": {"c": 3}}, "a.b.c") == 3


def test_a_target_may_be_written_as_a_text() -> None:
    sample = Sample(key="k", id="i", messages=(), target='{"x": 1}')
    assert Json().settled([sample]).fields == ("x",)
    (problem,) = Json().problems(Sample(key="k", id="i", messages=(), target="[1]"))
    assert "no JSON object" in problem.fault
