"""A conversation, and the one way in which a version's prompt is put around its messages.

What is trained, what an evaluation sends and what the service serves pass through `with_prompt` and `with_kwargs`, so
that the model sees the same text in all three. `rows/forms.py` reads conversations from files.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from lifecycle.version import Prompt

_SYSTEM_ROLES = ("system", "developer")
"""`developer` is OpenAI's newer word for the same thing; few chat templates know it."""


@dataclass(frozen=True, slots=True)
class ToolCall:
    """What the assistant asks of a tool. `arguments` is the JSON text of an object, as it was written."""

    id: str
    name: str
    arguments: str

    def sent(self) -> dict[str, Any]:
        """As the OpenAI API writes it."""
        return {"id": self.id, "type": "function", "function": {"name": self.name, "arguments": self.arguments}}


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `trained` is false for an answer that is only context (OpenAI's `weight: 0`)."""

    role: str
    """system, user, assistant or tool"""
    content: str
    """Empty for an answer that only calls tools."""
    trained: bool = True
    name: str = ""
    reasoning: str = ""
    """What a thinking model says before its answer."""
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str = ""
    """The call that a tool's turn answers."""

    @property
    def texts(self) -> tuple[str, ...]:
        """All that the turn says: its content, its reasoning, and the name and arguments of each call."""
        calls = (text for call in self.tool_calls for text in (call.name, call.arguments))
        return tuple(text for text in (self.content, self.reasoning, self.name, *calls) if text)

    def sent(self) -> dict[str, Any]:
        """As a caller of the service writes it; a turn of text alone has its role and its content."""
        more: dict[str, Any] = {
            "name": self.name,
            "reasoning": self.reasoning,
            "tool_calls": [call.sent() for call in self.tool_calls],
            "tool_call_id": self.tool_call_id,
        }
        return {"role": self.role, "content": self.content, **{key: value for key, value in more.items() if value}}


@dataclass(frozen=True, slots=True)
class Conversation:
    """One row: system turns, if any, then user and assistant in turn, ending with the assistant.

    The turns of tools stand behind the answer that calls them.
    """

    place: str
    """`file:line`"""
    id: str
    messages: tuple[Message, ...]
    meta: dict[str, Any] = field(default_factory=dict)
    tools: tuple[dict[str, Any], ...] = ()
    """What the assistant may call, as the OpenAI API writes it."""
    parallel_tool_calls: bool | None = None
    """False where one answer may call one tool alone."""

    @property
    def system(self) -> str:
        """The row's own system text, if it has one."""
        return "\n\n".join(m.content for m in self.messages if m.role == "system")

    @property
    def question(self) -> str:
        """All user turns; what a duplicate or a leak is judged by."""
        return "\n".join(m.content for m in self.messages if m.role == "user")

    @property
    def answer(self) -> str:
        """The last assistant turn: its text, and the tools that it calls."""
        last = self.messages[-1]
        calls = (f"{call.name}({call.arguments})" for call in last.tool_calls)
        return "\n".join(text for text in (last.content, *calls) if text)

    def sent(self) -> list[dict[str, Any]]:
        """The turns as a caller of the service writes them."""
        return [message.sent() for message in self.messages]


def with_prompt(prompt: Prompt, messages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the chat template is given: system text, shots, then the conversation. `messages` stay as they were.

    The version's system text comes first. Those that `messages` begin with follow in the same turn, each after a blank
    line and to its last character; one that repeats the version's is not said twice. A first one that begins with the
    version's, to its last character, and goes on behind white space or another sign that ends a word stands as it is:
    whoever sends it has joined the two already. Without a system text of the version's they stay as they are, before
    the shots. A system turn further down is a turn like any other.
    A content of text parts becomes one text, by the rule that vLLM has for templates that take texts.
    """
    turns = [_as_text(message) for message in messages]
    at = next((at for at, turn in enumerate(turns) if turn["role"] not in _SYSTEM_ROLES), len(turns))
    leading, rest = turns[:at], turns[at:]
    if prompt.system.strip():
        texts = [texts_in(turn.get("content")) for turn in leading]
        said, begun = prompt.system.strip(), prompt.system
        if texts and goes_on(prompt.system, texts[0]):
            begun, texts = texts[0], texts[1:]
        content = "\n\n".join([begun, *_not_said_yet(said, texts)])
        first: list[dict[str, Any]] = [{"role": "system", "content": content}]
    else:
        first = [{**turn, "role": "system"} for turn in leading]
    for shot in prompt.shots:
        first += [{"role": "user", "content": shot.user}, {"role": "assistant", "content": shot.assistant}]
    return [*first, *rest]


def with_kwargs(prompt: Prompt, asked: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What the chat template is told: the version's own switches, under those that a request names.

    A request's value takes the place of the version's under the same name, as vLLM lets a request's
    `chat_template_kwargs` take the place of the server's defaults.
    """
    return {**prompt.chat_template_kwargs, **(asked or {})}


def texts_in(content: Any) -> str:
    """The text of a content, or of its parts: one to a line, without those that are no text."""
    if isinstance(content, list):
        return "\n".join(part["text"] for part in content if is_text(part))
    return content or ""


def is_text(part: Any) -> bool:
    return isinstance(part, dict) and part.get("type") == "text" and isinstance(part.get("text"), str)


def _as_text(message: dict[str, Any]) -> dict[str, Any]:
    """The same message with one text in place of text parts; one that holds an image too stays as it is."""
    content = message.get("content")
    if isinstance(content, list) and content and all(is_text(part) for part in content):
        return {**message, "content": texts_in(content)}
    return message


def goes_on(said: str, text: str) -> bool:
    """Whether `text` says it first, and then something else: behind white space, or words of its own behind a sign.

    A last word that only begins alike is another word, and a text with another end is another text.
    """
    own = text.removeprefix(said)
    if not text.startswith(said) or not own.strip() or own.lstrip().startswith(said.strip()):
        return False
    if said[-1].isspace() or own[0].isspace():
        return True
    return any(map(str.isalnum, own)) and not (_in_word(said[-1]) and _in_word(own[0]))


def _in_word(sign: str) -> bool:
    """Letters, digits, and what is written on or between letters: vowel marks, joiners, the hamza above."""
    return sign.isalnum() or unicodedata.category(sign) in ("Mn", "Mc", "Me", "Cf", "Pc")


def _not_said_yet(said: str, texts: Sequence[str]) -> Iterator[str]:
    """`texts` without those that say the version's again, alone or before words of their own."""
    for text in texts:
        own = text.lstrip()  # its end stays: lm-eval sends the line breaks that end a task's description
        while own.rstrip() == said or own.startswith(said + "\n\n"):
            own = own.removeprefix(said).lstrip()
        if own:
            yield own
