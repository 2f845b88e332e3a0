"""Turns with tools, names and reasoning: verbatim, in order, every call answered; or an error that names the place."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest

from lifecycle.conversation import Message, ToolCall
from lifecycle.rows.faults import Unreadable
from lifecycle.rows.forms import conversation

TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}
ARGUMENTS = ['{"when":"2026-05-01"}', '{ "n": 007.5 }'.replace("007.5", "7.50"), '{"s": "007", "x": null}', "{}"]


def call(number: int = 1, arguments: Any = '{"when":"2026-05-01"}', **more: Any) -> dict[str, Any]:
    return {"id": f"c{number}", "type": "function", "function": {"name": "book", "arguments": arguments, **more}}


def calls(*made: dict[str, Any], content: Any = None, **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, "tool_calls": list(made), **more}


def result(number: int = 1, **more: Any) -> dict[str, Any]:
    return {"role": "tool", "tool_call_id": f"c{number}", "content": "ok", **more}


Q, A = {"role": "user", "content": "Book me."}, {"role": "assistant", "content": "Booked."}
ROW: dict[str, Any] = {"tools": [TOOL], "messages": [Q, calls(call()), result(), A]}


def row(*messages: Any, **more: Any) -> dict[str, Any]:
    return copy.deepcopy({"tools": [TOOL], "messages": list(messages), **more})


def told(value: Any) -> list[tuple[str, str]]:
    """(code, field) of each fault."""
    with pytest.raises(Unreadable) as caught:
        conversation(value, "f:1")
    return [(fault.code, fault.field) for fault in caught.value.faults]


@pytest.mark.parametrize("arguments", ARGUMENTS)
def test_the_arguments_of_a_call_are_kept_letter_by_letter(arguments: str) -> None:
    read = conversation(row(Q, calls(call(arguments=arguments)), result(), A), "f:1")
    assert read.messages[1] == Message("assistant", "", tool_calls=(ToolCall("c1", "book", arguments),))
    assert read.messages[2] == Message("tool", "ok", tool_call_id="c1")
    assert read.tools == (TOOL,)


def test_arguments_that_are_an_object_become_its_json_text() -> None:
    read = conversation(row(Q, calls(call(arguments={"when": "2026-05-01", "n": "007", "س": None}))), "f:1")
    assert read.messages[1].tool_calls[0].arguments == '{"when": "2026-05-01", "n": "007", "س": null}'


def test_a_turn_is_sent_as_it_came() -> None:
    messages = [
        {**Q, "name": "sara"}, calls(call(1), call(2), content="Let me look."), result(2, name="book"), result(1),
        {**A, "reasoning": "both are free"},
    ]  # fmt: skip
    assert conversation(row(*messages), "f:1").sent() == messages


def test_reasoning_has_two_names() -> None:
    one, other = (conversation(row(Q, {**A, key: "think"}), "f:1") for key in ("reasoning", "reasoning_content"))
    assert one.messages == other.messages
    assert one.messages[-1].reasoning == "think"
    assert told(row(Q, {**A, "reasoning": "a", "reasoning_content": "b"})) == [
        ("two_forms", "messages[1].reasoning_content")
    ]


def test_nulls_that_say_nothing_are_nothing() -> None:
    plain = {**A, "tool_calls": None, "name": None, "refusal": None, "weight": None, "function_call": None}
    assert conversation(row(Q, plain, tools=None, parallel_tool_calls=None), "f:1").messages[-1] == Message(
        "assistant", "Booked."
    )


BAD: dict[str, tuple[dict[str, Any], list[tuple[str, str]]]] = {
    "a call nobody answers": (row(Q, calls(call()), A), [("unanswered_call", "")]),
    "one of two unanswered": (row(Q, calls(call(1), call(2)), result(1), A), [("unanswered_call", "")]),
    "one of two unanswered at the end": (
        row(Q, calls(call(1), call(2)), result(1)),
        [("unanswered_call", ""), ("no_answer", "")],
    ),
    "an answer to no call": (row(Q, calls(call(1)), result(1), result(2), A), [("unknown_call", "")]),
    "an answer twice": (row(Q, calls(call(1)), result(1), result(1), A), [("unknown_call", "")]),
    "two calls of one id": (row(Q, calls(call(1), call(1)), result(1), A), [("bad_tool_call", "")]),
    "a call by the user": (row({**Q, "tool_calls": [call()]}, A), [("wrong_role", "messages[0]")]),
    "a call of no tool": (row(Q, calls(call(), content="x"), tools=[{**TOOL, "function": {"name": "x"}}]), [
        ("unknown_tool", "tools")
    ]),
    "arguments that are a list": (row(Q, calls(call(arguments="[]"))), [
        ("bad_tool_call", "messages[1].tool_calls[0].function.arguments")
    ]),
    "arguments that are no JSON": (row(Q, calls(call(arguments="{when: now}"))), [
        ("bad_tool_call", "messages[1].tool_calls[0].function.arguments")
    ]),
    "arguments that say a key twice": (row(Q, calls(call(arguments='{"a":1,"a":2}'))), [
        ("bad_tool_call", "messages[1].tool_calls[0].function.arguments")
    ]),
    "a key of a call": (row(Q, calls(call(strict=True))), [
        ("unknown_key", "messages[1].tool_calls[0].function.strict")
    ]),
    "a call without an id": (row(Q, calls({**call(), "id": None})), [
        ("bad_tool_call", "messages[1].tool_calls[0].id")
    ]),
    "the old spelling": (row(Q, {**A, "function_call": {"name": "f"}}), [
        ("old_tool_call", "messages[1].function_call")
    ]),
    "the old spelling of a tool": (row(Q, {"role": "function", "name": "f", "content": "x"}, A), [
        ("old_tool_call", "messages[1].role")
    ]),
    "an unknown key": (row(Q, {**A, "mood": "glad"}), [("unknown_key", "messages[1].mood")]),
    "a refusal": (row(Q, {**A, "refusal": "no"}), [("unknown_key", "messages[1].refusal")]),
    "an object as a text": (row(Q, {**A, "content": {"colour": "red"}}), [("not_text", "messages[1].content")]),
    "a name that is no text": (row({**Q, "name": 3}, A), [("not_text", "messages[0].name")]),
    "reasoning of the user": (row({**Q, "reasoning": "x"}, A), [("wrong_role", "messages[0].reasoning")]),
    "a weight between": (row(Q, {**A, "weight": 0.5}), [("wrong_type", "messages[1].weight")]),
    "two calls where one is allowed": (
        row(Q, calls(call(1), call(2)), result(1), result(2), A, parallel_tool_calls=False),
        [("wrong_type", "parallel_tool_calls")],
    ),
    "parallel that is no truth": (row(Q, A, parallel_tool_calls="no"), [("wrong_type", "parallel_tool_calls")]),
    "tools that are no list": (row(Q, A, tools={"name": "f"}), [("wrong_type", "tools")]),
    "tools that are no JSON": (row(Q, A, tools="[{]"), [("not_json", "tools")]),
    "the old tools": (row(Q, A, functions=[{"name": "f"}]), [("unknown_key", "functions")]),
}  # fmt: skip


@pytest.mark.parametrize("kind", BAD)
def test_what_would_be_lost_or_misread_is_told_by_code_and_field(kind: str) -> None:
    value, expected = BAD[kind]
    assert told(value) == expected


def test_every_fault_of_a_row_is_told_at_once() -> None:
    value = row({**Q, "mood": 1}, {**A, "content": None, "weight": 3}, source="x", id=[])
    assert told(value) == [
        ("unknown_key", "source"),
        ("unknown_key", "messages[0].mood"),
        ("not_text", "messages[1].content"),
        ("wrong_type", "messages[1].weight"),
    ]


def test_a_conversation_may_end_in_calls_which_are_its_answer() -> None:
    read = conversation(row(Q, calls(call())), "f:1")
    assert read.answer == 'book({"when":"2026-05-01"})'


def test_sharegpts_calls_and_observations_are_tool_calls_and_their_answers() -> None:
    turns = [
        ("human", "Book two."),
        ("function_call", json.dumps([{"name": "book", "arguments": {"when": at}} for at in ("1", "2")])),
        ("observation", "first"), ("observation", "second"), ("gpt", "Done."),
    ]  # fmt: skip
    value = {
        "conversations": [{"from": who, "value": text} for who, text in turns],
        "tools": json.dumps([TOOL["function"]]),
    }
    read = conversation(value, "f:1")
    one, two = read.messages[1].tool_calls
    assert (one.arguments, two.arguments) == ('{"when": "1"}', '{"when": "2"}')
    assert [(m.content, m.tool_call_id) for m in read.messages[2:4]] == [("first", one.id), ("second", two.id)]
    assert read.tools == (TOOL,)
