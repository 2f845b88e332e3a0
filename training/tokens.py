"""Conversations into token ids and labels: only the assistant's words and the end of its turn are learnt.

The tokens come from the base's own chat template, because that is what the server renders; one that writes today's date
is given a fixed day by both (`lifecycle/models/templates.py`). Which of them are the assistant's comes from the
template's `{% generation %}` tags, or, for a template without them, from rendering the conversation up to each answer.
Done here rather than by TRL, which would only warn when the end of a turn is not learnt, put another template in place
of some families' own, and cut long rows at their answers.

Read `recipes/lora.py` next, which trains on these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from lifecycle.conversation import Conversation, with_kwargs, with_prompt
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import BaseFingerprint
from lifecycle.models.generation import stop_ids
from lifecycle.models.templates import served_template
from lifecycle.models.tokenizer import load_tokenizer
from lifecycle.rows.faults import bad_rows
from lifecycle.text import strict_json
from lifecycle.version import Prompt, digest_of

IGNORED = -100
"""The label of a token that is not learnt, as in torch's cross entropy."""

Span = tuple[int, int] | None
"""(begin, end) of an answer's tokens, its end-of-turn token included; None where it is not to be learnt."""

Rendered = list[dict[str, Any]]
"""Messages as the chat template gets them."""
Tools = list[dict[str, Any]] | None

_PLAIN = Prompt()

_GENERATION = re.compile(r"\{%-?\s*generation\s*-?%\}")


@dataclass(frozen=True, slots=True)
class Example:
    """One row, as it is trained. `input_ids` and `labels` have the same length."""

    place: str
    input_ids: list[int]
    labels: list[int]
    """The token's own id where it is learnt, `IGNORED` elsewhere. The trainer shifts them by one."""
    answer_start: int
    """Where the last answer starts; before it stands exactly what the server renders for the same request."""
    seq_lengths: tuple[int, ...] = ()
    """Of the rows that are packed in this one; empty where it is one row."""

    @property
    def answer_end(self) -> int:
        """Just past the last learnt token."""
        return max(i for i, label in enumerate(self.labels) if label != IGNORED) + 1


def as_rendered(message: dict[str, Any]) -> dict[str, Any]:
    """A message as the server gives it to the chat template: arguments as an object, reasoning under both names.

    As vLLM does it (`renderers/chat_utils.py`, `_postprocess_messages`).
    """
    rendered = dict(message)
    if calls := message.get("tool_calls"):
        rendered["tool_calls"] = [
            {**call, "function": {**call["function"], "arguments": json.loads(call["function"]["arguments"])}}
            for call in calls
        ]
    if "reasoning" in message:
        rendered["reasoning_content"] = message["reasoning"]
    return rendered


def _cast(row: Conversation) -> Iterator[str]:
    """Numbers of tool calls that would be learnt in another spelling, because templates get them as numbers."""
    for call in [call for message in row.messages for call in message.tool_calls]:
        for number in strict_json.respelled(strict_json.kept(call.arguments)):
            learnt = json.dumps(json.loads(str(number)))
            yield f"the call of {call.name} has the number {number}, and the chat template would write {learnt}"


