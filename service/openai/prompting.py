"""A version's recipe applied to a request: prompt and passages around the caller's messages.

The service does this, and not the caller, so that what is served is what was evaluated; how a prompt is put around
messages is `lifecycle/conversation.py`'s, so that it is what was trained too. Read `decoding.py` next.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from lifecycle.conversation import with_kwargs, with_prompt
from lifecycle.errors import InvalidInput
from lifecycle.version import Version
from service.engine.interface import Kind
from service.openai.allowed_fields import has_recipe

if TYPE_CHECKING:
    from retrieval.passage import Passage


def with_recipe(
    version: Version, kind: Kind, body: dict[str, Any], passages: Sequence[Passage] | None
) -> dict[str, Any]:
    """A body with the recipe's messages; `body` stays as it was.

    Its messages have passed `messages.py`; `passages` are those retrieved for a version with knowledge, None for one
    without. Raises `InvalidInput` for a plain prompt on a version whose recipe needs messages.
    """
    spec = version.spec
    if "messages" not in body:
        if has_recipe(version):
            plain = "/v1/completions" if kind == "completion" else "a plain prompt"
            cure = "call /v1/chat/completions instead" if kind == "completion" else "send messages instead"
            raise InvalidInput(f"{version.ref} has a prompt or knowledge, which {plain} has no place for; {cure}")
        return body
    messages: list[dict[str, Any]] = body["messages"]
    if spec.knowledge is not None and passages is not None:
        from retrieval.prompting import apply

        messages = apply(spec.knowledge, messages, passages)
    body = {**body, "messages": with_prompt(spec.prompt, messages)}
    if switches := with_kwargs(spec.prompt, body.get("chat_template_kwargs")):
        body["chat_template_kwargs"] = switches
    return body
