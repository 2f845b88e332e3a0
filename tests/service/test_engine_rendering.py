"""On the real engine a short text is the same tokens whichever way it became them."""

from __future__ import annotations

from typing import Any

import pytest

from service.engine.vllm.rendering import SHORT
from tests.service.asking import chat

pytestmark = [pytest.mark.engine, pytest.mark.timeout(300)]

TEXTS = ("hello", "مرحباً، أين العيادة؟", "a\n\n b\t", "👩🏽‍⚕️", "x" * 400)


@pytest.fixture
def at_once(real: Any, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was rendered without threads, as it comes."""
    renderer, rendered = real.engine._llm.renderer, list[str]()
    for name in ("render_chat", "render_cmpl"):
        way = getattr(renderer, name)

        def recorded(*given: Any, name: str = name, way: Any = way, **named: Any) -> Any:
            rendered.append(name)
            return way(*given, **named)

        monkeypatch.setattr(renderer, name, recorded)
    return rendered


def test_a_chat(real: Any, at_once: list[str]) -> None:
    base = real.engine._config.served_name
    with real.client() as client:
        for text in TEXTS:
            body = chat(base, text, max_tokens=4)
            parts = {**body, "messages": [{"role": "user", "content": [{"type": "text", "text": text}]}]}
            short, by_threads = (client.post("/v1/chat/completions", json=asked).json() for asked in (body, parts))
            assert short["prompt_token_ids"] == by_threads["prompt_token_ids"]
            assert short["choices"][0]["token_ids"] == by_threads["choices"][0]["token_ids"]
    assert at_once == ["render_chat"] * len(TEXTS)


def test_a_prompt(real: Any, at_once: list[str]) -> None:
    base = real.engine._config.served_name
    with real.client() as client:
        for text in TEXTS:
            body = {"model": base, "prompt": text, "max_tokens": 4, "temperature": 0, "return_token_ids": True}
            both = {**body, "prompt": [text, "clinic " * (SHORT // 6)]}
            short, by_threads = (client.post("/v1/completions", json=asked).json() for asked in (body, both))
            assert short["choices"][0]["prompt_token_ids"] == by_threads["choices"][0]["prompt_token_ids"]
    assert at_once == ["render_cmpl"] * len(TEXTS)
