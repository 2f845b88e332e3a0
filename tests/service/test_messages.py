"""Messages and prompts: each fault at the place that the caller wrote, and never too many to look at."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.errors import InvalidInput
from service.openai.messages import MOST_MESSAGES, MOST_PARTS, check_messages, shown
from service.openai.prompts import MOST_PROMPTS, check_prompt, check_tokens
from service.openai.response_request import to_chat

CALL = {"id": "call_1", "type": "function", "function": {"name": "book", "arguments": "{}"}}


def faults(*messages: Any) -> dict[str, str]:
    try:
        check_messages({"messages": list(messages)})
    except InvalidInput as error:
        return {problem.place: problem.fault for problem in error.problems}
    return {}


@pytest.mark.parametrize(
    ("message", "place", "says"),
    [
        ({}, "role", "is missing"),
        ({"role": "doctor"}, "role", "'doctor' is no role"),
        ({"role": None}, "role", "None is no role"),
        ({"role": ["user"]}, "role", "a list is no role"),
        ({"role": "x" * 10**6}, "role", "is no role"),
        ({"role": "user", "content": 5}, "content", "must be a string or a list of parts"),
        ({"role": "user", "content": ["x"]}, "content.0", "must be an object with a type"),
        ({"role": "user", "content": [{"type": "text"}]}, "content.0.text", "must be a string"),
        (
            {"role": "user", "content": [{"type": "text", "text": "x"}, {}]},
            "content.1",
            "must be an object with a type",
        ),
        ({"role": "user", "name": 5}, "name", "must be a string"),
        ({"role": "tool", "tool_call_id": {}}, "tool_call_id", "must be a string"),
        ({"role": "assistant", "reasoning_content": []}, "reasoning_content", "must be a string"),
        ({"role": "assistant", "function_call": {"name": "x"}}, "function_call", "older form"),
        ({"role": "assistant", "audio": {"id": "x"}}, "audio", "no text"),
        ({"role": "developer", "tools": [{}]}, "tools", "not taken"),
        ({"role": "assistant", "tool_calls": 5}, "tool_calls", "must be a list"),
        ({"role": "assistant", "tool_calls": [5]}, "tool_calls.0", "must be an object"),
        ({"role": "assistant", "tool_calls": [CALL, {"type": "custom"}]}, "tool_calls.1.type", "'custom' is not taken"),
        ({"role": "assistant", "tool_calls": [{"function": "x"}]}, "tool_calls.0.function", "must be an object"),
        ({"role": "assistant", "tool_calls": [{**CALL, "id": 5}]}, "tool_calls.0.id", "must be a string"),
        ({"role": "assistant", "tool_calls": [{"function": {}}]}, "tool_calls.0.function.name", "must be a string"),
        (
            {"role": "assistant", "tool_calls": [{"function": {"name": "x", "arguments": 5}}]},
            "tool_calls.0.function.arguments",
            "must be JSON in a string",
        ),
        ({"role": "user", "tool_calls": [CALL]}, "tool_calls", "are an assistant's"),
    ],
)
def test_a_fault_of_a_message_is_told_at_its_place(message: dict[str, Any], place: str, says: str) -> None:
    good = {"role": "user", "content": "hi"}
    told = faults(good, {"role": "user", **message} if place != "role" else message, good)
    assert list(told) == [f"messages.1.{place}"]
    assert says in told[f"messages.1.{place}"]
    assert len(told[f"messages.1.{place}"]) < 200


def test_all_faults_of_all_messages_are_told_together() -> None:
    assert list(faults({}, 5, {"role": "user", "content": [1, {"type": "image_url"}], "name": 5})) == [
        "messages.0.role",
        "messages.1",
        "messages.2.content.0",
        "messages.2.content.1.type",
        "messages.2.name",
    ]


def test_what_clients_send_back_of_an_answer_is_taken_and_what_no_template_reads_is_left_out() -> None:
    answer = {
        "role": "assistant",
        "content": None,
        "refusal": None,
        "annotations": [],
        "audio": None,
        "function_call": None,
        "tool_calls": [CALL],
        "reasoning_content": "so",
        "dabt": {"version": "triage:3"},
    }
    result = {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "at nine"}], "extra": 1}
    assert check_messages({"messages": [answer, result], "model": "m"}) == {
        "model": "m",
        "messages": [
            {"role": "assistant", "content": None, "tool_calls": [CALL], "reasoning": "so"},
            {"role": "tool", "tool_call_id": "call_1", "content": [{"type": "text", "text": "at nine"}]},
        ],
    }


def test_more_messages_than_there_may_be_are_one_fault() -> None:
    assert faults(*[{"role": "user", "content": "x"}] * MOST_MESSAGES) == {}
    assert list(faults(*[{}] * (MOST_MESSAGES + 1))) == ["messages"]


def test_more_parts_than_there_may_be_are_one_fault() -> None:
    part = {"type": "text", "text": "x"}
    fine = [{"role": "user", "content": [part] * (MOST_PARTS - 1)}, {"role": "assistant", "tool_calls": [CALL]}]
    assert faults(*fine) == {}
    assert list(faults(*fine, {"role": "user", "content": [{}]})) == ["messages"]


@pytest.mark.parametrize(
    ("items", "says"),
    [
        ([{}] * (MOST_MESSAGES + 1), "4097 items"),
        ([{"role": "user", "content": [{}] * (MOST_PARTS + 1)}], "8193 parts"),
    ],
)
def test_more_items_of_a_response_than_there_may_be_are_one_fault(items: list[Any], says: str) -> None:
    with pytest.raises(InvalidInput, match=says) as caught:
        to_chat({"model": "m", "input": items})
    assert [problem.place for problem in caught.value.problems] == ["input"]


@pytest.mark.parametrize("value", ["x" * 10**6, 10**4000, [1] * 10**6, {"a": "x" * 10**6}, None, 1.5])
def test_what_is_quoted_is_no_longer_than_a_line(value: Any) -> None:
    assert len(shown(value)) <= 80


def place_of(prompt: Any) -> str:
    try:
        check_prompt({"prompt": prompt})
    except InvalidInput as error:
        (problem,) = error.problems
        return problem.place
    return ""


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [0, 2**31 - 1], [[1], [2, 3]], ["x"] * MOST_PROMPTS])
def test_a_prompt_is_a_text_or_tokens_or_several_of_one_kind(prompt: Any) -> None:
    assert place_of(prompt) == ""


@pytest.mark.parametrize(
    ("prompt", "place"),
    [
        (None, "prompt"),
        ("", "prompt"),
        ([], "prompt"),
        (5, "prompt"),
        ({"a": 1}, "prompt"),
        (["x"] * (MOST_PROMPTS + 1), "prompt"),
        ([{}], "prompt.0"),
        ([None], "prompt.0"),
        ([""], "prompt.0"),
        (["x", 5], "prompt.1"),
        (["x", ["y"]], "prompt.1"),
        ([[1], "x"], "prompt.1"),
        ([[1], []], "prompt.1"),
        ([5, "x"], "prompt.1"),
        ([5, True], "prompt.1"),
        ([True], "prompt.0"),
        ([5, 1.5], "prompt.1"),
        ([5, -1], "prompt.1"),
        ([5, 2**31], "prompt.1"),
        ([5, 10**4000], "prompt.1"),
        ([[1], [2, "x"]], "prompt.1.1"),
        ([[1], [2, -1]], "prompt.1.1"),
        ([["a"]], "prompt.0.0"),
    ],
)
def test_what_is_wrong_with_a_prompt_is_told_at_its_place(prompt: Any, place: str) -> None:
    assert place_of(prompt) == place


@pytest.mark.parametrize(("tokens", "place"), [(None, "tokens"), ("x", "tokens"), ([5, "x"], "tokens.1")])
def test_tokens_that_are_to_become_a_text_are_checked_alike(tokens: Any, place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        check_tokens({"tokens": tokens})
    assert [problem.place for problem in caught.value.problems] == [place]
    check_tokens({"tokens": []})


@pytest.mark.parametrize("stream", [None, False])
async def test_options_of_a_stream_without_one_are_refused_on_every_path(
    house: Any, start: Any, stream: bool | None
) -> None:
    house.prod("triage", prompt={"system": "Sort."})
    asked = {"stream": stream, "stream_options": {"include_usage": True}}
    async with start(house) as running:
        for model in ("tiny", "triage"):
            for route, body in (
                ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
                ("/v1/completions", {"prompt": "x"}),
                ("/v1/responses", {"input": "x"}),
            ):
                reply = await running.client.post(route, json={"model": model, **body, **asked})
                assert (reply.status_code, reply.json()["error"]["param"]) == (400, "stream_options"), route
                reply = await running.client.post(route, json={"model": model, **body, **asked, "stream": True})
                assert reply.status_code == 200 or (model, route) == ("triage", "/v1/completions")


async def test_a_place_is_the_callers_own_behind_a_versions_text_and_shots(house: Any, start: Any) -> None:
    shots = [{"user": "a", "assistant": "b"}] * 3
    house.prod("triage", prompt={"system": "Sort.", "shots": shots})
    messages = [
        {"role": "user", "content": "x"},
        {"role": "assistant", "content": "y"},
        {"role": "user", "content": [{}]},
    ]
    async with start(house) as running:
        for model in ("tiny", "triage"):
            reply = await running.client.post("/v1/chat/completions", json={"model": model, "messages": messages})
            assert reply.json()["error"]["param"] == "messages.2.content.0"
