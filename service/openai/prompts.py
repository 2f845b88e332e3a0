"""The `prompt` of a plain completion: one or several, as text or as tokens, checked before an engine looks at it.

An engine's own model tries every form on every item and names all that did not fit; a list is of one kind or it is
wrong, which is seen without that.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lifecycle.errors import InvalidInput, Problem

MOST_PROMPTS = 1024
_FORMS = "must be a text, a list of texts, a list of tokens, or a list of such lists"
_LARGEST_TOKEN = 2**31 - 1


def check_prompt(body: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` with the first fault and its place: what follows it is often of the same kind."""
    prompt = body.get("prompt")
    problem = None
    if prompt is None or prompt in ("", []):
        problem = Problem("prompt", "is missing or empty", "send a text, or a list of tokens")
    elif isinstance(prompt, list):
        problem = _list_problem(prompt)
    elif not isinstance(prompt, str):
        problem = Problem("prompt", _FORMS)
    if problem is not None:
        raise InvalidInput("The request is not valid:", [problem])


def check_tokens(body: Mapping[str, Any]) -> None:
    """The same for the `tokens` that are to become a text."""
    tokens = body.get("tokens")
    problem = (
        _tokens_problem("tokens", tokens) if isinstance(tokens, list) else Problem("tokens", "must be a list of tokens")
    )
    if problem is not None:
        raise InvalidInput("The request is not valid:", [problem])


def _list_problem(prompts: list[Any]) -> Problem | None:
    if isinstance(prompts[0], int):
        return _tokens_problem("prompt", prompts)
    if len(prompts) > MOST_PROMPTS:
        fault = f"has {len(prompts)} prompts, and a request has {MOST_PROMPTS} at most"
        return Problem("prompt", fault, "send several requests")
    kind = str if isinstance(prompts[0], str) else list
    for at, prompt in enumerate(prompts):
        if not isinstance(prompt, kind):
            return Problem(f"prompt.{at}", _FORMS if at == 0 else "is of another kind than the first")
        if not prompt:
            return Problem(f"prompt.{at}", "is empty")
        if isinstance(prompt, list) and (problem := _tokens_problem(f"prompt.{at}", prompt)):
            return problem
    return None


def _tokens_problem(place: str, tokens: list[Any]) -> Problem | None:
    # Without a step of Python for each of them, of which there may be a quarter of a million.
    if set(map(type, tokens)) <= {int}:
        if not tokens or (min(tokens) >= 0 and max(tokens) <= _LARGEST_TOKEN):
            return None
        at = next(at for at, token in enumerate(tokens) if not 0 <= token <= _LARGEST_TOKEN)
        return Problem(f"{place}.{at}", f"{str(tokens[at])[:40]} is no token: a whole number from 0")
    at = next(at for at, token in enumerate(tokens) if type(token) is not int)
    return Problem(f"{place}.{at}", "must be a token, a whole number from 0")