class ChatTokenizer:
    """The base's tokenizer with its chat template and the tokens at which the server stops."""

    def __init__(self, tokenizer: Any, stops: frozenset[int], prompt: Prompt = _PLAIN) -> None:
        """`prompt` has the switches of the chat template.

        Raises `InvalidConfig` for a tokenizer without a chat template or a base without an end-of-turn token.
        """
        if not tokenizer.chat_template:
            raise InvalidConfig(
                "the base has no chat template", [Problem("base", "the service needs one too", _TEMPLATE)]
            )
        if not stops:
            cure = "set eos_token in tokenizer_config.json or eos_token_id in generation_config.json"
            raise InvalidConfig(
                "the base names no end-of-turn token", [Problem("base", "an answer could not end", cure)]
            )
        self.tokenizer = tokenizer
        self.stops = stops
        self._kwargs = with_kwargs(prompt)
        self._tagged = bool(_GENERATION.search(str(tokenizer.chat_template)))
        self._special = [token for token in tokenizer.all_special_tokens if token.strip()]

    @classmethod
    def load(cls, base: Path, fingerprint: BaseFingerprint | None = None, prompt: Prompt = _PLAIN) -> ChatTokenizer:
        """From a model folder. With `fingerprint`, makes sure that the template is the one it was taken of."""
        tokenizer = load_tokenizer(base)
        template = tokenizer.chat_template
        if fingerprint and isinstance(template, str) and digest_of(template) != fingerprint.chat_template:
            raise InvalidConfig(f"{base} has more than one chat template; keep the one in chat_template.jinja")
        tokenizer.chat_template = served_template(base) or template
        ends = (*stop_ids(base), tokenizer.eos_token_id)
        return cls(tokenizer, frozenset(one for one in ends if isinstance(one, int)), prompt)

    def examples(self, rows: Sequence[Conversation], system: str, max_length: int) -> list[Example]:
        """Every row behind the version's system text, in order.

        Raises `InvalidData` with all rows that are longer than `max_length` tokens, hold a special token's text, or
        that the template refuses; `InvalidConfig` when the template never ends the assistant's turn where the
        server would stop, since no row could then teach it to end.
        """
        examples, problems = [], []
        for row in rows:
            example, faults = self._example(row, system)
            problems += faults
            if example is None:
                continue
            if len(example.input_ids) > max_length:
                fault = f"is {len(example.input_ids)} tokens long, more than {max_length}"
                problems.append(Problem(row.place, fault, "shorten it, or raise optimisation.max_length"))
            examples.append(example)
        if problems:
            files = sorted({row.place.rpartition(":")[0] for row in rows})
            raise bad_rows(problems, ", ".join(files))
        return examples

    def _example(self, row: Conversation, system: str) -> tuple[Example | None, list[Problem]]:
        problems = [
            Problem(row.place, f"the {message.role} turn holds {token}, which ends or starts turns", "take it out")
            for message in row.messages
            for token in self._special
            if any(token in text for text in message.texts)
        ]
        described = json.dumps(row.tools, ensure_ascii=False)
        problems += [
            Problem(row.place, f"the tools hold {token}, which ends or starts turns", "take it out")
            for token in self._special
            if token in described
        ]
        problems += [Problem(row.place, fault, "write it as a text, or as it would be learnt") for fault in _cast(row)]
        if problems:
            return None, problems
        messages = [as_rendered(message) for message in with_prompt(Prompt(system=system), row.sent())]
        tools = json.loads(described) or None  # numbers as the server has them of a request
        try:
            left_out = self._left_out(messages, tools)
            ids, spans = self._tagged_spans(messages, tools) if self._tagged else self._rendered_spans(messages, tools)
            question = self._ids(messages[:-1], tools, add_generation_prompt=True)
        except (TemplateError, ValueError, TypeError) as error:
            return None, [Problem(row.place, f"the chat template refuses the row: {error}")]
        answers = [message for message in row.messages if message.role == "assistant"]
        problems = [Problem(row.place, f"the chat template leaves out {what}", _NO_PLACE) for what in left_out]
        if len(spans) != len(answers):
            problems.append(
                Problem(row.place, f"{len(answers)} answers, but the template marks {len(spans)}", _TEMPLATE)
            )
        if problems:
            return None, problems
        start = spans[-1][0] if spans[-1] else len(question)
        if ids[:start] != question:
            served, trained = (self.tokenizer.decode(part[-24:]) for part in (question, ids[:start]))
            fault = f"the server's prompt would end in {served!r}, but this answer is trained after {trained!r}"
            return None, [Problem(row.place, fault, _TEMPLATE)]
        labels = [IGNORED] * len(ids)
        for span, answer in zip(spans, answers, strict=True):
            if span and answer.trained:
                begin, stop = span[0], self._stop(ids, *span)
                labels[begin : stop + 1] = ids[begin : stop + 1]
        if all(label == IGNORED for label in labels):
            return None, [
                Problem(row.place, "the template leaves none of its answers to learn", "give the last weight 1")
            ]
        return Example(row.place, ids, labels, start), []

    def _left_out(self, messages: Rendered, tools: Tools) -> list[str]:
        """What the row holds beside texts and the template does not render: it would be dropped without a word."""
        left_out = []
        if tools and self._text(messages, tools) == self._text(messages, None):
            left_out.append("the tools")
        for at, message in enumerate(messages):
            for key in ("tool_calls", "name", "reasoning"):
                if key not in message:
                    continue
                without = {name: value for name, value in message.items() if not name.startswith(key)}
                # Up to this turn: what a template forgets of earlier turns, the service's forgets too.
                if self._text(messages[: at + 1], tools) == self._text([*messages[:at], without], tools):
                    left_out.append(f"the {key.replace('_', ' ')} of turn {at + 1}")
        return left_out

    def _text(self, messages: Rendered, tools: Tools) -> str:
        return str(self.tokenizer.apply_chat_template(messages, tools=tools, tokenize=False, **self._kwargs))

    def _tagged_spans(self, messages: Rendered, tools: Tools) -> tuple[list[int], list[Span]]:
        """The ids, and (begin, end) of each stretch inside the template's `{% generation %}` tags."""
        encoded = self.tokenizer.apply_chat_template(
            messages, tools=tools, tokenize=True, return_dict=True, return_assistant_tokens_mask=True, **self._kwargs
        )
        mask = [0, *encoded["assistant_masks"], 0]
        edges = [i for i in range(1, len(mask)) if mask[i] != mask[i - 1]]
        spans: list[Span] = [(begin - 1, end - 1) for begin, end in zip(edges[::2], edges[1::2], strict=True)]
        return list(encoded["input_ids"]), spans

    def _rendered_spans(self, messages: Rendered, tools: Tools) -> tuple[list[int], list[Span]]:
        """The ids, and (begin, end) of each answer: from the end of its prompt to the token that ends its turn.

        None for an earlier answer that the template renders in another way once it is history, as thinking models'
        do: it is context here, because no server ever generates it like that.
        """
        ids = self._ids(messages, tools)
        spans: list[Span] = []
        for position, message in enumerate(messages):
            if message["role"] != "assistant":
                continue
            prompt = self._ids(messages[:position], tools, add_generation_prompt=True)
            begin = len(prompt)
            end = next((i + 1 for i in range(begin, len(ids)) if ids[i] in self.stops), len(ids))
            last = position == len(messages) - 1
            spans.append((begin, end) if last or ids[:begin] == prompt else None)
        return ids, spans

    def _ids(self, messages: Rendered, tools: Tools, *, add_generation_prompt: bool = False) -> list[int]:
        encoded = self.tokenizer.apply_chat_template(
            messages,
            tools=tools,
            tokenize=True,
            return_dict=True,
            add_generation_prompt=add_generation_prompt,
            **self._kwargs,
        )
        return list(encoded["input_ids"])

    def _stop(self, ids: list[int], begin: int, end: int) -> int:
        """Position of the end-of-turn token that closes the answer; white space may follow it inside the span."""
        for position in range(end - 1, begin - 1, -1):
            if ids[position] in self.stops:
                return position
            if self.tokenizer.decode([ids[position]]).strip():
                break
        stops = " or ".join(self.tokenizer.decode([stop]) for stop in sorted(self.stops))
        after = self.tokenizer.decode(ids[end : end + 2])
        fault = f"an answer ends in {self.tokenizer.decode(ids[begin:end][-4:])!r} (then {after!r}), never in {stops}"
        cure = (
            "put the end-of-turn token inside {% generation %} … {% endgeneration %} of the chat template, and name "
            "that token in eos_token_id of generation_config.json"
        )
        summary = "the end of the assistant's turn would not be learnt, and no answer would stop"
        raise InvalidConfig(summary, [Problem("base: chat template", fault, cure)])


_NO_PLACE = "use a base whose chat template renders it, or take it out of the row"
_TEMPLATE = "use an instruct base, or give its folder a chat_template.jinja that renders prompts and answers alike"
