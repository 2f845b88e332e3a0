"""`/v1/responses`: what it asks of a chat model, what it makes of the answer, and what it refuses."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, get_args

import httpx
import openai
import pytest
from hypothesis import given, seed, settings
from hypothesis import strategies as st
from openai.types.responses import Response, ResponseIncludable, ResponseStreamEvent
from pydantic import TypeAdapter, ValidationError

from lifecycle.errors import InvalidInput
from service.openai.messages import check_messages
from service.openai.response_request import to_chat

pytestmark = pytest.mark.timeout(300)

TOOL = {"type": "function", "name": "book", "description": "Book a visit.", "parameters": {"type": "object"}}
KEYS = [
    *("input", "instructions", "text", "format", "type", "schema", "tools", "tool_choice", "include", "top_logprobs"),
    *("reasoning", "effort", "role", "content", "output", "call_id", "name", "arguments", "store", "n", "stream"),
]
EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)


@asynccontextmanager
async def sdk(running: Any) -> AsyncIterator[openai.AsyncOpenAI]:
    transport = httpx.ASGITransport(app=running.app, client=("127.0.0.1", 50000))
    async with (
        httpx.AsyncClient(transport=transport) as client,
        openai.AsyncOpenAI(base_url="http://service/v1", api_key="none", max_retries=0, http_client=client) as made,
    ):
        yield made


def events(text: str) -> list[dict[str, Any]]:
    """The events of a stream, each with the name that stood before it."""
    found = []
    for block in text.split("\n\n"):
        if block:
            name, data = block.split("\n")
            body = json.loads(data.removeprefix("data: "))
            assert name == f"event: {body['type']}"
            found.append(body)
    return found


def strictly(kind: Any, value: Any) -> None:
    """As the official client's own types have it, and not only as its parser lets pass."""
    try:
        (kind if isinstance(kind, TypeAdapter) else TypeAdapter(kind)).validate_python(value)
    except ValidationError as error:
        raise AssertionError(f"{value}\n{error}") from error


async def test_an_answer_is_what_the_chat_api_answers(house: Any, start: Any) -> None:
    house.adapter("one")
    version = house.prod("triage", adapter="one", prompt={"system": "Answer."})
    async with start(house) as running, sdk(running) as client:
        chat = await client.chat.completions.create(model="triage", messages=[{"role": "user", "content": "صداع"}])
        made: Any = await client.responses.create(model="triage", input="صداع", metadata={"desk": "3"})
        page = (await running.client.get("/metrics")).text
    assert made.output_text == chat.choices[0].message.content
    assert (made.usage.input_tokens, made.usage.output_tokens) == (
        chat.usage.prompt_tokens,
        chat.usage.completion_tokens,
    )  # type: ignore[union-attr]
    assert (made.model, made.status, made.store, made.metadata) == ("triage", "completed", False, {"desk": "3"})
    assert made.dabt == {"version": "triage:1", "digest": version.digest, "passages": []}
    assert 'dabt_requests_total{endpoint="response",version="triage:1"} 1.0' in page


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"instructions": "Be short.", "temperature": 0.5, "top_p": 0.9, "user": "u", "max_output_tokens": 3},
        {"tools": [TOOL], "tool_choice": "required"},
        {"tools": [TOOL], "tool_choice": {"type": "function", "name": "book"}, "parallel_tool_calls": False},
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}}},
        {"metadata": {"a": "b"}, "reasoning": {"effort": "low"}, "store": False, "truncation": "disabled"},
    ],
)
async def test_whole_and_streamed_are_of_the_official_types_and_say_the_same(
    house: Any, start: Any, extra: dict[str, Any]
) -> None:
    async with start(house) as running:
        body = {"model": "tiny", "input": "hello", **extra}
        whole = (await running.client.post("/v1/responses", json=body)).json()
        stream = await running.client.post("/v1/responses", json={**body, "stream": True})
    strictly(Response, whole)
    seen = events(stream.text)
    for event in seen:
        strictly(EVENT, event)
    assert [event["sequence_number"] for event in seen] == list(range(len(seen)))
    last = seen[-1]
    assert last["type"] == f"response.{whole['status']}"
    strange = ("id", "dabt")
    for item in (*whole["output"], *last["response"]["output"]):
        item.pop("id")
    assert {k: v for k, v in last["response"].items() if k not in strange} == {
        k: v for k, v in whole.items() if k not in strange
    }
    assert seen[0]["response"]["dabt"] == whole["dabt"]
    assert stream.headers["content-type"].startswith("text/event-stream")


async def test_the_events_come_in_the_order_that_clients_wait_for(house: Any, start: Any) -> None:
    async with start(house) as running:
        text = await running.client.post("/v1/responses", json={"model": "tiny", "input": "x", "stream": True})
        body = {"model": "tiny", "input": "x", "stream": True, "tools": [TOOL], "tool_choice": "required"}
        call = await running.client.post("/v1/responses", json=body)

    def order(reply: Any) -> list[str]:
        names = [event["type"].removeprefix("response.") for event in events(reply.text)]
        return [name for at, name in enumerate(names) if name not in names[:at]]

    frame = ["created", "in_progress", "output_item.added"]
    assert order(text) == [
        *frame,
        *("content_part.added", "output_text.delta", "output_text.done", "content_part.done"),
        *("output_item.done", "completed"),
    ]
    parts = ("function_call_arguments.delta", "function_call_arguments.done")
    assert order(call) == [*frame, *parts, "output_item.done", "completed"]


