"""The rest of the OpenAI API over the real engine, streamed and whole, through the base and through versions."""

from __future__ import annotations

import json
import socket
from contextlib import suppress
from typing import Any

import httpx
import openai
import pytest
from openai.types.responses import Response, ResponseStreamEvent
from pydantic import TypeAdapter

from tests.service import node_client
from tests.service.asking import PROMPTS, chat, ids

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]

MODELS = ("random-llama", "red")
SAID: Any = [{"role": "user", "content": "The clinic"}]


@pytest.fixture
def sdk(real: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real.url}/v1", api_key="none", max_retries=0, timeout=120)


def streamed_chat(sdk: openai.OpenAI, **fields: Any) -> tuple[dict[int, str], dict[int, str], list[Any]]:
    """Text and finish reason by choice, and the chunks."""
    texts: dict[int, str] = {}
    reasons: dict[int, str] = {}
    chunks = list(sdk.chat.completions.create(stream=True, **fields))
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] = texts.get(choice.index, "") + (choice.delta.content or "")
        reasons[choice.index] = choice.finish_reason or reasons.get(choice.index, "")
    return texts, reasons, chunks


@pytest.mark.parametrize("model", MODELS)
def test_chat_fields_mean_the_same_streamed_and_whole(real: Any, sdk: openai.OpenAI, model: str) -> None:
    bias = {str(ids(real, "a")[0]): 100}
    for fields in (
        {"n": 3, "seed": 11, "temperature": 1.0},
        {"temperature": 0, "logit_bias": bias, "stop": ["aaaa"]},
        {"temperature": 0, "logprobs": True, "top_logprobs": 3},
        {"temperature": 0, "response_format": {"type": "json_object"}},
        {"temperature": 0, "presence_penalty": 1.0, "frequency_penalty": 1.0, "top_p": 0.5},
    ):
        asked: Any = {"model": model, "messages": SAID, "max_tokens": 16, **fields}
        whole = sdk.chat.completions.create(**asked)
        texts, reasons, chunks = streamed_chat(sdk, **asked, stream_options={"include_usage": True})
        assert texts == {choice.index: choice.message.content for choice in whole.choices}, fields
        assert reasons == {choice.index: choice.finish_reason for choice in whole.choices}, fields
        assert chunks[-1].usage == whole.usage
        if "logprobs" in fields:
            scored = [choice.logprobs for chunk in chunks for choice in chunk.choices if choice.logprobs]
            pieces = [one for logprobs in scored for one in logprobs.content or []]
            assert whole.choices[0].logprobs is not None
            told = whole.choices[0].logprobs.content or []
            assert [one.token for one in pieces] == [one.token for one in told]


def test_json_mode_begins_and_stays_json(sdk: openai.OpenAI) -> None:
    reply = sdk.chat.completions.create(
        model="green", messages=SAID, max_tokens=200, temperature=1, seed=3, response_format={"type": "json_object"}
    )
    text = reply.choices[0].message.content or ""
    assert text.lstrip().startswith("{")
    if reply.choices[0].finish_reason == "stop":
        assert isinstance(json.loads(text), dict)


@pytest.mark.parametrize("model", MODELS)
def test_completions_honour_echo_logprobs_n_stop_and_seed_streamed_and_whole(
    real: Any, sdk: openai.OpenAI, model: str
) -> None:
    bias = {str(ids(real, "a")[0]): 100}
    fields: Any
    for fields in (
        {"n": 2, "seed": 4, "temperature": 1.0},
        {"logit_bias": bias, "stop": "aaaa", "temperature": 0},
        {"echo": True, "temperature": 0},
        {"echo": True, "logprobs": 2, "temperature": 0},
        {"logprobs": 3, "temperature": 0},
        {"prompt": [PROMPTS[0], PROMPTS[3]], "temperature": 0},
    ):
        asked = {"model": model, "prompt": PROMPTS[0], "max_tokens": 8, **fields}
        whole = sdk.completions.create(**asked)
        texts: dict[int, str] = {}
        tokens: dict[int, list[str]] = {}
        usage = None
        for chunk in sdk.completions.create(stream=True, stream_options={"include_usage": True}, **asked):
            usage = chunk.usage or usage
            for choice in chunk.choices:
                texts[choice.index] = texts.get(choice.index, "") + choice.text
                if choice.logprobs:
                    tokens.setdefault(choice.index, []).extend(choice.logprobs.tokens or [])
        assert texts == {choice.index: choice.text for choice in whole.choices}, fields
        assert usage is not None
        assert usage.completion_tokens == whole.usage.completion_tokens
        for choice in whole.choices:
            if choice.logprobs:
                assert tokens[choice.index] == choice.logprobs.tokens, fields
            if "echo" in fields:
                assert choice.text.startswith(PROMPTS[0])


