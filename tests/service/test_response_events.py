"""What a response is made of, in the order of the API, whatever the order in which a model writes it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Iterable
from typing import Any

import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from service.openai.response_events import failed, written
from service.openai.response_request import DECIDED, to_chat
from service.openai.responses import whole

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
HEAD = {"id": "chatcmpl-7f", "created": 5, "model": "m", "dabt": {"version": "m", "digest": "d", "passages": []}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 4, "total_tokens": 7}


def call(index: int, arguments: str, name: str = "") -> dict[str, Any]:
    begun = {"id": f"call_{index}", "type": "function"} if name else {}
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"tool_calls": [{"index": index, **begun, "function": function}]}


async def events(deltas: Iterable[dict[str, Any]], finish: str = "stop") -> list[dict[str, Any]]:
    async def rest() -> AsyncGenerator[str, None]:
        for delta in deltas:
            yield chunk(delta)
        yield chunk({}, finish)
        yield f"data: {json.dumps({'choices': [], 'usage': USAGE})}\n\n"
        yield "data: [DONE]\n\n"

    def chunk(delta: dict[str, Any], finish: str | None = None) -> str:
        scores = {"content": delta["logprobs"]} if "logprobs" in delta else None
        choice = {"index": 0, "delta": delta, "logprobs": scores, "finish_reason": finish}
        return f"data: {json.dumps({'choices': [choice]})}\n\n"

    first = {**HEAD, "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}]}
    blocks = [block async for block in written({"tools": []}, f"data: {json.dumps(first)}\n\n", rest())]
    seen = [json.loads(block.split("data: ", 1)[1]) for block in blocks]
    for event in seen:
        EVENT.validate_python(event)
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    return seen


def told(seen: list[dict[str, Any]]) -> list[str]:
    """Kinds with the place of their item, each row of deltas once."""
    names = [f"{event['type'].removeprefix('response.')} {event.get('output_index', '')}".strip() for event in seen]
    return [name for at, name in enumerate(names) if at == 0 or names[at - 1] != name]


def check_whole(seen: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The response at the end is of the official type, and holds what the events of its items said."""
    made = seen[-1]["response"]
    TypeAdapter(Response).validate_python(made)
    output: list[dict[str, Any]] = made["output"]
    done = {event["output_index"]: event["item"] for event in seen if event["type"] == "response.output_item.done"}
    begun = {event["output_index"]: event["item"] for event in seen if event["type"] == "response.output_item.added"}
    assert [done[at] for at in range(len(output))] == output
    assert [item["id"] for item in output] == [begun[at]["id"] for at in range(len(output))]
    assert len({item["id"] for item in output}) == len(output)
    for event in seen:
        if "item_id" in event:
            assert event["item_id"] == output[event["output_index"]]["id"]
    return output


async def test_reasoning_text_and_calls_are_items_of_their_own_with_ids_of_their_kinds() -> None:
    deltas = [
        *({"reasoning": "Let me "}, {"reasoning": "see."}, {"content": "I "}, {"content": "book."}),
        *(call(0, "", "book"), call(0, '{"a":'), call(0, "1}"), call(1, "{}", "tell")),
    ]
    seen = await events(deltas, "tool_calls")
    output = check_whole(seen)
    assert [item["id"] for item in output] == ["rs_7f_0", "msg_7f_1", "fc_7f_2", "fc_7f_3"]
    assert output[0]["content"] == [{"type": "reasoning_text", "text": "Let me see."}]
    assert output[1]["content"][0]["text"] == "I book."
    assert [(item["call_id"], item["name"], item["arguments"]) for item in output[2:]] == [
        ("call_0", "book", '{"a":1}'),
        ("call_1", "tell", "{}"),
    ]
    assert told(seen) == [
        *("created", "in_progress"),
        *("output_item.added 0", "content_part.added 0", "reasoning_text.delta 0", "reasoning_text.done 0"),
        *("content_part.done 0", "output_item.done 0"),
        *("output_item.added 1", "content_part.added 1", "output_text.delta 1", "output_text.done 1"),
        *("content_part.done 1", "output_item.done 1"),
        *("output_item.added 2", "function_call_arguments.delta 2"),
        *("output_item.added 3", "function_call_arguments.delta 3"),
        *("function_call_arguments.done 2", "output_item.done 2"),
        *("function_call_arguments.done 3", "output_item.done 3", "completed"),
    ]


