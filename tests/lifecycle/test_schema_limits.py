"""Limits of schemas, expressions and grammars: each at its bound and over it, in time that does not grow with it."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.errors import Problem
from lifecycle.schema_limits import (
    choice_problems,
    expression_problems,
    grammar_problems,
    schema_problems,
    tag_problems,
)


def told(problems: list[Problem]) -> list[tuple[str, str]]:
    return [(problem.place, problem.fault) for problem in problems]


def nested(levels: int) -> dict[str, Any]:
    schema: dict[str, Any] = {}
    for _ in range(levels - 1):
        schema = {"items": schema}
    return schema


def names(count: int) -> dict[str, Any]:
    return {f"name{at}": {} for at in range(count)}


@pytest.mark.parametrize(
    ("just", "over", "fault"),
    [
        (nested(40), nested(41), "is nested more than 40 levels deep"),
        (
            {"properties": names(1000)},
            {"properties": names(999), "items": {"properties": names(2)}},
            "has 1001 properties; at most 1000 are taken",
        ),
        (
            {"enum": list(range(2000))},
            {"anyOf": [{"enum": list(range(1500))}, {"enum": list(range(501))}]},
            "has 2001 values in enum; at most 2000 are taken",
        ),
        (
            {"enum": ["x" * 120_000]},
            {"enum": ["x" * 60_000, "x" * 60_001]},
            "has 120001 characters in enum; at most 120000 are taken",
        ),
        ({"const": [0] * 19_998}, {"const": [0] * 19_999}, "has more than 20000 values in all"),
        (
            {"description": "ع" * ((256 * 2**10 - 19) // 2)},
            {"description": "ع" * (128 * 2**10)},
            f"has {256 * 2**10 + 19} bytes; at most {256 * 2**10} are taken",
        ),
    ],
)
def test_a_schema_is_taken_up_to_its_limits_and_no_further(just: Any, over: Any, fault: str) -> None:
    assert schema_problems(just, "s") == []
    assert told(schema_problems(over, "s")) == [("s", fault)]
    assert told(schema_problems(over, "s", obeyed=False)) == [("s", fault)]


@pytest.mark.parametrize("pair", ["Items", "Length", "Properties"])
def test_a_count_has_its_range_and_the_least_is_not_over_the_most(pair: str) -> None:
    least, most = f"min{pair}", f"max{pair}"
    assert schema_problems({least: 0, most: 100_000}, "s") == []
    assert schema_problems({least: 7, most: 7}, "s") == []
    for value in (-1, 100_001, 1e300, "5", True, [5]):
        for name in (least, most):
            problems = told(schema_problems({"items": {name: value}}, "s"))
            assert problems == [(f"s.items.{name}", "must be a whole number from 0 to 100000")]
    assert told(schema_problems({least: 8, most: 7}, "s")) == [(f"s.{least}", f"is more than {most}")]


def test_names_of_the_callers_own_are_no_keywords_and_values_are_no_schemas() -> None:
    data = {"minItems": -1, "$ref": "http://x", "pattern": "a{99999}"}
    assert schema_problems({"properties": {key: {"type": "string"} for key in data}, "required": list(data)}, "s") == []
    assert schema_problems({"enum": [data], "const": data, "default": data, "examples": [data]}, "s") == []
    for key in ("properties", "patternProperties", "$defs", "definitions", "dependentSchemas"):
        assert {place for place, _ in told(schema_problems({key: {"a": data}}, "s"))} == {
            f"s.{key}.a.{name}" for name in data
        }
    for key in ("anyOf", "oneOf", "prefixItems"):
        assert len(schema_problems({key: [True, data]}, "s")) == 3
    for key in ("items", "additionalProperties", "unevaluatedProperties", "propertyNames", "not"):
        assert len(schema_problems({key: data}, "s")) == 3


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "integer", "multipleOf": 2}, "multipleOf"),
        ({"type": ["integer", "number"], "multipleOf": 2}, "multipleOf"),
        ({"type": "array", "uniqueItems": True}, "uniqueItems"),
        ({"type": "array", "contains": {}}, "contains"),
        ({"type": "string", "format": "phone"}, "format"),
        ({"type": "string", "format": ["email"]}, "format"),
        ({"type": "string", "pattern": "a+", "maxLength": 5}, "pattern"),
        ({"type": "string", "format": "email", "minLength": 5}, "format"),
        ({"type": "object", "propertyNames": {"pattern": "a"}, "properties": {}}, "propertyNames"),
        ({"type": "object", "propertyNames": {"pattern": "a", "maxLength": 3}}, "propertyNames"),
        ({"type": "object", "patternProperties": {"a": {}}, "properties": {}}, "patternProperties"),
        ({"type": "object", "patternProperties": {"a": {}, "b": {}}}, "patternProperties"),
        ({"allOf": [{"type": "string"}, {"enum": ["a"]}]}, "allOf"),
        ({"$ref": "http://x/y"}, "$ref"),
        ({"$ref": 5}, "$ref"),
        ({"$ref": "#/$defs/nobody"}, "$ref"),
        ({"$ref": "#/properties/x/$ref"}, "$ref"),
        ({"$ref": "#anchor"}, "$ref"),
        ({"$ref": ""}, "$ref"),
    ],
)
def test_what_the_answer_would_not_keep_to_is_refused_at_its_place_where_it_must(schema: Any, place: str) -> None:
    problems = schema_problems({"properties": {"x": schema}}, "s")
    assert [problem.place for problem in problems] == [f"s.properties.x.{place}"]
    assert schema_problems(schema, "s", obeyed=False) == []


def test_what_the_answer_keeps_to_is_taken() -> None:
    for schema in (
        {"type": "string", "multipleOf": 2, "uniqueItems": True},
        {"type": "string", "format": "email"},
        {"type": "string", "pattern": "^a+$"},
        {"type": "object", "propertyNames": {"pattern": "a"}},
        {"type": "object", "patternProperties": {"a": {}}},
        {"allOf": [{"type": "string"}]},
        {"$defs": {"node": {"anyOf": [{"type": "null"}, {"$ref": "#/$defs/node"}]}}, "$ref": "#/$defs/node"},
        {"$defs": {"a/b%": {"anyOf": [{}, {}]}}, "items": {"$ref": "#/$defs/a~1b%25/anyOf/1"}},
        {"type": 5},
        True,
    ):
        assert schema_problems(schema, "s") == []
    for schema in (None, [], "x", 5):
        assert told(schema_problems(schema, "s")) == [("s", "must be a JSON schema, an object")]


@pytest.mark.parametrize(
    ("expression", "repeats"),
    [
        ("a{10000}", True),
        ("a{10001}", False),
        ("a{1,10001}", False),
        ("a{10001,}", False),
        ("(a{1,100}){1,100}", True),
        ("(a{1,100}){1,101}", False),
        ("(a{1,500}){1,500}{1,50}", False),
        ("((a{5}){50}b{10}){40}", True),
        ("((a{5}){50}b{10}){41}", False),
        ("(a{100}|b{100}){100}c{100}", True),
        (r"\(a{100}\){1000}", True),
        ("[(]{100}[)]{1000}", True),
        ("(?:x{101}){100}", False),
        ("[]a{5]{9999}", True),
        ("x" * 4000, True),
        ("x" * 4001, False),
        ("a\0b", False),
        (5, False),
    ],
)
def test_an_expression_is_taken_while_its_nested_repetitions_are_few(expression: Any, repeats: bool) -> None:
    assert (expression_problems(expression, "s") == []) is repeats
    assert (tag_problems({"format": {"pattern": expression}}, "s") == []) is (repeats or expression == 5)
    if isinstance(expression, str):
        assert (schema_problems({"type": "string", "pattern": expression}, "s") == []) is repeats
        assert (schema_problems({"patternProperties": {expression: {}}}, "s", obeyed=False) == []) is repeats


@pytest.mark.parametrize("expression", ["[" * 4000, "(" * 4000, "[\\" * 2000, "(a{2}" * 800, ")" * 4000, "[a" * 1999])
def test_an_expression_that_is_none_is_looked_through_once(expression: str) -> None:
    assert isinstance(expression_problems(expression, "s"), list)


def test_grammars_and_choices_have_their_limits() -> None:
    for grammar in ('root ::= "a"', 'root ::= "a"{1,10000}', "x" * 65_536):
        assert grammar_problems(grammar, "s") == []
    for grammar in ("", "  ", 5, [], 'root ::= "a"{10001}', "x" * 65_537):
        assert [problem.place for problem in grammar_problems(grammar, "s")] == ["s"]
    for choices in (["a"], ["a"] * 2000, ["x" * 120_000]):
        assert choice_problems(choices, "s") == []
    for choices in ("a", [], [5], ["a"] * 2001, ["x" * 120_001], {"a": 1}):
        assert [problem.place for problem in choice_problems(choices, "s")] == ["s"]


def test_a_structural_tag_is_looked_through_for_schemas_expressions_and_grammars() -> None:
    tag = {
        "type": "structural_tag",
        "format": {
            "tags": [
                {"begin": "<a>", "content": {"type": "json_schema", "json_schema": {"minItems": -1}}},
                {"content": {"type": "regex", "pattern": "(a{500}){500}"}},
                {"content": {"type": "grammar", "grammar": "a{99999}"}},
            ]
        },
        "structures": [{"schema": {"$ref": "http://x"}}],
    }
    assert sorted(place for place, _ in told(tag_problems(tag, "s"))) == [
        "s.format.tags.0.content.json_schema.minItems",
        "s.format.tags.1.content.pattern",
        "s.format.tags.2.content.grammar",
        "s.structures.0.schema.$ref",
    ]
    assert told(tag_problems([], "s")) == [("s", "must be an object")]
    assert told(tag_problems({"a": nested(40)}, "s")) == [("s", "is nested more than 40 levels deep")]