# -- tools ------------------------------------------------------------------------------------------------------------

BOOK: Any = {
    "type": "function",
    "function": {
        "name": "book",
        "description": "Book a visit.",
        "strict": True,
        "parameters": {
            "type": "object",
            "properties": {"urgent": {"type": "boolean"}},
            "required": ["urgent"],
            "additionalProperties": False,
        },
    },
}
CHOICES: list[Any] = ["required", {"type": "function", "function": {"name": "book"}}]


@pytest.mark.parametrize("choice", CHOICES, ids=["required", "named"])
@pytest.mark.parametrize("model", MODELS)
def test_a_required_call_is_made_with_arguments_of_its_schema(sdk: openai.OpenAI, model: str, choice: Any) -> None:
    asked: Any = {
        "model": model,
        "messages": SAID,
        "max_tokens": 120,
        "temperature": 0,
        "tools": [BOOK],
        "tool_choice": choice,
        "parallel_tool_calls": False,
    }
    whole = sdk.chat.completions.create(**asked)
    (call,) = whole.choices[0].message.tool_calls or []
    assert call.function.name == "book"
    assert set(json.loads(call.function.arguments)) == {"urgent"}
    name, arguments = "", ""
    for chunk in sdk.chat.completions.create(stream=True, **asked):
        for delta in (delta for one in chunk.choices for delta in one.delta.tool_calls or []):
            assert delta.function is not None
            name += delta.function.name or ""
            arguments += delta.function.arguments or ""
    assert name == "book"
    assert json.loads(arguments) == json.loads(call.function.arguments)


def test_a_call_and_its_result_can_be_sent_back(sdk: openai.OpenAI) -> None:
    call = {"id": "call_1", "type": "function", "function": {"name": "book", "arguments": '{"urgent": true}'}}
    messages: Any = [
        *SAID,
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": "at nine"},
    ]
    for choice in ("auto", "none"):
        reply = sdk.chat.completions.create(
            model="red", messages=messages, max_tokens=8, tools=[BOOK], tool_choice=choice
        )
        assert reply.usage is not None
        assert reply.usage.completion_tokens > 0


def test_tools_reach_the_model(sdk: openai.OpenAI) -> None:
    """The prompt grows by them: a template that left them out would not be noticed otherwise."""
    plain = sdk.chat.completions.create(model="red", messages=SAID, max_tokens=1)
    tools = sdk.chat.completions.create(model="red", messages=SAID, max_tokens=1, tools=[BOOK], tool_choice="auto")
    assert plain.usage is not None
    assert tools.usage is not None
    assert tools.usage.prompt_tokens > plain.usage.prompt_tokens + 20


# -- responses --------------------------------------------------------------------------------------------------------

EVENT: TypeAdapter[Any] = TypeAdapter(ResponseStreamEvent)
SCHEMA = {
    "type": "object",
    "properties": {"urgent": {"type": "boolean"}},
    "required": ["urgent"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"instructions": "Be short.", "include": ["message.output_text.logprobs"], "top_logprobs": 2},
        {"text": {"format": {"type": "json_schema", "name": "x", "schema": SCHEMA, "strict": True}}},
        {"tools": [{"type": "function", **BOOK["function"]}], "tool_choice": "required", "parallel_tool_calls": False},
    ],
    ids=["plain", "logprobs", "schema", "tools"],
)
def test_responses_say_what_chat_says_in_the_official_types(real: Any, model: str, fields: dict[str, Any]) -> None:
    body = {"model": model, "input": "The clinic", "max_output_tokens": 80, "temperature": 0, **fields}
    with real.client() as client:
        reply = client.post("/v1/responses", json=body)
        assert reply.status_code == 200, reply.text
        whole = reply.json()
        stream = client.post("/v1/responses", json={**body, "stream": True}).text
    TypeAdapter(Response).validate_python(whole)
    events = [json.loads(block.split("\ndata: ")[1]) for block in stream.split("\n\n") if block]
    for event in events:
        EVENT.validate_python(event)
    last = events[-1]["response"]
    assert events[-1]["type"] == f"response.{whole['status']}"
    for made in (whole, last):
        for item in made["output"]:
            for name in ("id", "call_id"):
                item.pop(name, None)
            if "arguments" in item:
                item["arguments"] = json.loads(item["arguments"])  # with other spaces when it is told whole
    assert last["output"] == whole["output"]
    assert last["usage"] == whole["usage"]
    (item,) = whole["output"]
    if "text" in fields:
        assert set(json.loads(item["content"][0]["text"])) == {"urgent"}
    elif "tools" in fields:
        assert (item["type"], set(item["arguments"])) == ("function_call", {"urgent"})
    elif "include" in fields:
        assert len(item["content"][0]["logprobs"]) == whole["usage"]["output_tokens"]
    else:
        asked = {"model": model, "messages": SAID, "max_tokens": 80, "temperature": 0}
        with real.client() as client:
            same = client.post("/v1/chat/completions", json=asked).json()
        assert item["content"][0]["text"] == same["choices"][0]["message"]["content"]


