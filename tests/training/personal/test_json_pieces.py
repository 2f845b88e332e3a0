"""The parts of a text that are looked at one by one, and what a placeholder must stand between there."""

from __future__ import annotations

import json

import pytest

from training.data.personal.json_pieces import pieces


def parts(text: str) -> list[tuple[str, str, str]]:
    """What each piece says, its key and its quotes."""
    return [(piece.said.text, piece.key, piece.quotes) for piece in pieces(text)]


def written(text: str) -> list[str]:
    """Each piece as it stands in the text."""
    return [text[slice(*piece.span(0, len(piece.said.text)))] for piece in pieces(text) if piece.said.text]


@pytest.mark.parametrize(
    "text", ["", "plain", "{call 12", '["open', "[1, 2", '"quoted"', "12", "true", "{'single': 1}", "[" * 100_000]
)
def test_what_is_no_object_or_array_of_json_is_one_piece(text: str) -> None:
    assert parts(text) == [(text, "", "")]


def test_every_string_and_number_of_json_is_a_piece_with_the_key_before_it() -> None:
    text = ' {"a": "x\\ny", "b" : [1, -2.5e+3, "z"], "c": {"d": 7}, "e": [true, null]}'
    assert parts(text) == [
        ("a", "", ""), ("x\ny", "a", ""), ("b", "a", ""), ("1", "b", '"'), ("-2.5e+3", "b", '"'), ("z", "b", ""),
        ("c", "b", ""), ("d", "c", ""), ("7", "d", '"'), ("e", "d", ""),
    ]  # fmt: skip
    assert written(text) == ["a", "x\\ny", "b", "1", "-2.5e+3", "z", "c", "d", "7", "e"]


def test_an_array_is_json_too() -> None:
    assert parts('["a", 1]') == [("a", "", ""), ("1", "", '"')]


@pytest.mark.parametrize("gap", ["", " ", "\n\t  " * 20])
def test_a_key_is_one_however_far_its_colon_stands(gap: str) -> None:
    assert parts(f'{{"a"{gap}: 1}}')[1] == ("1", "a", '"')


def nested(depth: int) -> str:
    text = json.dumps({"n": 1})
    for _ in range(depth):
        text = json.dumps({"in": text})
    return text


@pytest.mark.parametrize(("depth", "quotes"), [(0, '"'), (1, '\\"'), (2, '\\\\\\"'), (3, "\\" * 7 + '"')])
def test_json_in_a_string_is_looked_into_and_its_quotes_are_escaped_as_deep(depth: int, quotes: str) -> None:
    text = nested(depth)
    assert parts(text)[-1] == ("1", "n", quotes)
    assert written(text)[-1] == "1"
    assert json.loads(text.replace("1", f"{quotes}x{quotes}"))


def test_json_is_looked_into_three_strings_deep() -> None:
    text, key, quotes = parts(nested(4))[-1]
    assert (json.loads(text), key, quotes) == ({"n": 1}, "in", "")


def test_what_json_in_a_string_says_without_a_key_has_the_key_of_the_string() -> None:
    assert parts('{"phone": "[1, 2]"}')[1:] == [("1", "phone", '\\"'), ("2", "phone", '\\"')]


def test_places_within_json_in_a_string_are_those_of_the_whole_text() -> None:
    text = '{"in": "{\\"mail\\": \\"a\\\\u0040b\\"}"}'
    assert parts(text)[-1] == ("a@b", "mail", "")
    *_, last = pieces(text)
    assert [text[slice(*last.span(at, at + 1))] for at in range(3)] == ["a", "\\\\u0040", "b"]


@pytest.mark.parametrize("language", ["", "json", "JSON", "json5", "json  ", "\n\n"])
def test_json_in_a_fence_is_looked_into_and_the_text_around_it_is_not_cut(language: str) -> None:
    text = f'see\n{{"a": 1}} ```{language}\n{{"b": 2}}\n``` and {{"c": 3}}```\n["d"]```'
    assert parts(text) == [
        ('see\n{"a": 1} ', "", ""), ("b", "", ""), ("2", "b", '"'), (' and {"c": 3}', "", ""), ("d", "", ""),
        ("", "", ""),
    ]  # fmt: skip
    assert written(text) == ['see\n{"a": 1} ', "b", "2", ' and {"c": 3}', "d"]


def test_only_what_stands_inside_a_fence_is_in_it() -> None:
    assert parts('a\n{"b": 1}```c') == [('a\n{"b": 1}', "", ""), ("c", "", "")]
    assert parts('```c```a\n{"b": 1}') == [("", "", ""), ("c", "", ""), ('a\n{"b": 1}', "", "")]


def test_what_is_no_json_in_a_fence_is_one_piece() -> None:
    assert written("```text\n{call 12\n```") == ["text\n{call 12\n"]


@pytest.mark.parametrize("text", ["```0501234567\nx```", '```0501234567\n{"a": 1}```', "```json 12\n{}```"])
def test_what_stands_in_the_line_of_a_fence_is_looked_at_too(text: str) -> None:
    assert written(text) == [text.strip("`")]