async def test_arguments_that_come_in_turns_reach_the_call_that_they_belong_to() -> None:
    deltas = [call(0, "", "a"), call(1, "", "b"), call(0, '{"x":'), call(1, '{"y":'), call(0, "1}"), call(1, "2}")]
    output = check_whole(await events(deltas, "tool_calls"))
    assert [(item["name"], item["arguments"]) for item in output] == [("a", '{"x":1}'), ("b", '{"y":2}')]


async def test_text_between_two_calls_is_a_message_of_its_own() -> None:
    deltas = [{"content": "one"}, call(0, "{}", "a"), {"content": "two"}, call(1, "{}", "b"), {"content": "three"}]
    output = check_whole(await events(deltas))
    assert [item["type"] for item in output] == ["message", "function_call"] * 2 + ["message"]
    assert [item["content"][0]["text"] for item in output if item["type"] == "message"] == ["one", "two", "three"]


@pytest.mark.parametrize(
    "deltas", [[], [{"content": "a"}], [{"reasoning": "a"}], [{"content": "a"}, call(0, "{", "f")]]
)
async def test_only_the_last_item_of_an_answer_that_was_cut_off_is_incomplete(deltas: list[dict[str, Any]]) -> None:
    seen = await events(deltas, "length")
    output = check_whole(seen)
    assert (seen[-1]["type"], seen[-1]["response"]["incomplete_details"]) == (
        "response.incomplete",
        {"reason": "max_output_tokens"},
    )
    assert [item["status"] for item in output] == ["completed"] * (len(output) - 1) + ["incomplete"]


async def test_a_stream_says_what_the_whole_answer_says() -> None:
    deltas = [{"reasoning": "hm"}, {"content": "so"}, call(0, "{}", "f")]
    output = check_whole(await events(deltas, "length"))
    function = {"name": "f", "arguments": "{}"}
    message = {"content": "so", "reasoning": "hm", "tool_calls": [{"id": "call_0", "function": function}]}
    choice = {"index": 0, "message": message, "finish_reason": "length", "logprobs": None}
    made = whole({}, {**HEAD, "choices": [choice], "usage": USAGE})
    TypeAdapter(Response).validate_python(made)
    assert made["output"] == output


async def test_log_probabilities_of_half_a_character_are_the_messages_and_never_a_thoughts() -> None:
    async def said(*deltas: dict[str, Any]) -> list[str]:
        return [item["type"] for item in check_whole(await events(deltas))]

    half = {"content": "", "logprobs": [{"token": "x", "logprob": -1.0, "bytes": [216], "top_logprobs": []}]}
    assert await said(half, {"content": "أ"}) == ["message"]
    assert await said({"reasoning": "a"}, half) == ["reasoning"]
    assert await said(call(0, "{}", "f"), half) == ["function_call"]


def test_a_stream_that_fails_before_it_begins_is_one_error_event() -> None:
    error = {"code": "overloaded", "message": "later", "param": None, "type": "service_unavailable_error"}
    name, data = failed(error).rstrip().split("\n")
    assert name == "event: error"
    event = json.loads(data.removeprefix("data: "))
    EVENT.validate_python(event)
    assert (event["code"], event["sequence_number"], event["error"]) == ("overloaded", 0, error)


def test_a_models_own_reasoning_goes_back_into_the_turn_that_it_led_to() -> None:
    thought = {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}
    asked = [
        {"role": "user", "content": "hi"},
        thought,
        {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c", "output": "done"},
        thought,
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "so"}]},
        {"type": "reasoning", "id": "rs_2", "summary": [], "encrypted_content": "gAAA"},
        {"role": "user", "content": "and?"},
    ]
    messages = to_chat({"model": "m", "input": asked})["messages"]
    assert [(message["role"], message["content"], message.get("reasoning", "")) for message in messages] == [
        *(("user", "hi", ""), ("assistant", None, "hm"), ("tool", "done", "")),
        *(("assistant", "so", "hm"), ("user", "and?", "")),
    ]
    assert [len(message.get("tool_calls", ())) for message in messages] == [0, 1, 0, 0, 0]


def test_every_field_of_vllms_responses_has_a_decision() -> None:
    from vllm.entrypoints.openai.responses.protocol import ResponsesRequest

    assert set(ResponsesRequest.model_fields) - DECIDED == set()
