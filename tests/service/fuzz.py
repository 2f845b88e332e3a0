"""Requests that are nearly right: bodies that work, with some of their values replaced, dropped or added at random."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

from service.openai.allowed_fields import HARMLESS, TABLES

FUNCTION = {"name": "book", "parameters": {"type": "object", "properties": {"urgent": {"type": "boolean"}}}}
SCHEMA = {"type": "json_schema", "json_schema": {"name": "x", "schema": FUNCTION["parameters"]}}
CALL = {"id": "c1", "type": "function", "function": {"name": "book", "arguments": "{}"}}
TURNS = [
    {"role": "system", "content": "Be short."},
    {"role": "user", "content": [{"type": "text", "text": "مرحبا"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "at nine"},
    {"role": "user", "content": "x"},
]
ITEMS = [
    {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "x"}]},
    {"type": "function_call", "call_id": "c1", "name": "book", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "at nine"},
]
BODIES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/chat/completions", {"messages": TURNS, "max_tokens": 3, "n": 1, "temperature": 0.5, "stop": ["x"]}),
    ("/v1/chat/completions", {"messages": TURNS, "max_tokens": 3, "response_format": SCHEMA, "stream": True}),
    ("/v1/chat/completions", {"messages": TURNS[4:], "max_tokens": 3, "logprobs": True, "top_logprobs": 2}),
    ("/v1/completions", {"prompt": ["x", "y"], "max_tokens": 3, "echo": True, "logprobs": 1}),
    ("/v1/completions", {"prompt": [[1, 2], [3]], "max_tokens": 3, "logit_bias": {"5": 1}}),
    ("/v1/responses", {"input": ITEMS, "max_output_tokens": 3, "text": {"format": {"type": "json_object"}}}),
    ("/v1/responses", {"input": "x", "max_output_tokens": 3, "stream": True, "instructions": "y"}),
    ("/v1/embeddings", {"input": ["x"], "encoding_format": "float"}),
    ("/tokenize", {"messages": TURNS}),
    ("/tokenize", {"prompt": "x"}),
    ("/detokenize", {"tokens": [65, 66]}),
)
JUNK: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, -(2**64), 10**300, 0.5, 1e308, -0.0, "", "x", "5", "auto"),
    *(
        "\x00",
        "\ufdd0",
        "x" * 5000,
        "العيادة",
        [],
        {},
        [None],
        [[]],
        [[[]]],
        ["x"],
        [1],
        [1.5],
        [{}],
        {"a": 1},
        {"": None},
    ),
    *({"type": "x"}, {"type": "text", "text": 5}, {"type": "image_url", "image_url": {"url": "http://127.0.0.1/"}}),
    *(
        [{}] * 300,
        ["x"] * 300,
        list(range(300)),
        {str(at): at for at in range(300)},
        {"function": {}},
        [5, "x"],
        {"": None},
    ),
)
NAMES = sorted(TABLES["chat"].decided | TABLES["completion"].decided | HARMLESS | {"reasoning", "text", "include"})


def requests(seed: int, count: int, models: tuple[str, ...]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Route and body of each."""
    source = Random(seed)
    for _ in range(count):
        route, given = source.choice(BODIES)
        body = {"model": source.choice(models), **copy.deepcopy(given)}
        for _ in range(source.choice([1, 1, 2, 3])):
            _change(source, body)
        yield route, body


def _change(source: Random, body: dict[str, Any]) -> None:
    if source.random() < 0.4:
        body[source.choice(NAMES)] = copy.deepcopy(source.choice(JUNK))
        return
    value: Any = body
    while True:
        keys = list(value) if isinstance(value, dict) else list(range(len(value)))
        if not keys:
            return
        key = source.choice(keys)
        if isinstance(value[key], dict | list) and value[key] and source.random() < 0.7:
            value = value[key]
        elif source.random() < 0.2:
            del value[key]
            return
        else:
            value[key] = copy.deepcopy(source.choice(JUNK))
            return


def is_a_place_in(body: dict[str, Any], param: str | None) -> bool:
    """Whether a caller finds `param` in what he sent, or sees what is missing there."""
    if param is None:
        return True
    keys, value = param.split("."), body
    for at, key in enumerate(keys):
        if isinstance(value, dict) and key in value:
            value = value[key]
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return at == len(keys) - 1
    return True
