"""Requests for log-likelihoods: what is sent for a prompt and its continuations, and one answer for each of them.

A service of ours scores continuations behind whatever the version puts around the caller's messages. Any other
endpoint is asked by `echo` (`Asker._echoed`), which shows the whole prompt: a version with one is asked by ours alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from evals.asking.endpoint import Reply

LIKELIHOODS = "dabt/likelihoods"
MOST_AT_ONCE = 64
"""Continuations of one request."""
Question = str | Sequence[dict[str, Any]]
"""A text that is continued as it stands, or messages that are answered."""


def body_of(question: Question, continuations: Sequence[str], *, from_last_word: bool = False) -> dict[str, Any]:
    """White space that a text ends in belongs to the first word of what follows, as lm-eval has it.

    lm-eval has it so of a chat's prompt too, whose end the service alone knows: it is told by `from_last_word`.
    """
    if not isinstance(question, str):
        more = {"from_last_word": True} if from_last_word else {}
        return {"messages": list(question), "continuations": list(continuations), **more}
    prompt = question.rstrip()
    return {"prompt": prompt, "continuations": [question[len(prompt) :] + text for text in continuations]}


def probe_of(question: Question) -> dict[str, Any]:
    """What a version is warmed up with before such a question."""
    return body_of("Hello" if isinstance(question, str) else [{"role": "user", "content": "Hello"}], [" you"])


def parts_of(reply: Reply, count: int) -> list[Reply]:
    """Each of `count` answers' share of the reply: seconds and tokens of all are the reply's."""
    rows, usage = reply.body.get("data"), reply.body.get("usage")
    rows = rows if isinstance(rows, list) and len(rows) == count else [None] * count
    read = usage.get("prompt_tokens") if isinstance(usage, dict) else 0
    shares = []
    for at, row in enumerate(rows):
        tokens = _share(read if isinstance(read, int) else 0, at, count)
        body = {**reply.body, "data": [row], "usage": {"prompt_tokens": tokens}}
        retries = reply.retries if at == 0 else 0
        timing = {name: took / count if name == "retrieval" else took for name, took in reply.timing.items()}
        latency = reply.latency / count
        shares.append(replace(reply, body=body, latency=latency, retries=retries, timing=timing, shared=count))
    return shares


def likelihood(reply: Reply) -> dict[str, Any]:
    """What one share says of its continuation. Raises `ValueError` where it says nothing."""
    row = reply.body["data"][0]
    if not isinstance(row, dict) or not isinstance(row.get("logprob"), int | float):
        raise ValueError("it has no log-probability of this continuation")
    return {"logprob": float(row["logprob"]), "greedy": bool(row.get("greedy"))}


def _share(whole: int, at: int, count: int) -> int:
    return whole // count + (at < whole % count)
