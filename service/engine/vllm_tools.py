"""Whether a request's tools reach the model and come back as calls: the base's template and a parser decide that.

vLLM leaves tools out in silence where the template has no place for them.
"""

from __future__ import annotations

from typing import Any

from lifecycle.errors import InvalidInput, Problem


def template_takes_tools(renderer: Any, model_config: Any) -> bool:
    """Whether what the base's chat template writes can depend on a request's tools. `renderer` is vLLM's."""
    from vllm.renderers.hf import _cached_resolve_chat_template_kwargs, resolve_chat_template
    from vllm.utils.mistral import is_mistral_tokenizer

    tokenizer = renderer.tokenizer
    if is_mistral_tokenizer(tokenizer):
        return True  # its format is code, and has tools
    template = resolve_chat_template(tokenizer, None, [{}], model_config=model_config)
    return template is not None and "tools" in _cached_resolve_chat_template_kwargs(template)


def check_tools(body: dict[str, Any], parser: str, takes_tools: bool) -> None:
    """Raises `InvalidInput` when the request's tools would be left out, or their calls come back as plain text."""
    if not body.get("tools") or body.get("tool_choice") == "none":
        return
    if not takes_tools:
        fault = "the base model's chat template has no place for tools, so the model would never see them"
        cure = "describe them in a message, or serve a base whose template takes them"
    elif not parser:
        fault = "this service was not told how its base writes tool calls"
        cure = "start it with --tool-parser, such as hermes or llama3_json"
    else:
        return
    raise InvalidInput("The request is not valid:", [Problem("tools", fault, cure)])
