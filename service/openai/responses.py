"""`/v1/responses`: the same answers as `/v1/chat/completions`, asked for and told in OpenAI's newer shape.

A request becomes a chat request (`response_request.py`), so that a version's recipe, its adapter, its metrics and its
golden prompts hold for it as for every other; what comes back becomes a response object here, or the events of one
(`response_events.py`). Nothing is kept: docs/decisions/0009 says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecycle.errors import InvalidInput, Problem
from service.openai import response_events
from service.openai.response_object import ended, function_call, message, outline
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


def not_kept(response_id: str) -> InvalidInput:
    """What there is to say to a caller that comes back for a response."""
    fault = f"{response_id[:80]!r} is not kept: this service keeps no responses"
    return InvalidInput(
        "The request is not valid:",
        [Problem("response_id", fault, "keep the answer that /v1/responses gave, or ask again")],
    )


def whole(asked: Mapping[str, Any], chat: Mapping[str, Any]) -> dict[str, Any]:
    """The response object for an answered chat request."""
    made = outline(asked, chat)
    (choice,) = chat["choices"]
    said, finish = choice["message"], choice["finish_reason"]
    calls = said.get("tool_calls") or []
    logprobs = (choice.get("logprobs") or {}).get("content") or []
    output = []
    if said.get("content") or not calls:
        output.append(message(made, said.get("content") or "", logprobs, finish))
    for number, call in enumerate(calls):
        output.append(function_call(made, number, call["id"], call["function"], finish))
    return ended(made, output, finish, chat["usage"])
