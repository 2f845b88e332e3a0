"""How many answers one request asks for: choices times prompts, within its key's limits and what the engine takes.

More than the engine's queue holds could never be answered, however often it is sent again: it is the caller's fault
and no busy moment.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecycle.access.keys import MOST_CHOICES, ApiKey, KeyLimits
from lifecycle.errors import InvalidInput, Problem
from service.engine.interface import Kind, count_prompts

_SEVERAL = "send several requests"


def check_amounts(kind: Kind, body: Mapping[str, Any], key: ApiKey | None, most: int) -> None:
    """`most` answers are taken in one request. Raises `InvalidInput` with all that is too much."""
    limits = KeyLimits() if key is None else key.limits
    choices, prompts = _choices(body), count_prompts(body.get("prompt"))
    place, called = "prompt", "prompts"
    if kind == "likelihood" and isinstance(body.get("continuations"), list):  # each is read behind the prompt
        place = called = "continuations"
        prompts = len(body[place])
    problems = []
    if choices > (allowed := limits.choices_per_request or MOST_CHOICES):
        problems.append(Problem("n", f"{choices} answers are asked for, and {_whose(key)} takes {allowed}", _SEVERAL))
    if limits.prompts_per_request is not None and prompts > limits.prompts_per_request:
        allowed = limits.prompts_per_request
        problems.append(Problem(place, f"has {prompts} {called}, and {_whose(key)} takes {allowed}", _SEVERAL))
    if not problems and choices * prompts > most:
        place = "n" if choices > prompts else place
        fault = f"{choices * prompts} answers are asked for at once, and this service takes {most}"
        problems.append(Problem(place, fault, f"{_SEVERAL}, or start it with a larger --max-queue"))
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def check_texts(texts: int, key: ApiKey | None) -> None:
    """The same for a list of texts to embed."""
    allowed = None if key is None else key.limits.prompts_per_request
    if allowed is not None and texts > allowed:
        fault = f"has {texts} texts, and {_whose(key)} takes {allowed}"
        raise InvalidInput("The request is not valid:", [Problem("input", fault, _SEVERAL)])


def _choices(body: Mapping[str, Any]) -> int:
    asked = [body.get(name) for name in ("n", "best_of")]
    return max((value for value in asked if isinstance(value, int)), default=1)


def _whose(key: ApiKey | None) -> str:
    return "one request" if key is None else f"one request of the {key}"
