"""The forms that training rows come in, each read into one `Conversation`.

    messages        {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
                    OpenAI's fine-tuning rows (`weight: 0` leaves an answer untrained) and TRL's conversational rows
    prompt          {"prompt": "…", "completion": "…"}, as text or each as a list of messages
    alpaca          {"instruction": "…", "input": "…", "output": "…"}, optional `system` and `history`
    sharegpt        {"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}

`rows.py` reads whole files with this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

FORMS = "messages, prompt/completion, alpaca (instruction/input/output) or sharegpt (conversations from/value)"

_ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. `trained` is false for an answer that is only context (OpenAI's `weight: 0`)."""

    role: str
    """system, user or assistant"""
    content: str
    trained: bool = True


@dataclass(frozen=True, slots=True)
class Conversation:
    """One training row: an optional system turn, then user and assistant in turn, ending with the assistant."""

    place: str
    """`file:line`"""
    id: str
    messages: tuple[Message, ...]
    meta: dict[str, Any] = field(default_factory=dict)

    @property
    def system(self) -> str:
        """The row's own system text, if it has one."""
        return self.messages[0].content if self.messages[0].role == "system" else ""

    @property
    def turns(self) -> tuple[Message, ...]:
        """Everything after the system turn."""
        return self.messages[1:] if self.messages[0].role == "system" else self.messages

    @property
    def question(self) -> str:
        """All user turns; what a duplicate or a leak is judged by."""
        return "\n".join(m.content for m in self.messages if m.role == "user")

    @property
    def answer(self) -> str:
        """The last assistant turn."""
        return self.messages[-1].content


