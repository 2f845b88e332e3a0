"""The OpenAI API over the real engine: the official client's fields, and requests that mean harm."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
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


def constrained(**outputs: Any) -> dict[str, Any]:
    return {"structured_outputs": outputs}


def schema(value: Any) -> dict[str, Any]:
    return {"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}}


def tool(parameters: Any) -> dict[str, Any]:
    return {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": parameters}}],
        "tool_choice": "required",
    }


SCHEMA, PARAMETERS = "response_format.json_schema.schema", "tools.0.function.parameters"
HOSTILE: list[tuple[dict[str, Any], str | None]] = [
    ({"logit_bias": {"99999999": 5}}, "logit_bias"),
    ({"logit_bias": {"-1": 5}}, "logit_bias"),
    ({"logit_bias": {"a": 5}}, "logit_bias"),
    ({"stop_token_ids": [10**9]}, "stop_token_ids"),
    ({"allowed_token_ids": [10**9]}, "allowed_token_ids"),
    ({"bad_words": ["x" * 5000]}, None),
    ({"seed": 10**30}, "seed"),
    ({"seed": -1}, None),
    ({"temperature": 1e308}, "temperature"),
    ({"temperature": -1}, "temperature"),
    ({"top_p": 0}, "top_p"),
    ({"top_k": 2**64}, "top_k"),
    ({"top_k": 2**31 - 1}, None),
    ({"min_p": 5}, "min_p"),
    ({"repetition_penalty": 1e-30}, None),
    ({"presence_penalty": 1e30}, "presence_penalty"),
    ({"max_tokens": 10**12}, "max_tokens"),
    ({"min_tokens": 10**6}, "min_tokens"),
    ({"logprobs": True, "top_logprobs": 10**6}, "logprobs"),
    ({"stop": ["\x00"]}, None),
    ({"stop": [""]}, "stop"),
    ({"priority": 5}, "priority"),
    ({"n": 1000}, "n"),
    ({"n": 10**6}, "n"),
    ({"repetition_detection": {"max_pattern_size": 2**64}}, "repetition_detection"),
    (schema({"type": "nonsense"}), SCHEMA),
    (schema({"$ref": "#"}), SCHEMA),
    (schema({"type": "array", "uniqueItems": True}), f"{SCHEMA}.uniqueItems"),
    (schema({"enum": list(range(16_000))}), SCHEMA),
    ({"response_format": {"type": "structural_tag", "format": {"type": "nonsense"}}}, "response_format"),
    ({"structured_outputs": []}, "structured_outputs"),
    (constrained(regex="((((((a+)+)+)+)+)+)+$" + "(" * 50), "structured_outputs.regex"),
    (constrained(regex="(a{1,500}){1,500}{1,50}"), "structured_outputs.regex"),
    (constrained(grammar="root ::= root"), "structured_outputs.grammar"),
    (constrained(grammar="root ::= ("), "structured_outputs.grammar"),
    (constrained(choice=[""]), None),
    (constrained(json_object=False), "structured_outputs.json_object"),
    (constrained(structural_tag="{}"), "structured_outputs.structural_tag"),
    (tool({"$ref": "#/nowhere"}), f"{PARAMETERS}.$ref"),
    (tool({"enum": list(range(16_000))}), PARAMETERS),
    ({"tools": [{"type": "function"}]}, "tools.0.function"),
    ({"messages": [{"role": "assistant", "content": None, "tool_calls": [5]}]}, "messages.0.tool_calls.0"),
    ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]}, "messages"),
    ({"prompt_logprobs": 10**6}, "prompt_logprobs"),
    ({"chat_template": "{{ 1/0 }}"}, "chat_template"),
]
"""Fields, and the place that the refusal names; None for what is answered."""


@pytest.mark.parametrize(
    ("fields", "place"), HOSTILE, ids=lambda given: next(iter(given)) if isinstance(given, dict) else ""
)
def test_what_a_request_asks_wrongly_is_told_as_its_callers_fault_and_hurts_nobody(
    real: Any, fields: dict[str, Any], place: str | None
) -> None:
    prompt = ids(real, PROMPTS[0])
    with real.client() as client:
        for stream in (False, True):
            body = json.dumps({**chat("red", "hi", temperature=1), **fields, "stream": stream})
            headers = {"content-type": "application/json"}
            reply = client.post("/v1/chat/completions", content=body, headers=headers)
            if place is None:
                assert reply.status_code == 200, reply.text
                assert '"error"' not in reply.text
                continue
            error = reply.json()["error"]
            assert (reply.status_code, error["type"]) == (400, "invalid_request_error"), reply.text
            assert error["param"] is not None
            assert error["param"].startswith(place), error
            assert "retry-after" not in reply.headers
        same_as_peft(real, "red", prompt, complete(client, "red", prompt, 3), 3)
        ready = client.get("/ready")
        assert (ready.status_code, ready.json()["structured_output"]) == (200, "ok")


def test_what_answers_kept_to_is_counted(real: Any) -> None:
    with real.client() as client:
        body = {**chat("red", "hi", ignore_eos=False), **constrained(regex="[a-f]{3}")}
        for _ in range(2):
            assert re.fullmatch(
                "[a-f]{3}", client.post("/v1/chat/completions", json=body).json()["choices"][0]["message"]["content"]
            )
        page = client.get("/metrics").text
    assert "dabt_constraints_up 1.0" in page
    for outcome in ("passed", "remembered"):
        assert f'dabt_constraints_total{{outcome="{outcome}"}}' in page
    assert "dabt_constraint_compile_seconds_count" in page


@pytest.mark.parametrize("prompt", [[10**9], [-1], [], "", [[]], [1.5], [["a"]], {"a": 1}, ["x"] * 3000])
def test_no_prompt_hurts_the_engine(real: Any, prompt: Any) -> None:
    with real.client() as client:
        reply = client.post("/v1/completions", json={"model": "red", "prompt": prompt, "max_tokens": 2})
        assert reply.status_code in (200, 400, 503), reply.text
        same_as_peft(real, "red", ids(real, "a"), complete(client, "red", ids(real, "a"), 3), 3)


def test_more_than_the_queue_takes_is_told_when_to_come_back(real: Any) -> None:
    """A request that alone is more than it takes can never be answered, so nobody is told to come back with it."""
    body = {"model": "red", "prompt": "x", "n": 128, "max_tokens": 40, "temperature": 1, "ignore_eos": True}
    with real.client() as client, ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: client.post("/v1/completions", json=body), range(8)))
        refused = [reply for reply in replies if reply.status_code != 200]
        assert refused
        for reply in refused:
            assert (reply.status_code, reply.json()["error"]["code"]) == (503, "overloaded")
            assert int(reply.headers["retry-after"]) >= 1
        never = client.post("/v1/completions", json={**body, "prompt": ["x"] * 5})
    assert (never.status_code, never.json()["error"]["param"]) == (400, "n")
    assert "retry-after" not in never.headers


def test_models_can_be_listed_and_retrieved(sdk: openai.OpenAI) -> None:
    names = [model.id for model in sdk.models.list()]
    assert names[0] == "random-llama"
    assert set(ADAPTERS) < set(names)
    card: Any = sdk.models.retrieve("red")
    assert (card.id, card.parent, card.dabt["version"]) == ("red", "random-llama", "red:1")