# -- limits, tokens, clients ------------------------------------------------------------------------------------------


def test_a_prompt_over_the_limit_is_told_so_where_it_was_written(real: Any) -> None:
    long = "x y " * 2000
    asked = [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": long}]}, "messages"),
        ("/v1/completions", {"prompt": long}, "prompt"),
        ("/v1/completions", {"prompt": [5] * 600}, "prompt"),
        ("/v1/responses", {"input": long}, "input"),
    ]
    with real.client() as client:
        for route, body, param in asked:
            for stream in (False, True):
                reply = client.post(route, json={"model": "red", "stream": stream, **body})
                error = reply.json()["error"]
                assert (reply.status_code, error["code"], error["param"]) == (400, "context_length_exceeded", param)
                assert "512" in error["message"]


def test_tokenize_and_detokenize_are_the_bases_tokenizer(real: Any) -> None:
    with real.client() as client:
        for text in PROMPTS:
            made = client.post("/tokenize", json={"prompt": text}).json()
            assert made["tokens"] == ids(real, text)
            assert client.post("/detokenize", json={"tokens": made["tokens"]}).json()["prompt"] == text
        for path, body in (
            ("/tokenize", {}),
            ("/tokenize", {"prompt": 5}),
            ("/tokenize", {"messages": "x"}),
            ("/detokenize", {"tokens": "x"}),
            ("/detokenize", {"tokens": [10**9]}),
            ("/detokenize", {"tokens": [-1]}),
        ):
            reply = client.post(path, json=body)
            assert reply.status_code == 400, (path, body, reply.text)
            assert reply.json()["error"]["message"]


def test_a_client_that_leaves_frees_its_place_in_the_engine(real: Any) -> None:
    def running(client: httpx.Client) -> float:
        page = client.get("/metrics").text
        (line,) = [line for line in page.splitlines() if line.startswith("vllm:num_requests_running{")]
        return float(line.rsplit(" ", 1)[1])

    body = chat("red", "hello", max_tokens=400, stream=True)
    with real.client() as client:
        for route, asked in (
            ("/v1/chat/completions", body),
            ("/v1/responses", {"model": "red", "input": "x", "stream": True, "ignore_eos": True}),
        ):
            with client.stream("POST", route, json=asked) as reply:
                next(reply.iter_lines())
            while running(client) > 0:
                pass
            assert real.app.state.parts.residency.leases() == 0


def test_a_client_that_leaves_a_whole_answer_is_counted_as_gone_and_leaves_no_error(real: Any, caplog: Any) -> None:
    """vLLM turns the end of its task into an error answer of its own."""
    routes = {
        "/v1/chat/completions": {"messages": [{"role": "user", "content": "x"}], "max_tokens": 400},
        "/v1/completions": {"prompt": "x", "max_tokens": 400},
        "/v1/responses": {"input": "x", "max_output_tokens": 400},
    }
    with real.client() as client:

        def count(name: str) -> float:
            lines = [line for line in client.get("/metrics").text.splitlines() if line.startswith(name)]
            return sum(float(line.rsplit(" ", 1)[1]) for line in lines)

        gone = 'dabt_request_errors_total{code="disconnected",version="red:1"}'
        wrong = 'dabt_request_errors_total{code="invalid_input",version="red:1"}'
        left, refused = count(gone), count(wrong)
        for route, asked in routes.items():
            body = json.dumps({"model": "red", **asked, "ignore_eos": True})
            head = f"POST {route} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json"
            head += f"\r\ncontent-length: {len(body)}"
            with socket.create_connection(("127.0.0.1", int(real.url.rsplit(":", 1)[1]))) as line:
                line.sendall(f"{head}\r\n\r\n{body}".encode())
                line.setblocking(False)
                while count("dabt_requests_in_flight ") == 0:
                    with suppress(BlockingIOError):
                        raise AssertionError(line.recv(2000).decode())  # it was answered before it was seen
            while count("dabt_requests_in_flight ") > 0:
                pass
        assert count(gone) == left + len(routes)
        assert count(wrong) == refused
    assert not [record for record in caplog.records if record.exc_info or record.levelname == "ERROR"]


def test_the_official_node_client_gets_what_it_asks_for(real: Any) -> None:
    embedder = "all-MiniLM-L6-v2"
    said = node_client.ask(real.url, "red", embedder)
    node_client.check(said, "red", embedder, 384)
    assert said["card"]["dabt"]["version"] == "red:1"
    assert said["card"]["max_model_len"] == 512