class Unreadable(ValueError):
    """The row cannot be understood; `faults` says why. It never leaves `rows.py`."""

    def __init__(self, faults: Iterable[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(self.faults))


def conversation(row: Any, place: str) -> Conversation:
    """The row's conversation. Raises `Unreadable` with every fault of the row."""
    if not isinstance(row, dict):
        raise Unreadable([f"the row is {_kind(row)}, not a JSON object; expected {FORMS}"])
    for key, read in _READERS.items():
        if key in row:
            messages = read(row)
            if faults := _order_faults(messages):
                raise Unreadable(faults)
            meta = row.get("meta")
            return Conversation(place, str(row.get("id", "")), messages, meta if isinstance(meta, dict) else {})
    raise Unreadable([f"unknown form with the keys {', '.join(map(str, row)) or '(none)'}; expected {FORMS}"])


def _chat(row: dict[str, Any]) -> tuple[Message, ...]:
    return _messages(row["messages"], "messages", "role", "content")


def _sharegpt(row: dict[str, Any]) -> tuple[Message, ...]:
    # Some sharegpt files write role/content under `conversations`.
    turns = row["conversations"]
    first = turns[0] if isinstance(turns, list) and turns and isinstance(turns[0], dict) else {}
    keys = ("role", "content") if "role" in first else ("from", "value")
    messages = _messages(turns, "conversations", *keys)
    return (*_system(row), *messages)


def _prompt_completion(row: dict[str, Any]) -> tuple[Message, ...]:
    prompt, completion = row["prompt"], row.get("completion")
    if isinstance(prompt, list) or isinstance(completion, list):
        left = _messages(prompt, "prompt", "role", "content")
        return (*left, *_messages(completion, "completion", "role", "content"))
    return (*_system(row), *_texts(row, ("prompt", "user"), ("completion", "assistant")))


def _alpaca(row: dict[str, Any]) -> tuple[Message, ...]:
    history = row.get("history") or []
    if not isinstance(history, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in history):
        raise Unreadable(["history must be a list of [question, answer] pairs"])
    if not all(isinstance(text, str) for pair in history for text in pair):
        raise Unreadable(["history must hold texts only"])
    earlier = [Message(role, text) for pair in history for role, text in zip(("user", "assistant"), pair, strict=True)]
    user, assistant = _texts(row, ("instruction", "user"), ("output", "assistant"))
    extra = row.get("input") or ""
    if not isinstance(extra, str):
        raise Unreadable([f"input is {_kind(extra)}, not text"])
    if extra.strip():
        user = Message("user", f"{user.content}\n\n{extra}")
    return (*_system(row), *earlier, user, assistant)


_READERS: dict[str, Callable[[dict[str, Any]], tuple[Message, ...]]] = {
    "messages": _chat,
    "conversations": _sharegpt,
    "prompt": _prompt_completion,
    "instruction": _alpaca,
}


def _system(row: dict[str, Any]) -> tuple[Message, ...]:
    text = row.get("system")
    if text is not None and not isinstance(text, str):
        raise Unreadable([f"system is {_kind(text)}, not text"])
    return (Message("system", text),) if text and text.strip() else ()


def _texts(row: dict[str, Any], *pairs: tuple[str, str]) -> tuple[Message, ...]:
    faults, messages = [], []
    for key, role in pairs:
        text = row.get(key)
        if key not in row:
            faults.append(f"{key} is missing")
        elif not isinstance(text, str):
            faults.append(f"{key} is {_kind(text)}, not text")
        else:
            messages.append(Message(role, text))
    if faults:
        raise Unreadable(faults)
    return tuple(messages)


def _messages(value: Any, key: str, role_key: str, text_key: str) -> tuple[Message, ...]:
    if not isinstance(value, list):
        raise Unreadable([f"{key} is {_kind(value)}, not a list of turns"])
    faults, messages = [], []
    for number, turn in enumerate(value):
        place = f"{key}[{number}]"
        if not isinstance(turn, dict):
            faults.append(f"{place} is {_kind(turn)}, not an object")
            continue
        if turn.get("tool_calls") or turn.get("role") in ("tool", "function"):
            faults.append(f"{place} is a tool call; tool calls cannot be trained yet")
            continue
        role = _ROLES.get(str(turn.get(role_key)))
        if role_key not in turn:
            faults.append(f"{place} has no {role_key}")
        elif role is None:
            faults.append(f"{place}.{role_key} is {turn[role_key]!r}; expected system, user or assistant")
        text, fault = _text(turn.get(text_key))
        if fault:
            faults.append(f"{place}.{text_key} {fault if text_key in turn else 'is missing'}")
        weight = turn.get("weight", 1)
        if weight not in (0, 1):
            faults.append(f"{place}.weight is {weight!r}; expected 0 or 1")
        if role and not fault:
            messages.append(Message(role, text, trained=weight != 0))
    if faults:
        raise Unreadable(faults)
    return tuple(messages)


def _text(content: Any) -> tuple[str, str]:
    """The text and no fault, or the fault. OpenAI's list of text parts counts as text; images do not."""
    if isinstance(content, str):
        return content, ""
    if isinstance(content, list):
        parts = [
            part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in content
        ]
        texts = [part for part in parts if isinstance(part, str)]
        if len(texts) == len(parts) > 0:
            return "".join(texts), ""
        return "", "holds parts that are not text; only text can be trained"
    return "", f"is {_kind(content)}, not text"


def _order_faults(messages: tuple[Message, ...]) -> list[str]:
    faults = []
    if not messages:
        return ["there are no turns"]
    turns = messages[1:] if messages[0].role == "system" else messages
    for number, message in enumerate(turns):
        expected = "user" if number % 2 == 0 else "assistant"
        if message.role != expected:
            faults.append(f"turn {number + 1} is from the {message.role}; user and assistant take turns, user first")
            break
    faults += [f"an empty {m.role} turn" for m in messages if not m.content.strip()]
    if not turns or turns[-1].role != "assistant":
        faults.append("the last turn is not the assistant's, so there is nothing to learn")
    elif not any(m.trained for m in turns if m.role == "assistant"):
        faults.append("every answer has weight 0, so there is nothing to learn")
    return faults


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true/false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "an object")
