"""Rows for a base without a chat template, a pure language model: a prompt, and the text that goes on from it.

The prompt's tokens are those that `/v1/completions` makes of the same text. Read `tokens.py` for bases with a template.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lifecycle.conversation import Conversation
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import BaseFingerprint, chat_template_of
from lifecycle.models.generation import stop_ids
from lifecycle.models.tokenizer import load_tokenizer
from lifecycle.rows.faults import bad_rows
from lifecycle.version import Prompt
from training.tokens import IGNORED, ChatTokenizer, Example

_CHAT = "the base has no chat template"
_GIVE = "write prompt and completion, or give the base a template by template: chatml"


class CompletionTokenizer:
    """The base's tokenizer alone. The same calls as `ChatTokenizer`'s."""

    def __init__(self, tokenizer: Any, stops: frozenset[int]) -> None:
        """Raises `InvalidConfig` for a tokenizer without an end-of-text token."""
        if tokenizer.eos_token_id is None:
            problem = Problem("base", "no text could end", "set eos_token in tokenizer_config.json")
            raise InvalidConfig("the base's tokenizer names no end-of-text token", [problem])
        self.tokenizer = tokenizer
        self.stops = stops | {tokenizer.eos_token_id}
        self._special = [token for token in tokenizer.all_special_tokens if token.strip()]

    @classmethod
    def load(cls, base: Path) -> CompletionTokenizer:
        return cls(load_tokenizer(base), frozenset(stop_ids(base)))

    def examples(self, rows: Sequence[Conversation], system: str, max_length: int) -> list[Example]:
        """Every row in order; the answer and the end of the text behind it are learnt.

        Raises `InvalidData` with all rows that are no single question and answer, hold a special token's text, or are
        longer than `max_length` tokens; `InvalidConfig` for a system text, which `/v1/completions` has no place for.
        """
        if system:
            fault = "the base has no chat template, so nothing puts a system text before a prompt"
            raise InvalidConfig("the prompt cannot be served", [Problem("prompt.system", fault, _GIVE)])
        examples, problems = [], []
        for row in rows:
            said = tuple(message.role for message in row.messages)
            if said != ("user", "assistant") or row.tools or any(m.reasoning or m.tool_calls for m in row.messages):
                problems.append(Problem(row.place, f"is more than one question and its answer, and {_CHAT}", _GIVE))
                continue
            question, answer = (message.content for message in row.messages)
            problems += self.special(row.place, question, answer)
            prompt = self.tokenizer(question)["input_ids"]
            ids = [*self._continued(prompt, question, answer), self.tokenizer.eos_token_id]
            if len(ids) > max_length:
                fault = f"is {len(ids)} tokens long, more than {max_length}"
                problems.append(Problem(row.place, fault, "shorten it, or raise optimisation.max_length"))
            labels = [IGNORED] * len(prompt) + ids[len(prompt) :]
            examples.append(Example(row.place, ids, labels, len(prompt)))
        if problems:
            raise bad_rows(problems, ", ".join(sorted({row.place.rpartition(":")[0] for row in rows})))
        return examples

    def special(self, place: str, *texts: str) -> list[Problem]:
        """Special tokens that stand in `texts` as text: the tokenizer would not read them as text."""
        return [
            Problem(place, f"holds {token}, which is no text to the base", "take it out")
            for token in self._special
            if any(token in text for text in texts)
        ]

    def _continued(self, prompt: list[int], question: str, answer: str) -> list[int]:
        """The prompt's tokens and the answer's: those of the whole text, where it begins with the prompt's."""
        whole = list(self.tokenizer(question + answer)["input_ids"])
        if whole[: len(prompt)] == prompt:
            return whole
        return [*prompt, *self.tokenizer(answer, add_special_tokens=False)["input_ids"]]


def tokenizer_of(base: Path, known: BaseFingerprint | None, prompt: Prompt) -> ChatTokenizer | CompletionTokenizer:
    """What makes tokens of rows over this model folder, behind this prompt."""
    return ChatTokenizer.load(base, known, prompt) if chat_template_of(base) else CompletionTokenizer.load(base)