async def test_the_official_client_reads_a_stream_and_its_accumulator_agrees(house: Any, start: Any) -> None:
    async with start(house) as running, sdk(running) as client:
        whole = await client.responses.create(model="tiny", input="hello")
        async with client.responses.stream(model="tiny", input="hello") as stream:
            pieces = [event.delta async for event in stream if event.type == "response.output_text.delta"]
            final = await stream.get_final_response()
    assert "".join(pieces) == final.output_text == whole.output_text
    assert len(pieces) > 1


async def test_an_answer_that_was_cut_off_says_so(house: Any, start: Any) -> None:
    async with start(house) as running, sdk(running) as client:
        made = await client.responses.create(model="tiny", input="hello", max_output_tokens=2)
    assert (made.status, made.incomplete_details.reason) == ("incomplete", "max_output_tokens")  # type: ignore[union-attr]
    assert made.output[0].status == "incomplete"  # type: ignore[union-attr]


async def test_a_stream_that_breaks_ends_with_the_error_that_the_official_client_raises(house: Any, start: Any) -> None:
    async with start(house) as running, sdk(running) as client:
        running.engine.faults.break_stream_after = 3
        stream = await client.responses.create(model="tiny", input="hello", stream=True)
        with pytest.raises(openai.APIError, match="stopped") as caught:
            async for _ in stream:
                pass
    assert (caught.value.code, caught.value.type) == ("engine_dead", "service_unavailable_error")


async def test_leaving_a_stream_frees_the_request_and_its_adapter(house: Any, start: Any) -> None:
    from service.openai.responses import answer
    from service.request_context import RequestContext

    house.adapter("one")
    house.prod("triage", adapter="one")
    async with start(house) as running:
        body = {"model": "triage", "input": "x", "stream": True}
        reply = await answer(running.app.state.service, body, RequestContext())
        assert running.app.state.parts.residency.leases() == 1
        await reply.events.aclose()  # type: ignore[union-attr]
        assert running.app.state.parts.residency.leases() == 0
        assert running.engine.active == set()


# -- the request ------------------------------------------------------------------------------------------------------


