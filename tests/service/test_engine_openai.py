"""The OpenAI API over the real engine: the official client's fields, and requests that mean harm."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest

from tests.service.asking import ADAPTERS, PROMPTS, chat, complete, ids, same_as_peft

pytestmark = [pytest.mark.engine, pytest.mark.timeout(900)]


@pytest.fixture
def sdk(real: Any) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{real.url}/v1", api_key="none", max_retries=0, timeout=120)


def test_the_official_client_streams_what_it_gets_whole(real: Any, sdk: openai.OpenAI) -> None:
    for model in ("random-llama", "red"):
        messages: Any = [{"role": "user", "content": PROMPTS[1]}]
        whole = sdk.chat.completions.create(model=model, messages=messages, max_tokens=24, temperature=0, n=1)
        stream = sdk.chat.completions.create(
            model=model,
            messages=messages,
            max_tokens=24,
            temperature=0,
            stream=True,
            stream_options={"include_usage": True},
        )
        chunks = list(stream)
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == whole.choices[0].message.content
        assert chunks[-1].usage == whole.usage
        assert whole.model == model
        first: Any = chunks[0]
        assert first.dabt["version"] == ("random-llama" if model == "random-llama" else "red:1")


ARABIC = "العيادة مفتوحة، أهلاً وسهلاً"


def test_arabic_comes_through_a_stream_whole(sdk: openai.OpenAI) -> None:
    """A character of two bytes is often two tokens: no half of one may reach a chunk."""
    messages: Any = [{"role": "user", "content": "مرحبا"}]
    extra = {"structured_outputs": {"choice": [ARABIC]}}
    chunks = list(
        sdk.chat.completions.create(model="red", messages=messages, max_tokens=100, stream=True, extra_body=extra)
    )
    pieces = [chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices]
    assert "".join(pieces) == ARABIC
    assert not any("\N{REPLACEMENT CHARACTER}" in piece for piece in pieces)
    assert len([piece for piece in pieces if piece]) > 5


def test_json_schema_output_keeps_to_the_schema(sdk: openai.OpenAI) -> None:
    schema = {
        "type": "object",
        "properties": {"urgent": {"type": "boolean"}, "floor": {"enum": ["الأول", "second"]}},
        "required": ["urgent", "floor"],
        "additionalProperties": False,
    }
    response_format: Any = {"type": "json_schema", "json_schema": {"name": "x", "schema": schema, "strict": True}}
    reply = sdk.chat.completions.create(
        model="blue", messages=[{"role": "user", "content": "x"}], max_tokens=100, response_format=response_format
    )
    value = json.loads(reply.choices[0].message.content or "")
    assert set(value) == {"urgent", "floor"}
    assert value["floor"] in ("الأول", "second")


def test_the_fields_that_clients_use_do_what_they_say(sdk: openai.OpenAI, real: Any) -> None:
    messages: Any = [{"role": "user", "content": "The clinic"}]

    def ask(**fields: Any) -> Any:
        return sdk.chat.completions.create(model="red", messages=messages, max_tokens=16, **fields)

    twice = [[choice.message.content for choice in ask(n=3, seed=11, temperature=1).choices] for _ in range(2)]
    assert twice[0] == twice[1], "a seed repeats the answer"
    assert len(set(twice[0])) > 1, "several choices are several samples"
    token = ids(real, "a")[0]
    biased = ask(temperature=0, logit_bias={str(token): 100})
    assert set(biased.choices[0].message.content) == {"a"}
    stopped = ask(temperature=0, logit_bias={str(token): 100}, stop=["aaaa"])
    assert (stopped.choices[0].message.content, stopped.choices[0].finish_reason) == ("", "stop")
    scored = ask(temperature=0, logprobs=True, top_logprobs=2)
    assert all(len(one.top_logprobs) == 2 for one in scored.choices[0].logprobs.content)


def test_errors_reach_the_official_client_as_its_own_kinds(sdk: openai.OpenAI) -> None:
    messages: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(openai.NotFoundError, match="there is no model 'nobody'"):
        sdk.chat.completions.create(model="nobody", messages=messages)
    with pytest.raises(openai.PermissionDeniedError, match="x-dabt-purpose"):
        sdk.chat.completions.create(model="red:1", messages=messages)
    with pytest.raises(openai.BadRequestError, match="512") as caught:
        sdk.chat.completions.create(model="red", messages=[{"role": "user", "content": "x y " * 2000}])
    assert (caught.value.code, caught.value.param) == ("context_length_exceeded", "messages")
    with pytest.raises(openai.BadRequestError) as caught:
        sdk.chat.completions.create(model="red", messages=messages, temperature="hot")  # type: ignore[arg-type]
    assert caught.value.param == "temperature"
    for stream in (False, True):
        with pytest.raises(openai.BadRequestError):
            sdk.chat.completions.create(model="red", messages=messages, n=0, stream=stream)


HOSTILE: list[dict[str, Any]] = [
    {"logit_bias": {"99999999": 5}},
    {"logit_bias": {"-1": 5}},
    {"logit_bias": {"a": 5}},
    {"stop_token_ids": [10**9]},
    {"allowed_token_ids": [10**9]},
    {"bad_words": ["x" * 5000]},
    {"seed": 10**30},
    {"seed": -1},
    {"temperature": 1e308},
    {"temperature": -1},
    {"top_p": 0},
    {"top_k": 10**9},
    {"min_p": 5},
    {"repetition_penalty": 1e-30},
    {"presence_penalty": 1e30},
    {"max_tokens": 10**12},
    {"min_tokens": 10**6},
    {"logprobs": True, "top_logprobs": 10**6},
    {"prompt_logprobs": 10**6},
    {"stop": ["\x00", "\ud800"]},
    {"stop": [""]},
    {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nonsense"}}}},
    {"structured_outputs": {"regex": "((((((a+)+)+)+)+)+)+$" + "(" * 50}},
    {"structured_outputs": {"grammar": "root ::= root"}},
    {"chat_template": "{{ 1/0 }}"},
    {"tools": [{"type": "function"}]},
    {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1/x"}}]}]},
    {"messages": [{"role": "assistant", "content": None, "tool_calls": [5]}]},
    {"n": 10**6},
]


@pytest.mark.parametrize("fields", HOSTILE, ids=lambda fields: next(iter(fields)))
def test_no_request_whatever_it_asks_hurts_the_engine(real: Any, fields: dict[str, Any]) -> None:
    prompt = ids(real, PROMPTS[0])
    with real.client() as client:
        for stream in (False, True):
            body = json.dumps({**chat("red", "hi", temperature=1), **fields, "stream": stream})
            headers = {"content-type": "application/json"}
            reply = client.post("/v1/chat/completions", content=body, headers=headers)
            assert reply.status_code in (200, 400, 503), reply.text
            if reply.status_code != 200:
                assert reply.json()["error"]["message"]
        same_as_peft(real, "red", prompt, complete(client, "red", prompt, 3), 3)
        assert client.get("/ready").status_code == 200


@pytest.mark.parametrize("prompt", [[10**9], [-1], [], "", [[]], [1.5], [["a"]], {"a": 1}, ["x"] * 3000])
def test_no_prompt_hurts_the_engine(real: Any, prompt: Any) -> None:
    with real.client() as client:
        reply = client.post("/v1/completions", json={"model": "red", "prompt": prompt, "max_tokens": 2})
        assert reply.status_code in (200, 400, 503), reply.text
        same_as_peft(real, "red", ids(real, "a"), complete(client, "red", ids(real, "a"), 3), 3)


def test_more_than_the_queue_takes_is_told_when_to_come_back(real: Any) -> None:
    with real.client() as client:
        reply = client.post("/v1/chat/completions", json=chat("red", "x", n=600, temperature=1))
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "overloaded")
    assert int(reply.headers["retry-after"]) >= 1


def test_models_can_be_listed_and_retrieved(sdk: openai.OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert names[0] == "random-llama"
    assert set(ADAPTERS) < set(names)
    card: Any = sdk.models.retrieve("red")
    assert (card.id, card.parent, card.dabt["version"]) == ("red", "random-llama", "red:1")
