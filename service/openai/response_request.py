"""A request to `/v1/responses` as the chat request that asks for the same. Read `responses.py` for the way back.

What this service cannot honour is refused by name, all of it together: a conversation that it would have to remember,
work in the background, tools that run on a server. Hints that change nothing here (`metadata`, `service_tier`,
`prompt_cache_key`) are taken, and so are fields that no OpenAI server knows, as in the chat API. Fields that mean the
same in the chat API are decided about there (`allowed_fields.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from lifecycle.errors import InvalidInput, NotKept, Problem
from service.openai.allowed_fields import HARMLESS, TABLES
from service.openai.messages import MOST_MESSAGES, MOST_PARTS, shown

_STATELESS = "this service keeps no responses"
_RESEND = "send the earlier items in input"
_REFUSED: Mapping[str, tuple[tuple[Any, ...], str, str]] = {
    "previous_response_id": ((None,), _STATELESS, _RESEND),
    "conversation": ((None,), _STATELESS, _RESEND),
    "store": ((None, False), _STATELESS, "leave store out, or send false"),
    "background": ((None, False), _STATELESS, "leave background out, and stream the answer if it takes long"),
    "prompt": ((None,), "this service has no prompt templates", "call a version: its prompt is applied"),
    "truncation": ((None, "disabled"), "nothing is cut out of a conversation here", "send what fits"),
    "max_tool_calls": ((None,), "this service runs no tools itself", "leave it out"),
    "n": ((None, 1), "a response is one answer", "call /v1/chat/completions"),
    "context_management": ((None,), _STATELESS, _RESEND),
    "previous_input_messages": ((None,), _STATELESS, _RESEND),
    "enable_response_messages": ((None, False), "a version's prompt is its own", "leave it out"),
    "image": ((None,), "this service takes text alone", "leave it out"),
    "access_programs": ((None,), "there are none here", "leave it out"),
    "moderation": ((None,), "nothing is moderated here", "leave it out"),
    **{
        name: ((None,), "is a field of /v1/chat/completions, and would be lost here", f"send {ours}")
        for name, ours in {
            "messages": "input",
            "max_tokens": "max_output_tokens",
            "max_completion_tokens": "max_output_tokens",
            "response_format": "text.format",
            "reasoning_effort": "reasoning.effort",
        }.items()
    },
}
"""Field → what it may be, and what is said of anything else."""

_READ_HERE = ("input", "instructions", "max_output_tokens", "reasoning", "text", "tools", "tool_choice", "include")
_OWN_SHAPE = frozenset([*_REFUSED, *_READ_HERE, "logprobs", "top_logprobs", "stream_options"])
_PASSED = TABLES["chat"].decided - _OWN_SHAPE
"""Fields of the chat API, and of vLLM, that mean the same here."""
DECIDED = _PASSED | _OWN_SHAPE | HARMLESS
_ROLES = ("system", "developer", "user", "assistant")
_LOGPROBS = "message.output_text.logprobs"
_INCLUDED = (
    _LOGPROBS,
    "reasoning.encrypted_content",
    "message.input_image.image_url",
    *("file_search_call.results", "web_search_call.results", "web_search_call.action.sources"),
    *("computer_call_output.output.image_url", "code_interpreter_call.outputs"),
)
"""All that OpenAI's API knows. Agents ask for some by habit; what these belong to never is in an answer here, and so
they add nothing to it: reasoning is told as text, and tools that run on a server are refused."""
_PLACES = {
    "messages": "input",
    "max_completion_tokens": "max_output_tokens",
    "max_tokens": "max_output_tokens",
    "reasoning_effort": "reasoning.effort",
    "response_format.json_schema": "text.format",
    "response_format": "text.format",
}
"""Field of the chat API → where `/v1/responses` has it."""
_TEXT_PARTS = ("input_text", "output_text", "text")


def to_chat(body: Mapping[str, Any]) -> dict[str, Any]:
    """A chat body. Its messages are checked later, as every chat request's are.

    Raises `InvalidInput` with all faults and their places.
    """
    problems: list[Problem] = []
    for name, (allowed, fault, cure) in _REFUSED.items():
        if body.get(name) not in allowed:
            problems.append(Problem(name, fault, cure))
    if body.get("stream_options") and not body.get("stream"):
        problems.append(
            Problem("stream_options", "is for streamed answers, and this one is not streamed", "leave it out")
        )
    chat = {name: body[name] for name in body.keys() & _PASSED}
    chat["messages"] = _messages(body, problems)
    chat |= _renamed(body) | _format(body, problems) | _tools(body, problems) | _logprobs(body, problems)
    if body.get("stream"):
        chat["stream_options"] = {"include_usage": True}
    if problems:
        kind = NotKept if body.get("previous_response_id") is not None else InvalidInput
        raise kind("The request is not valid:", problems)
    return chat


def in_terms_of_responses(error: InvalidInput) -> InvalidInput:
    """The same fault of the chat request, at the place where this caller wrote it."""
    problems = [replace(problem, place=_own_place(problem.place)) for problem in error.problems]
    return type(error)(error.summary, problems)


def _own_place(place: str) -> str:
    if place.startswith("tools."):
        return place.replace(".function", "", 1)
    for theirs, own in _PLACES.items():
        if place == theirs or place.startswith(f"{theirs}."):
            return own + place.removeprefix(theirs)
    return place


def _messages(body: Mapping[str, Any], problems: list[Problem]) -> list[dict[str, Any]]:
    instructions, asked = body.get("instructions"), body.get("input")
    messages: list[dict[str, Any]] = []
    if isinstance(instructions, str):
        messages.append({"role": "system", "content": instructions})
    elif instructions is not None:
        problems.append(Problem("instructions", "must be a string"))
    if isinstance(asked, str):
        messages.append({"role": "user", "content": asked})
    elif isinstance(asked, list) and (fault := _too_many(asked)):
        problems.append(Problem("input", fault, "leave out the oldest"))
    elif isinstance(asked, list) and asked:
        for at, item in enumerate(asked):
            _add(messages, f"input.{at}", item, problems)
    else:
        fault = "is missing" if asked is None else "must be a text, or a list of one or more items"
        problems.append(Problem("input", fault))
    return messages


def _too_many(items: list[Any]) -> str:
    """Before anything is said of each of them."""
    if len(items) > MOST_MESSAGES:
        return f"has {len(items)} items, and a request has {MOST_MESSAGES} at most"
    parts = sum(
        len(item[key])
        for item in items
        if isinstance(item, dict)
        for key in ("content", "output")
        if isinstance(item.get(key), list)
    )
    return f"has {parts} parts of content, and a request has {MOST_PARTS} at most" if parts > MOST_PARTS else ""


def _add(messages: list[dict[str, Any]], place: str, item: Any, problems: list[Problem]) -> None:
    """Append what `item` means to a chat model."""
    if not isinstance(item, dict):
        problems.append(Problem(place, "must be an object"))
        return
    kind = item.get("type", "message")
    add = {"message": _add_message, "function_call": _add_call, "function_call_output": _add_output}.get(str(kind))
    if add is not None:
        add(messages, place, item, problems)
    elif kind == "reasoning":
        # It belongs to the turn that comes next; templates of models that do not reason leave it out.
        if thought := _thought(item):
            messages.append({"role": "assistant", "content": None, "reasoning": thought})
    elif kind == "item_reference":
        problems.append(Problem(place, _STATELESS, "send the item itself"))
    else:
        known = "message, function_call, function_call_output or reasoning"
        problems.append(Problem(f"{place}.type", f"{shown(kind)} is not taken here", f"one of {known}"))


def _add_message(messages: list[dict[str, Any]], place: str, item: Mapping[str, Any], problems: list[Problem]) -> None:
    role = item.get("role")
    if role not in _ROLES:
        problems.append(Problem(f"{place}.role", f"{shown(role)} is no role", f"one of {', '.join(_ROLES)}"))
    content = _content(f"{place}.content", item, "content", problems)
    if role == "assistant" and messages and messages[-1].keys() == {"role", "content", "reasoning"}:
        messages[-1]["content"] = content
    else:
        messages.append({"role": role, "content": content})


def _add_call(messages: list[dict[str, Any]], place: str, item: Mapping[str, Any], problems: list[Problem]) -> None:
    function = {"name": item.get("name"), "arguments": item.get("arguments")}
    for name in ("call_id", "name", "arguments"):
        if not isinstance(item.get(name), str):
            problems.append(Problem(f"{place}.{name}", "must be a string"))
    call = {"id": item.get("call_id"), "type": "function", "function": function}
    # The chat API has one message for all that the assistant said and called in one turn.
    if not messages or messages[-1]["role"] != "assistant":
        messages.append({"role": "assistant", "content": None})
    messages[-1].setdefault("tool_calls", []).append(call)


def _add_output(messages: list[dict[str, Any]], place: str, item: Mapping[str, Any], problems: list[Problem]) -> None:
    if not isinstance(item.get("call_id"), str):
        problems.append(Problem(f"{place}.call_id", "must be a string"))
    content = _content(f"{place}.output", item, "output", problems)
    messages.append({"role": "tool", "tool_call_id": item.get("call_id"), "content": content})


def _content(place: str, item: Mapping[str, Any], key: str, problems: list[Problem]) -> Any:
    """A string, or text parts as the chat API writes them."""
    content = item.get(key)
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        problems.append(Problem(place, "must be a text, or a list of parts"))
        return ""
    texts = []
    for at, part in enumerate(content):
        kind = part.get("type") if isinstance(part, dict) else None
        text = part.get("refusal" if kind == "refusal" else "text") if isinstance(part, dict) else None
        if kind not in (*_TEXT_PARTS, "refusal"):
            problems.append(Problem(f"{place}.{at}.type", f"{shown(kind)} is not taken here", "send text"))
        elif not isinstance(text, str):
            problems.append(Problem(f"{place}.{at}.text", "must be a string"))
        else:
            texts.append(text)
    return texts[0] if len(texts) == 1 else [{"type": "text", "text": text} for text in texts]


def _thought(item: Mapping[str, Any]) -> str:
    """The text of a piece of reasoning, as this service wrote it; empty for another's, which may be encrypted."""
    parts = item.get("content")
    texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
    return "\n".join(text for text in texts if isinstance(text, str))


