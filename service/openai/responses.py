"""`/v1/responses`: the same answers as `/v1/chat/completions`, asked for and told in OpenAI's newer shape.

A request becomes a chat request (`response_request.py`), so that a version's recipe, its adapter, its metrics and its
golden prompts hold for it as for every other; what comes back becomes a response object here, or the events of one
(`response_events.py`). Nothing is kept: docs/decisions/0009 says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecycle.errors import DabtError, InvalidInput, NotFound
from service.openai import http_errors, response_events
from service.openai.response_object import (
    ended,
    finished,
    function_call_begun,
    message_begun,
    outline,
    reasoning_begun,
    status_of,
)
from service.openai.response_request import in_terms_of_responses, to_chat
from service.request_context import RequestContext
from service.serving import Reply, Service


async def answer(service: Service, body: dict[str, Any], context: RequestContext) -> Reply:
    """Answer one request. Raises what `Service.answer` raises."""
    chat = to_chat(body)
    context.endpoint = "response"
    try:
        reply = await service.answer("chat", chat, context)
    except InvalidInput as error:
        raise in_terms_of_responses(error) from error
    if reply.body is not None:
        return Reply(body=whole(body, reply.body))
    assert reply.events is not None
    events = response_events.written(body, reply.first, reply.events)
    return Reply(first=await anext(events), events=events)


def failed(error: DabtError) -> str:
    """All of a stream that fails before its response has begun."""
    return response_events.failed(http_errors.body_of(error)["error"])


def not_kept(response_id: str) -> NotFound:
    """What there is to say to a caller that comes back for a response."""
    return NotFound(
        f"there is no response {response_id[:80]!r}: this service keeps no responses; keep the answer that "
        "/v1/responses gave, or ask again",
        place="response_id",
    )


def whole(asked: Mapping[str, Any], chat: Mapping[str, Any]) -> dict[str, Any]:
    """The response object for an answered chat request."""
    made = outline(asked, chat)
    (choice,) = chat["choices"]
    said, finish = choice["message"], choice["finish_reason"]
    calls, text = said.get("tool_calls") or [], said.get("content") or ""
    logprobs = (choice.get("logprobs") or {}).get("content") or []
    items: list[tuple[dict[str, Any], str, list[Any]]] = []
    if said.get("reasoning"):
        items.append((reasoning_begun(made, 0), said["reasoning"], []))
    if text or not calls:
        items.append((message_begun(made, len(items)), text, logprobs))
    for call in calls:
        function = call["function"]
        items.append((function_call_begun(made, len(items), call["id"], function["name"]), function["arguments"], []))
    output = [
        finished(begun, text, logprobs, status_of(finish, last=at == len(items) - 1))
        for at, (begun, text, logprobs) in enumerate(items)
    ]
    return ended(made, output, finish, chat["usage"])
