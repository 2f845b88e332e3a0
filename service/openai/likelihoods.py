"""`/v1/dabt/likelihoods`: one request and its answer.

A caller sends `messages` or a `prompt`, and texts that might follow. It is told how likely each is, and nothing of the
tokens before: so a version's recipe stays its own, where `echo` and `prompt_logprobs` would show it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle.errors import InvalidInput, Problem
from lifecycle.version import Frozen
from service.engine.interface import Call

MOST_CONTINUATIONS = 256


class Likelihood(Frozen):
    """Of one continuation."""

    logprob: float
    """Natural logarithm of its probability behind the prompt: the sum over its tokens."""
    tokens: int
    greedy: bool
    """Each of its tokens was the likeliest: greedy decoding would have said it."""


def check_continuations(body: Mapping[str, Any]) -> None:
    """Raises `InvalidInput` with every fault and its place. `messages` are checked where those of chats are."""
    problems = []
    if ("messages" in body) == ("prompt" in body):
        there = "both messages and a prompt are there" if "prompt" in body else "is missing"
        problems.append(Problem("messages", there, "send messages, or a prompt"))
    if "prompt" in body and not isinstance(body["prompt"], str):
        problems.append(Problem("prompt", "must be a text"))
    if not isinstance(body.get("from_last_word", False), bool):
        problems.append(Problem("from_last_word", "must be true or false"))
    texts = body.get("continuations")
    if not isinstance(texts, list) or not texts:
        problems.append(Problem("continuations", "must be a list of one or more texts"))
    elif len(texts) > MOST_CONTINUATIONS:
        fault = f"has {len(texts)} texts, and a request has {MOST_CONTINUATIONS} at most"
        problems.append(Problem("continuations", fault, "send several requests"))
    else:
        wrong = [at for at, text in enumerate(texts) if not isinstance(text, str) or not text]
        problems += [Problem(f"continuations.{at}", "must be a text that is not empty") for at in wrong]
    if problems:
        raise InvalidInput("The request is not valid:", problems)


def border(prompt: Sequence[int], whole: Sequence[int]) -> int:
    """Where the continuation begins in the tokens of prompt and continuation together: behind what they have in common
    with the prompt's own. A token that lies across the border is the continuation's.
    """
    pairs = enumerate(zip(prompt, whole, strict=False))
    return next((at for at, (one, other) in pairs if one != other), min(len(prompt), len(whole)))


def answer_body(call: Call, rows: Sequence[Likelihood], read: int) -> dict[str, Any]:
    """`read` tokens were read, prompts counted with each of their continuations."""
    return {
        "id": f"likelihood-{call.request_id}",
        "object": "list",
        "created": int(time.time()),
        "model": call.model,
        "data": [{"index": index, **row.model_dump()} for index, row in enumerate(rows)],
        "usage": {"prompt_tokens": read, "total_tokens": read, "completion_tokens": 0},
    }
