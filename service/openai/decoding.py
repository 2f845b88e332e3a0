"""How a request is decoded: what the caller sets, then the version's decoding, or the base's under its own name.

The engine is started so that it adds nothing of its own (`vllm/flags.py`): all that decides an answer is in the version
or in the request.
"""

from __future__ import annotations

from typing import Any

from lifecycle.models.generation import decoding_in_force
from lifecycle.version import Version
from service.engine.interface import Kind
from service.resolution import Base


def with_decoding(version: Version | None, base: Base, kind: Kind, body: dict[str, Any]) -> dict[str, Any]:
    """A new body for the engine. What the caller sets wins; null means not set, as in the OpenAI API.

    The base itself (`version` None) is decoded as its makers wrote down, and only that.
    """
    if version is None:
        defaults, own_limit = base.decoding.model_dump(mode="json", exclude_unset=True), None
    else:
        decoding, own_limit = decoding_in_force(version.spec, base.decoding), version.spec.decoding.max_tokens
        defaults = {"temperature": decoding.temperature, "top_p": decoding.top_p}
        defaults |= decoding.model_dump(mode="json", exclude_defaults=True)
    # vLLM gives a plain completion that names no limit 16 tokens, as the OpenAI API does, and not the base's limit.
    plain = kind == "completion" and own_limit is None and "max_tokens" not in body
    if plain or body.get("max_completion_tokens") is not None:
        defaults.pop("max_tokens", None)
    return {**body, **{key: value for key, value in defaults.items() if body.get(key) is None}}
