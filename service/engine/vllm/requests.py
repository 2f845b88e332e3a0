"""Requests as vLLM's own models, made from bodies whose messages and prompts were checked at the door.

Those two are put in after the model has checked the rest. It would try every kind of message on every message and every
form of prompt on every token, on the event loop: seconds for what `openai/messages.py` and `openai/prompts.py` see in
milliseconds, and one fault for each kind that a message is not.
"""

from __future__ import annotations

from typing import Any

from service.engine.interface import AdapterHandle

_ANY_PROMPT = "x"
SCORED_FROM = "dabt_scored_from"
"""In the `extra_args` of a request's sampling parameters: the first token of its prompt that is scored, at least 1."""


def chat_request(body: dict[str, Any]) -> Any:
    from vllm.entrypoints.openai.chat_completion.protocol import ChatCompletionRequest

    return _with_messages(ChatCompletionRequest, _without_ours(body))


def completion_request(body: dict[str, Any]) -> Any:
    from vllm.entrypoints.openai.completion.protocol import CompletionRequest

    body = _without_ours(body)
    if not isinstance(body.get("prompt"), list):
        return CompletionRequest.model_validate(body)
    request = CompletionRequest.model_validate({**body, "prompt": _ANY_PROMPT})
    request.prompt = body["prompt"]
    return request


def lora_request(adapter: AdapterHandle) -> Any:
    from vllm.lora.request import LoRARequest

    return LoRARequest(lora_name=adapter.name, lora_int_id=adapter.id, lora_path=str(adapter.path))


def tokenize_request(body: dict[str, Any]) -> Any:
    from vllm.entrypoints.serve.tokenize.protocol import TokenizeChatRequest, TokenizeCompletionRequest

    if "messages" in body:
        return _with_messages(TokenizeChatRequest, body)
    return TokenizeCompletionRequest.model_validate(body)


def detokenize_request(body: dict[str, Any]) -> Any:
    from vllm.entrypoints.serve.tokenize.protocol import DetokenizeRequest

    if not isinstance(body.get("tokens"), list):
        return DetokenizeRequest.model_validate(body)
    request = DetokenizeRequest.model_validate({**body, "tokens": []})
    request.tokens = body["tokens"]
    return request


def _with_messages(model: Any, body: dict[str, Any]) -> Any:
    if not isinstance(body.get("messages"), list):
        return model.model_validate(body)
    request = model.model_validate({**body, "messages": []})
    # vLLM writes parsed arguments into the calls of a message, which are the caller's own objects here.
    request.messages = [_own(message) for message in body["messages"]]
    return request


def _without_ours(body: dict[str, Any]) -> dict[str, Any]:
    """Extra arguments reach the workers as they are, and callers may send some."""
    extra = body.get("vllm_xargs")
    if not isinstance(extra, dict) or SCORED_FROM not in extra:
        return body
    return {**body, "vllm_xargs": {key: value for key, value in extra.items() if key != SCORED_FROM}}


def _own(message: dict[str, Any]) -> dict[str, Any]:
    calls = message.get("tool_calls")
    if not calls:
        return dict(message)
    return {**message, "tool_calls": [{**call, "function": {**call["function"]}} for call in calls]}
