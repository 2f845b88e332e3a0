"""The forms that rows come in, each read into one `Conversation`: to train on, to be evaluated on, to show as examples.

    messages        {"messages": [{"role": "user", "content": "…"}, {"role": "assistant", "content": "…"}]}
                    OpenAI's fine-tuning rows (`weight: 0` leaves an answer untrained) and TRL's conversational rows
    prompt          {"prompt": "…", "completion": "…"}, as text or each as a list of messages
    alpaca          {"instruction": "…", "input": "…", "output": "…"}, optional `system` and `history`
    sharegpt        {"conversations": [{"from": "human", "value": "…"}, {"from": "gpt", "value": "…"}]}
    pair            {"user": "…", "assistant": "…"}

Each may have an `id`, a `meta` object and a `system` text. `files.py` reads whole files with this.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from lifecycle.conversation import Conversation, Message, is_text, texts_in

FORMS = (
    "messages, prompt/completion, alpaca (instruction/input/output), sharegpt (conversations from/value) or "
    "user/assistant"
)

_ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
}  # fmt: skip


class Unreadable(ValueError):
    """The row cannot be understood; `faults` says why. It never leaves `files.py`."""

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
            if faults := [*_unused(row), *_order_faults(messages)]:
                raise Unreadable(faults)
            meta, row_id = row.get("meta"), row.get("id")
            return Conversation(
                place, "" if row_id is None else str(row_id), messages, meta if isinstance(meta, dict) else {}
            )
    raise Unreadable([f"unknown form with the keys {', '.join(map(str, row)) or '(none)'}; expected {FORMS}"])


def _chat(row: dict[str, Any]) -> tuple[Message, ...]:
    return (*_system(row), *_messages(row["messages"], "messages", "role", "content"))


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
        return (*_system(row), *left, *_messages(completion, "completion", "role", "content"))
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


def _pair(row: dict[str, Any]) -> tuple[Message, ...]:
    return (*_system(row), *_texts(row, ("user", "user"), ("assistant", "assistant")))


_READERS: dict[str, Callable[[dict[str, Any]], tuple[Message, ...]]] = {
    "messages": _chat,
    "conversations": _sharegpt,
    "prompt": _prompt_completion,
    "instruction": _alpaca,
    "user": _pair,
}


def _unused(row: dict[str, Any]) -> list[str]:
    """What would be left out of the prompt without a word."""
    return [f"{key} cannot be used yet; take it out" for key in ("tools", "functions") if row.get(key)]


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
        if turn.get("tool_calls") or turn.get("function_call") or turn.get("role") in ("tool", "function"):
            faults.append(f"{place} is a tool call; tool calls cannot be used yet")
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
        if content and all(is_text(part) for part in content):
            return texts_in(content), ""
        return "", "holds parts that are not text; only text can be used"
    return "", f"is {_kind(content)}, not text"


def _order_faults(messages: tuple[Message, ...]) -> list[str]:
    faults = []
    if not messages:
        return ["there are no turns"]
    leading = next((at for at, message in enumerate(messages) if message.role != "system"), len(messages))
    turns = messages[leading:]
    for number, message in enumerate(turns):
        expected = "user" if number % 2 == 0 else "assistant"
        if message.role != expected:
            faults.append(f"turn {number + 1} is from the {message.role}; user and assistant take turns, user first")
            break
    faults += [f"an empty {m.role} turn" for m in messages if not m.content.strip()]
    if not turns or turns[-1].role != "assistant":
        faults.append("the last turn is not the assistant's, so there is no answer")
    elif not any(m.trained for m in turns if m.role == "assistant"):
        faults.append("every answer has weight 0: it is context, and none is left to learn or to compare with")
    return faults


def _kind(value: Any) -> str:
    names = {type(None): "null", bool: "true/false", int: "a number", float: "a number", str: "a text", list: "a list"}
    return names.get(type(value), "an object")
