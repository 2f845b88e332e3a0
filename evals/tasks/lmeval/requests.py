"""lm-eval's requests for a task's items: its text as it stands, or the turns that its chat models are sent.

The turns are those of `lm_eval --apply_chat_template`: a task's description is the system text, its shots are turns of
their own (or, without `fewshot_as_multiturn`, part of the question), and a `gen_prefix` begins the answer. Rows of our
own may have turns before their question, of which lm-eval knows nothing: they are put in before it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from evals.chat_rows import messages_before
from evals.sample import Turn
from lifecycle.conversation import goes_on

BLANK_LINE = "\n\n"


class Turns(str):
    """The turns as JSON text, as lm-eval itself carries them to its chat models."""

    __slots__ = ()


def built(task: Any, chosen: Sequence[int], seed: int, multiturn: bool | None) -> Iterator[tuple[int, list[Any]]]:
    """Each of the items at `chosen` with its requests, each of these as often as the task repeats it.

    `multiturn` says how shots stand among turns; None asks for texts. Who builds twice gets the same shots twice.
    """
    chat = multiturn is not None
    task.set_fewshot_seed(seed=seed)
    task.build_all_requests(
        samples=list(chosen),
        apply_chat_template=chat,
        fewshot_as_multiturn=bool(multiturn),
        chat_template=_as_turns if chat else None,
    )
    grouped: dict[int, list[Any]] = {}
    for request in task.instances:
        grouped.setdefault(request.doc_id, []).extend([request] * request.repeats)
    for at, requests in sorted(grouped.items()):
        yield chosen[at], requests


def turns_of(request: Any, system: str = "", delimiter: str = BLANK_LINE) -> list[Turn]:
    """What is sent. A text is a question.

    Behind `system`, the version's own text, lm-eval puts the task's description behind the task's `fewshot_delimiter`,
    or behind nothing where white space is there already. A service puts a blank line between the two; where that is
    something else, both are sent, joined as lm-eval joins them, which the service leaves as it is
    (`conversation.goes_on`).
    """
    before, context = messages_before(request.doc), request.args[0]
    if not isinstance(context, Turns):
        return [*before, {"role": "user", "content": str(context)}]
    turns: list[Turn] = json.loads(context)
    if system.strip() and turns[0]["role"] == "system":
        turns[0] = {**turns[0], "content": _behind(system, turns[0]["content"], delimiter)}
    if not before:
        return turns
    question = max(at for at, turn in enumerate(turns) if turn["role"] == "user")
    systems = [turn for turn in before if turn["role"] == "system"]
    own = sum(turn["role"] == "system" for turn in turns[:1])
    others = [turn for turn in before if turn["role"] != "system"]
    return [*turns[:own], *systems, *turns[own:question], *others, *turns[question:]]


def _behind(system: str, description: str, delimiter: str) -> str:
    """What is sent as the description."""
    from lm_eval.api.utils import maybe_delimit

    joined: str = maybe_delimit(system, description, delimiter)
    if joined == f"{system}{BLANK_LINE}{description}" or not goes_on(system, joined):
        return description  # a delimiter that only makes a word longer is a blank line: the service takes it for a word
    return joined


def begins_its_answers(task: Any) -> bool:
    """Whether its prompts end with the first words of the answer."""
    return bool(getattr(task.config, "gen_prefix", None))


def says_more(task: Any) -> bool:
    """Whether its prompts hold more than the item's own text, so that turns are told apart by how they are made."""
    return bool(task.config.num_fewshot or task.config.description or begins_its_answers(task))


def _as_turns(turns: Sequence[Mapping[str, Any]], add_generation_prompt: bool = True) -> Turns:
    return Turns(json.dumps(turns, ensure_ascii=False))
