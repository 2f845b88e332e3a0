"""Whether what a request says to the base's chat template reaches the model: tools, documents, switches.

vLLM leaves out in silence what the template has no place for. Calls of tools come back as calls by a parser alone.
"""

from __future__ import annotations

from typing import Any

from lifecycle.errors import InvalidInput, Problem

_NO_PLACE = "the base model's chat template has no place for it, so the model would never see it"


def template_names(renderer: Any, model_config: Any) -> frozenset[str] | None:
    """What the text of the base's chat template can depend on; None for everything. `renderer` is vLLM's."""
    from vllm.renderers.hf import _cached_resolve_chat_template_kwargs
    from vllm.utils.mistral import is_mistral_tokenizer

    if is_mistral_tokenizer(renderer.tokenizer):
        return None  # its format is code, and has tools
    template = _template(renderer, model_config)
    return frozenset() if template is None else frozenset(_cached_resolve_chat_template_kwargs(template))


def takes_chats(renderer: Any, model_config: Any) -> bool:
    """Whether anything says how this base writes turns."""
    from vllm.utils.mistral import is_mistral_tokenizer

    return is_mistral_tokenizer(renderer.tokenizer) or _template(renderer, model_config) is not None


def _template(renderer: Any, model_config: Any) -> Any:
    from vllm.renderers.hf import resolve_chat_template

    return resolve_chat_template(renderer.tokenizer, None, [{}], model_config=model_config)


def check_chat(takes: bool) -> None:
    """Raises `InvalidInput` where the base has no chat template."""
    if not takes:
        fault = "the base model has no chat template, so nothing says how turns are written"
        cure = "send a text to /v1/completions, or start the service with --chat-template"
        raise InvalidInput("The request is not valid:", [Problem("messages", fault, cure)])


def check_template_fields(body: dict[str, Any], names: frozenset[str] | None) -> None:
    """Raises `InvalidInput` for what the template would not read although it should change the answer.

    A switch that is off, and the effort that is meant where none is named, ask for nothing.
    """
    if names is None:
        return
    problems = []
    effort = body.get("reasoning_effort")
    if effort not in (None, "none", "medium") and not names & {"reasoning_effort", "enable_thinking"}:
        problems.append(Problem("reasoning_effort", _NO_PLACE, "leave it out"))
    if body.get("documents") and "documents" not in names:
        problems.append(Problem("documents", _NO_PLACE, "put them into a message, or call a version that has an index"))
    switches = body.get("chat_template_kwargs")
    for name, value in switches.items() if isinstance(switches, dict) else ():
        if name not in names and value not in (None, False, "", [], {}):
            problems.append(Problem(f"chat_template_kwargs.{name[:80]}", _NO_PLACE, "leave it out"))
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def check_tools(body: dict[str, Any], parser: str, names: frozenset[str] | None) -> None:
    """Raises `InvalidInput` when the request's tools would be left out, or their calls come back as plain text."""
    if not body.get("tools") or body.get("tool_choice") == "none":
        return
    if names is not None and "tools" not in names:
        fault = "the base model's chat template has no place for tools, so the model would never see them"
        cure = "describe them in a message, or serve a base whose template takes them"
    elif not parser:
        fault = "this service was not told how its base writes tool calls"
        cure = "start it with --tool-parser, such as hermes or llama3_json"
    else:
        return
    raise InvalidInput("The request is not valid:", [Problem("tools", fault, cure)])
