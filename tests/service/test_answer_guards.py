"""Guards: what an answer is found to be, whole or streamed, without any model."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lifecycle.traffic import AnswerGuard
from service.openai.answer_guards import Choice, StreamedChoices, broken_guards, choices_of, schema_check

ALL: tuple[AnswerGuard, ...] = ("empty", "cut_off", "not_json", "off_schema")
FITS = schema_check({"type": "object", "required": ["department"], "properties": {"department": {"type": "string"}}})


def of(text: str, finish: str = "stop", *, tools: bool = False) -> set[str]:
    seen = broken_guards([Choice(text, finish, tools)], ALL, FITS)
    assert seen is not None
    return set(seen)


def read_in_chunks(chunks: list[str]) -> list[Choice]:
    reader = StreamedChoices()
    for chunk in chunks:
        reader.read(chunk)
    return reader.choices()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"department": "قلب"}', set()),
        ('  {"department": "heart"}\n', set()),
        ('{"department": 3}', {"off_schema"}),
        ("[]", {"off_schema"}),
        ("the heart", {"not_json", "off_schema"}),
        ('{"department": "he', {"not_json", "off_schema"}),
        ("", {"empty", "not_json", "off_schema"}),
        (" \n", {"empty", "not_json", "off_schema"}),
        ("[" * 100_000, {"not_json", "off_schema"}),
    ],
)
def test_a_text_is_found_to_be_what_it_is(text: str, says: set[str]) -> None:
    assert of(text) == says


def test_only_what_is_asked_about_is_looked_for() -> None:
    assert broken_guards([Choice("", "length", False)], ("empty",), None) == {"empty"}
    assert broken_guards([Choice("", "length", False)], (), None) == frozenset()


def test_an_answer_that_ended_at_its_limit_is_cut_off() -> None:
    assert of('{"department": "a"}', "length") == {"cut_off"}


def test_a_tool_call_without_text_is_neither_empty_nor_bad_json() -> None:
    assert of("", "tool_calls", tools=True) == set()


def test_an_answer_is_as_bad_as_its_worst_choice() -> None:
    good, bad = Choice('{"department": "a"}', "stop", False), Choice("", "length", False)
    assert broken_guards([good, bad], ALL, FITS) == set(ALL)
    assert broken_guards([], ALL, FITS) is None, "nothing was answered, so nothing can be said of it"


def chunk(index: int, text: str | None, finish: str | None = None, **delta: Any) -> str:
    choice = {"index": index, "delta": {"content": text, **delta}, "finish_reason": finish}
    return json.dumps({"choices": [choice]})


def test_a_stream_is_read_as_the_whole_answer_is() -> None:
    chunks = [
        chunk(1, "b", role="assistant"), chunk(0, "قل"), chunk(0, "ب", "stop"), chunk(1, None, "length"),
        json.dumps({"choices": [], "usage": {}}),
    ]  # fmt: skip
    choices = [
        {"index": 0, "message": {"content": "قلب"}, "finish_reason": "stop"},
        {"index": 1, "message": {"content": "b"}, "finish_reason": "length"},
    ]
    assert read_in_chunks(chunks) == choices_of({"choices": choices})
    assert read_in_chunks(chunks) == [Choice("قلب", "stop", False), Choice("b", "length", False)]


def test_completions_and_tool_calls_are_read_too() -> None:
    plain = {"index": 0, "text": "a", "finish_reason": "stop"}
    assert choices_of({"choices": [plain]}) == read_in_chunks([json.dumps({"choices": [plain]})])
    call = {"content": None, "tool_calls": [{"id": "1"}]}
    (whole,) = choices_of({"choices": [{"index": 0, "message": call, "finish_reason": "tool_calls"}]})
    (streamed,) = read_in_chunks([chunk(0, None, tool_calls=[{"id": "1"}]), chunk(0, None, "tool_calls")])
    assert whole == streamed == Choice("", "tool_calls", True)


def test_a_schema_is_applied_without_reaching_for_the_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import socket

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    fits = schema_check({"$ref": "https://example.com/schema.json"})
    assert fits is not None
    assert fits({"a": 1}), "what cannot be judged is not held against the version"