def test_a_conversation_with_calls_becomes_the_chat_messages_of_it() -> None:
    asked = [
        {"role": "user", "content": [{"type": "input_text", "text": "Book me in."}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Gladly."}]},
        {"type": "function_call", "call_id": "c1", "name": "book", "arguments": "{}"},
        {"type": "function_call", "call_id": "c2", "name": "book", "arguments": "{}"},
        {"type": "reasoning", "summary": [], "id": "rs_1"},
        {"type": "function_call_output", "call_id": "c1", "output": "done"},
        {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "full"}]},
        {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
    ]
    chat = to_chat({"model": "m", "instructions": "Be kind.", "input": asked})
    call = {"type": "function", "function": {"name": "book", "arguments": "{}"}}
    assert chat["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Book me in."},
        {"role": "assistant", "content": "Gladly.", "tool_calls": [{"id": "c1", **call}, {"id": "c2", **call}]},
        {"role": "tool", "tool_call_id": "c1", "content": "done"},
        {"role": "tool", "tool_call_id": "c2", "content": "full"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
    ]


def test_fields_are_given_the_chat_apis_names() -> None:
    chat = to_chat(
        {
            "model": "m",
            "input": "x",
            "max_output_tokens": 7,
            "reasoning": {"effort": "low"},
            "tools": [TOOL],
            "tool_choice": {"type": "function", "name": "book"},
            "text": {"format": {"type": "json_object"}, "verbosity": "medium"},
            "include": ["message.output_text.logprobs"],
            "top_logprobs": 2,
            "seed": 5,
            "stream": True,
            "service_tier": "auto",
        }
    )
    function = {name: TOOL[name] for name in ("name", "description", "parameters")}
    assert chat == {
        "model": "m",
        "messages": [{"role": "user", "content": "x"}],
        "max_completion_tokens": 7,
        "reasoning_effort": "low",
        "tools": [{"type": "function", "function": function}],
        "tool_choice": {"type": "function", "function": {"name": "book"}},
        "response_format": {"type": "json_object"},
        "logprobs": True,
        "top_logprobs": 2,
        "seed": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    schema = {"type": "json_schema", "name": "x", "schema": {"type": "object"}, "strict": True}
    inner = {"name": "x", "schema": {"type": "object"}, "strict": True}
    chat = to_chat({"input": "x", "text": {"format": schema}})
    assert chat["response_format"] == {"type": "json_schema", "json_schema": inner}
    assert "tools" not in to_chat({"input": "x", "tools": [], "tool_choice": "auto"})


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"store": True}, "store"),
        ({"background": True}, "background"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"truncation": "auto"}, "truncation"),
        ({"max_tool_calls": 1}, "max_tool_calls"),
        ({"n": 2}, "n"),
        ({"include": ["reasoning.secrets"]}, "include"),
        ({"include": ["message.output_text.logprobs", 5]}, "include"),
        ({"include": "x"}, "include"),
        ({"tools": [{"type": "web_search"}]}, "tools.0.type"),
        ({"tools": [5]}, "tools.0.type"),
        ({"tools": {"a": 1}}, "tools"),
        ({"tools": [TOOL], "tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"text": "json"}, "text"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"instructions": ["a"]}, "instructions"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": ["x"]}, "input.0"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role"),
        ({"input": [{"role": "user"}]}, "input.0.content"),
        ({"input": [{"role": "user", "content": [5]}]}, "input.0.content.0.type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input.0.content.0.text"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input.0.content.0.type",
        ),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input.0"),
        ({"input": [{"type": "web_search_call"}]}, "input.0.type"),
        ({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}, "input.0.arguments"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input.0.call_id"),
        ({"input": [{"type": "function_call_output", "call_id": "c"}]}, "input.0.output"),
    ],
)
def test_what_cannot_be_honoured_is_refused_at_its_place(fields: dict[str, Any], place: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        to_chat({"model": "m", "input": "x", **fields})
    assert [problem.place for problem in caught.value.problems] == [place]


def test_all_that_openais_clients_ask_to_include_is_taken_and_log_probabilities_alone_are_added() -> None:
    logprobs = "message.output_text.logprobs"
    known = set(get_args(ResponseIncludable))
    assert logprobs in known
    assert "logprobs" not in to_chat({"input": "x", "include": sorted(known - {logprobs})})
    assert to_chat({"input": "x", "include": sorted(known)})["logprobs"] is True
    assert "include" not in to_chat({"input": "x", "include": ["reasoning.encrypted_content"]})


def test_all_faults_are_told_together() -> None:
    with pytest.raises(InvalidInput) as caught:
        to_chat({"store": True, "background": True, "input": [{"role": "robot", "content": 5}]})
    places = [problem.place for problem in caught.value.problems]
    assert places == ["store", "background", "input.0.role", "input.0.content"]


JSON = st.recursive(
    st.sampled_from(
        [None, True, False, 0, 7, 1.5, "", "x", "message", "function", "function_call", "user", "json_schema"]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


def test_no_body_whatever_it_holds_is_a_fault_of_ours() -> None:
    reached: Counter[str] = Counter()

    @seed(1)
    @settings(max_examples=300, deadline=None, database=None)
    @given(
        body=st.dictionaries(st.sampled_from(KEYS), JSON, max_size=8)
        | st.dictionaries(st.sampled_from(KEYS), JSON, max_size=1).map(lambda more: {"input": "word", **more})
    )
    def holds(body: dict[str, Any]) -> None:
        try:
            check_messages(to_chat(body))
            reached["taken"] += 1
        except InvalidInput as error:
            reached.update(str(problem.place).partition("[")[0].partition(".")[0] for problem in error.problems)

    holds()
    assert reached["taken"] >= 10, reached
    assert len(reached) >= 7, reached


@pytest.mark.parametrize(
    ("fields", "param", "code"),
    [
        ({"max_output_tokens": "many"}, "max_output_tokens", "invalid_input"),
        ({"input": "word " * 5000}, "input", "context_length_exceeded"),
    ],
)
async def test_faults_of_the_chat_request_are_told_at_the_place_where_the_caller_wrote_them(
    house: Any, start: Any, fields: dict[str, Any], param: str, code: str
) -> None:
    async with start(house) as running:
        for stream in (False, True):
            body = {"model": "tiny", "input": "x", "stream": stream, **fields}
            reply = await running.client.post("/v1/responses", json=body)
            error = reply.json()["error"]
            assert (reply.status_code, error["param"], error["code"]) == (400, param, code)


async def test_an_agent_that_asks_for_encrypted_reasoning_is_answered_without_it(house: Any, start: Any) -> None:
    """OpenAI's Agents SDK does so whenever it keeps no responses."""
    async with start(house) as running, sdk(running) as client:
        answer = await client.responses.create(
            model="tiny", input="x", store=False, include=["reasoning.encrypted_content"]
        )
        assert answer.output_text
        assert [item.type for item in answer.output] == ["message"]


async def test_a_response_cannot_be_fetched_later_and_that_is_said(house: Any, start: Any) -> None:
    async with start(house) as running, sdk(running) as client:
        for work in (client.responses.retrieve, client.responses.cancel, client.responses.delete):
            with pytest.raises(openai.NotFoundError, match="keeps no responses") as caught:
                await work("resp_1")
            assert (caught.value.param, caught.value.code) == ("response_id", "not_found")
        # As at OpenAI: an id in the path is 404, and this field of the body 400, which is what its clients look for.
        with pytest.raises(openai.BadRequestError, match="send the earlier items in input") as earlier:
            await client.responses.create(model="tiny", input="x", previous_response_id="resp_1")
        told = earlier.value
        assert (told.param, told.code) == ("previous_response_id", "previous_response_not_found")
