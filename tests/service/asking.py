"""How the real engine is asked, and held against PEFT, in the engine tests."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

ADAPTERS = ("red", "green", "blue", "grey")
PROMPTS = (
    "The clinic opens",
    "العيادة تفتح الساعة",
    '{"intent": "',
    "a",
    "The clinic opens at eight in the morning. العيادة تفتح الساعة الثامنة صباحاً. " * 6,
)
COUNT = 20


def ids(real: Any, text: str) -> list[int]:
    found: list[int] = real.reference.tokenizer(text)["input_ids"]
    return found


def complete(client: httpx.Client, model: str, prompt: list[int], count: int = COUNT) -> dict[str, Any]:
    body = {
        "model": model,
        "prompt": prompt,
        "max_tokens": count,
        "temperature": 0,
        "logprobs": 0,
        "ignore_eos": True,
        "return_token_ids": True,
    }
    reply = client.post("/v1/completions", json=body)
    assert reply.status_code == 200, reply.text
    choice: dict[str, Any] = reply.json()["choices"][0]
    return choice


def same_as_peft(real: Any, model: str | None, prompt: list[int], choice: dict[str, Any], count: int = COUNT) -> None:
    wanted = real.reference.greedy(model, prompt, count)
    assert choice["token_ids"] == list(wanted.tokens), model
    assert choice["logprobs"]["token_logprobs"] == pytest.approx(wanted.logprobs, abs=2e-3), model


def chat(model: str, text: str, **extra: Any) -> dict[str, Any]:
    body = {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 12, "temperature": 0}
    return {**body, "ignore_eos": True, "return_token_ids": True, **extra}
