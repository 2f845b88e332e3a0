"""vLLM's request models get messages and prompts as they are, and hold what they would have held."""

from __future__ import annotations

from typing import Any

import pytest

from service.engine.vllm import requests
from tests.service.fuzz import CALL, FUNCTION, SCHEMA, TURNS

CHAT: dict[str, Any] = {
    "messages": TURNS,
    "model": "m",
    "request_id": "r",
    "tools": [{"type": "function", "function": FUNCTION}],
    "response_format": SCHEMA,
    "temperature": 0.5,
}


def test_a_chat_request_is_the_one_that_vllm_would_make() -> None:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    made, theirs = requests.chat_request(CHAT), ChatCompletionRequest.model_validate(CHAT)
    assert made.messages == theirs.messages
    assert made.tool_choice == theirs.tool_choice == "auto"
    assert made.model_dump(exclude={"messages"}) == theirs.model_dump(exclude={"messages"})


@pytest.mark.parametrize("prompt", ["x", ["x", "y"], [1, 2], [[1], [2, 3]]])
def test_a_completion_request_is_the_one_that_vllm_would_make(prompt: Any) -> None:
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    body = {"prompt": prompt, "model": "m", "request_id": "r", "max_tokens": 5, "echo": True, "logprobs": 1}
    assert requests.completion_request(body) == CompletionRequest.model_validate(body)


def test_requests_for_tokens_are_the_ones_that_vllm_would_make() -> None:
    from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest, TokenizeChatRequest

    body = {"messages": [*TURNS[:2], *TURNS[3:]], "model": "m", "add_generation_prompt": False}
    assert requests.tokenize_request(body).messages == TokenizeChatRequest.model_validate(body).messages
    assert requests.tokenize_request({"prompt": "x"}).prompt == "x"
    assert requests.detokenize_request({"tokens": [1, 2]}) == DetokenizeRequest(tokens=[1, 2])


def test_what_vllm_writes_into_messages_is_not_written_into_the_callers() -> None:
    request = requests.chat_request(CHAT)
    request.messages[2]["tool_calls"][0]["function"]["arguments"] = {}
    request.messages[0]["content"] = "changed"
    assert CALL["function"]["arguments"] == "{}"  # type: ignore[index]
    assert TURNS[0]["content"] == "Be short."


def test_many_messages_are_not_tried_as_every_kind_of_message(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's model sees none of them: what it costs does not grow with them."""
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    seen: list[int] = []
    validate = ChatCompletionRequest.model_validate
    monkeypatch.setattr(
        ChatCompletionRequest, "model_validate", lambda body: seen.append(len(body["messages"])) or validate(body)
    )
    body = {**CHAT, "messages": [{"role": "user", "content": "x"}] * 4096}
    assert len(requests.chat_request(body).messages) == 4096
    assert seen == [0]