def _renamed(body: Mapping[str, Any]) -> dict[str, Any]:
    chat = {}
    if body.get("max_output_tokens") is not None:
        chat["max_completion_tokens"] = body["max_output_tokens"]
    reasoning = body.get("reasoning")
    if isinstance(reasoning, dict) and reasoning.get("effort") is not None:
        chat["reasoning_effort"] = reasoning["effort"]
    return chat


def _format(body: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    text = body.get("text")
    if text is None:
        return {}
    if not isinstance(text, dict):
        problems.append(Problem("text", "must be an object"))
        return {}
    if text.get("verbosity") not in (None, "medium"):
        fault = "a model here knows of it by its prompt alone"
        problems.append(Problem("text.verbosity", fault, "ask for it in the input"))
    wanted = {"type": "text"} if text.get("format") is None else text["format"]
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if kind == "text":
        return {}
    if kind == "json_object":
        return {"response_format": {"type": "json_object"}}
    if kind != "json_schema":
        problems.append(
            Problem("text.format.type", f"{shown(kind)} is unknown", "one of text, json_object, json_schema")
        )
        return {}
    if not isinstance(wanted.get("schema"), dict):
        problems.append(Problem("text.format.schema", "must be a JSON schema"))
    inner = {name: wanted[name] for name in ("name", "description", "schema", "strict") if name in wanted}
    return {"response_format": {"type": "json_schema", "json_schema": inner}}


def _tools(body: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    tools, choice = body.get("tools") or [], body.get("tool_choice")
    if not isinstance(tools, list):
        problems.append(Problem("tools", "must be a list"))
        return {}
    functions = []
    for at, tool in enumerate(tools):
        if not isinstance(tool, dict) or tool.get("type") != "function":
            kind = tool.get("type") if isinstance(tool, dict) else tool
            problems.append(Problem(f"tools.{at}.type", f"{shown(kind)} would run on a server", "send functions alone"))
            continue
        given = {name: tool[name] for name in ("name", "description", "parameters", "strict") if name in tool}
        functions.append({"type": "function", "function": given})
    if not functions:
        return {}
    if isinstance(choice, dict):
        if choice.get("type") != "function":
            fault = f"{shown(choice.get('type'))} is not taken here"
            problems.append(Problem("tool_choice.type", fault, "auto, none, required, or one function"))
        choice = {"type": "function", "function": {"name": choice.get("name")}}
    return {"tools": functions, "tool_choice": "auto" if choice is None else choice}


def _logprobs(body: Mapping[str, Any], problems: list[Problem]) -> dict[str, Any]:
    include, top = body.get("include") or [], body.get("top_logprobs")
    unknown = [part for part in include if part not in _INCLUDED] if isinstance(include, list) else [include]
    if unknown:
        problems.append(Problem("include", f"{shown(unknown[0])} is not to be had here", f"only {_LOGPROBS}"))
    elif _LOGPROBS not in include and not top:
        return {}
    return {"logprobs": True, "top_logprobs": top or 0}
