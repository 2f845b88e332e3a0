"""Rows that judge answers or have none: preference in its four dialects, text with a label, and text alone.

Each has a method of its own; where another is asked for, the error says which. `forms.py` tells which form a row has.
"""

from __future__ import annotations

from typing import Any

from lifecycle.conversation import Message
from lifecycle.rows.conversations import Head, Keys, asked
from lifecycle.rows.faults import Fault, Unreadable, unreadable
from lifecycle.rows.kinds import Labelled, PlainText, Preference
from lifecycle.rows.turns import kind, messages, order_faults, text_message

_BOTH = ("chosen", "rejected")


def openai_preference(row: Keys, place: str) -> Preference:
    """OpenAI's rows for DPO: `input` holds the messages and the tools."""
    asked_for = row["input"]
    if not isinstance(asked_for, dict):
        raise unreadable(
            "wrong_type", f"input is {kind(asked_for)}, not an object with messages", 'write {"messages": […]}', "input"
        )
    if unknown := [key for key in asked_for if key not in ("messages", "tools", "parallel_tool_calls")]:
        raise Unreadable(Fault("unknown_key", f"input.{key} would be left out", "take it out", key) for key in unknown)
    prompt = messages(asked_for.get("messages"), "input.messages")
    chosen, rejected = (messages(row[key], key) for key in ("preferred_output", "non_preferred_output"))
    return _preference(
        row | {key: asked_for[key] for key in asked_for if key != "messages"}, place, prompt, chosen, rejected
    )


def trl_preference(row: Keys, place: str) -> Preference:
    """`prompt`, `chosen` and `rejected` as texts or lists; without `prompt`, what both lists begin with."""
    if "prompt" not in row:
        if not all(isinstance(row[key], list) for key in _BOTH):
            cure = "add the prompt, or write chosen and rejected as lists of turns"
            raise unreadable("missing_key", "there is no prompt, and chosen and rejected are texts", cure, "prompt")
        chosen, rejected = (messages(row[key], key) for key in _BOTH)
        shared = next((at for at, (one, other) in enumerate(zip(chosen, rejected, strict=False)) if one != other), 0)
        return _preference(row, place, chosen[:shared], chosen[shared:], rejected[shared:])
    prompt = (
        messages(row["prompt"], "prompt") if isinstance(row["prompt"], list) else (text_message(row, "prompt", "user"),)
    )
    chosen, rejected = (_behind(prompt, _answer(row, key)) for key in _BOTH)
    return _preference(row, place, prompt, chosen, rejected)


def alpaca_preference(row: Keys, place: str) -> Preference:
    """LLaMA-Factory's: `instruction` and `input`, with `chosen` and `rejected` as texts."""
    return _preference(row, place, asked(row), _answer(row, "chosen"), _answer(row, "rejected"))


def sharegpt_preference(row: Keys, place: str) -> Preference:
    """LLaMA-Factory's: `conversations` up to the question, with one turn each as `chosen` and `rejected`."""
    prompt = messages(row["conversations"], "conversations")
    return _preference(row, place, prompt, _answer(row, "chosen"), _answer(row, "rejected"))


def labelled(row: Keys, place: str) -> Labelled:
    head, text, label = Head(row, ()), text_message(row, "text", ""), row["label"]
    faults = list(head.faults)
    if isinstance(label, bool) or not isinstance(label, str | int) or label == "":
        faults.append(
            Fault("wrong_type", f"label is {kind(label)}, not a text or a whole number", "write it as a text", "label")
        )
    if faults := [*faults, *_empty(text)]:
        raise Unreadable(faults)
    return Labelled(place, head.id, text.content, label, head.meta)


def plain_text(row: Keys, place: str) -> PlainText:
    head, text = Head(row, ()), text_message(row, "text", "")
    if faults := [*head.faults, *_empty(text)]:
        raise Unreadable(faults)
    return PlainText(place, head.id, text.content, head.meta)


def _empty(text: Message) -> list[Fault]:
    return [] if text.content.strip() else [Fault("empty", "text is empty", "take the row out", "text")]


def _answer(row: Keys, key: str) -> tuple[Message, ...]:
    value: Any = row[key]
    if isinstance(value, dict):
        value = [value]
    return messages(value, key) if isinstance(value, list) else (text_message(row, key, "assistant"),)


def _behind(prompt: tuple[Message, ...], answer: tuple[Message, ...]) -> tuple[Message, ...]:
    """Some files say the prompt again in each answer."""
    return answer[len(prompt) :] if answer[: len(prompt)] == prompt else answer


def _preference(
    row: Keys, place: str, prompt: tuple[Message, ...], chosen: tuple[Message, ...], rejected: tuple[Message, ...]
) -> Preference:
    head = Head(row, prompt)
    faults = [*head.faults, *order_faults(head.messages, answered=False)]
    if not faults:
        for which, answer in (("chosen", chosen), ("rejected", rejected)):
            for fault in order_faults((*head.messages, *answer)):
                faults.append(Fault(fault.code, f"{which}: {fault.says}", fault.cure, which))
    if chosen == rejected:
        faults.append(Fault("same_answers", "both answers are the same", "take the row out", "rejected"))
    if faults:
        raise Unreadable(faults)
    return Preference(place, head.id, head.messages, chosen, rejected, head.meta, head.tools, head.parallel)
