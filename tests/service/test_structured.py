"""A constraint is checked alike by whatever field it comes in, and told at the place where the caller wrote it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from service.openai.structured import check_constraints, place_of_constraint

LARGE = {"enum": list(range(16_000))}
FEW = {"type": "object", "properties": {"x": {"type": "boolean"}}, "required": ["x"]}


def places(body: dict[str, Any]) -> list[str]:
    try:
        check_constraints(body)
    except InvalidInput as error:
        return [problem.place for problem in error.problems]
    return []


def formatted(schema: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": schema}}}


def tool(parameters: Any, choice: Any = "required", **function: Any) -> dict[str, Any]:
    named = {"name": "book", "parameters": parameters, **function}
    return {"tools": [{"type": "function", "function": named}], "tool_choice": choice}


WAYS = [
    (formatted, "response_format.json_schema.schema"),
    (lambda schema: {"structured_outputs": {"json": schema}}, "structured_outputs.json"),
    (lambda schema: {"structured_outputs": {"json": json.dumps(schema)}}, "structured_outputs.json"),
    (tool, "tools.0.function.parameters"),
    (lambda schema: tool(schema, "auto"), "tools.0.function.parameters"),
    (lambda schema: tool(schema, "none"), "tools.0.function.parameters"),
    (lambda schema: tool(schema, {"type": "function", "function": {"name": "book"}}), "tools.0.function.parameters"),
    (
        lambda schema: {"structured_outputs": {"structural_tag": json.dumps({"structures": [{"schema": schema}]})}},
        "structured_outputs.structural_tag.structures.0.schema",
    ),
    (
        lambda schema: {"response_format": {"type": "structural_tag", "format": {"json_schema": schema}}},
        "response_format.format.json_schema",
    ),
]


@pytest.mark.parametrize(("way", "place"), WAYS)
def test_a_schema_is_checked_by_whatever_way_it_comes(way: Any, place: str) -> None:
    assert places(way(FEW)) == []
    assert places(way(LARGE)) == [place]
    assert places(way({"properties": {"a": {"minItems": -1}}})) == [f"{place}.properties.a.minItems"]


@pytest.mark.parametrize(
    ("outputs", "place"),
    [
        ([], "structured_outputs"),
        ("x", "structured_outputs"),
        (5, "structured_outputs"),
        ({}, "structured_outputs"),
        ({"json": None}, "structured_outputs"),
        ({"json": FEW, "regex": "a"}, "structured_outputs"),
        ({"json": FEW, "backend": "x"}, "structured_outputs.backend"),
        ({"json": FEW, "_backend": "guidance"}, "structured_outputs._backend"),
        ({"json": FEW, "whitespace_pattern": "(a+)+"}, "structured_outputs.whitespace_pattern"),
        ({"json": "{"}, "structured_outputs.json"),
        ({"json": ""}, "structured_outputs.json"),
        ({"json": "[" * 5000}, "structured_outputs.json"),
        ({"json": 5}, "structured_outputs.json"),
        ({"regex": 5}, "structured_outputs.regex"),
        ({"regex": "(a{1,500}){1,500}{1,50}"}, "structured_outputs.regex"),
        ({"choice": []}, "structured_outputs.choice"),
        ({"choice": "abc"}, "structured_outputs.choice"),
        ({"choice": [1]}, "structured_outputs.choice"),
        ({"grammar": " "}, "structured_outputs.grammar"),
        ({"grammar": {}}, "structured_outputs.grammar"),
        ({"json_object": False}, "structured_outputs.json_object"),
        ({"json_object": "yes"}, "structured_outputs.json_object"),
        ({"structural_tag": "x"}, "structured_outputs.structural_tag"),
        ({"structural_tag": []}, "structured_outputs.structural_tag"),
    ],
)
def test_structured_outputs_of_another_kind_are_told_their_own(outputs: Any, place: str) -> None:
    assert places({"structured_outputs": outputs}) == [place]


@pytest.mark.parametrize(
    ("given", "place"),
    [
        ("json", "response_format"),
        ([], "response_format"),
        ({}, "response_format.type"),
        ({"type": "xml"}, "response_format.type"),
        ({"type": []}, "response_format.type"),
        ({"type": "json_schema"}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": []}, "response_format.json_schema"),
        ({"type": "json_schema", "json_schema": {"schema": FEW}}, "response_format.json_schema.name"),
        ({"type": "json_schema", "json_schema": {"name": "x"}}, "response_format.json_schema.schema"),
        ({"type": "json_schema", "json_schema": {"name": "x", "schema": True}}, "response_format.json_schema.schema"),
    ],
)
def test_a_response_format_of_another_kind_is_told_its_own(given: Any, place: str) -> None:
    assert places({"response_format": given}) == [place]


@pytest.mark.parametrize(
    ("tools", "place"),
    [
        ({}, "tools"),
        ("x", "tools"),
        ([5], "tools.0.function"),
        ([{"type": "function"}], "tools.0.function"),
        ([{"function": {"name": 5}}], "tools.0.function.name"),
        ([{"function": {"name": "a", "strict": "yes"}}], "tools.0.function.strict"),
        ([{"function": {"name": "a", "parameters": []}}], "tools.0.function.parameters"),
    ],
)
def test_tools_of_another_kind_are_told_their_own(tools: Any, place: str) -> None:
    assert places({"tools": tools}) == [place]


def test_what_is_right_passes_and_null_is_not_set() -> None:
    for body in (
        {},
        {"response_format": None, "structured_outputs": None, "tools": None, "guided_json": None},
        {"response_format": {"type": "text"}, "structured_outputs": {"regex": "a"}},
        {"response_format": {"type": "json_object"}},
        {"structured_outputs": {"json_object": True}},
        {"structured_outputs": {"choice": ["نعم", "لا"]}},
        {"tools": [{"function": {"name": "a"}}]},
    ):
        assert places(body) == []


def test_two_constraints_are_one_too_many_and_the_removed_names_are_told_the_new_one() -> None:
    assert places({**formatted(FEW), "structured_outputs": {"regex": "a"}}) == ["structured_outputs"]
    for name in ("guided_json", "guided_regex", "guided_choice", "guided_grammar", "guided_decoding_backend"):
        assert places({name: {}}) == [name]


def test_what_a_tool_cannot_be_held_to_is_refused_only_where_it_must_be() -> None:
    unique = {"type": "array", "uniqueItems": True}
    place = "tools.0.function.parameters.uniqueItems"
    assert places(tool(unique, "auto")) == places(tool(unique, "none")) == places(tool(unique, None)) == []
    assert places(tool(unique, "required")) == places(tool(unique, "auto", strict=True)) == [place]


@pytest.mark.parametrize(
    ("body", "place"),
    [
        (formatted(FEW), "response_format.json_schema.schema"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"structured_outputs": {"regex": "a"}}, "structured_outputs.regex"),
        ({"response_format": None, "structured_outputs": {"grammar": "a"}}, "structured_outputs.grammar"),
        (tool(FEW), "tools"),
        (tool(FEW, "auto"), "tools"),
        ({**tool(FEW), **formatted(FEW)}, "tools"),
        ({**tool(FEW, "auto"), **formatted(FEW)}, "response_format.json_schema.schema"),
        ({"structured_outputs": []}, "structured_outputs"),
    ],
)
def test_the_place_of_a_constraint_is_the_field_that_it_came_by(body: dict[str, Any], place: str) -> None:
    assert place_of_constraint(body) == place


async def test_responses_name_their_own_places(house: Any, start: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    wrong = {"properties": {"a": {"minItems": -1}}}
    chosen = {"tools": [{"type": "function", "name": "book", "parameters": wrong}], "tool_choice": "required"}
    formats = {"text": {"format": {"type": "json_schema", "name": "x", "schema": wrong}}}
    async with start(house) as running:
        for fields, place in (
            (chosen, "tools.0.parameters.properties.a.minItems"),
            (formats, "text.format.schema.properties.a.minItems"),
            ({"max_output_tokens": 2**40}, "max_output_tokens"),
            ({"structured_outputs": []}, "structured_outputs"),
        ):
            reply = await running.client.post("/v1/responses", json={"model": "triage", "input": "hi", **fields})
            assert (reply.status_code, reply.json()["error"]["param"]) == (400, place)
