"""Rows of one form into the keys of another. What the other form cannot hold is a fault, never left out.

`dabt data convert` uses this (`training/data/commands/convert.py`); `forms.py` goes the other way.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from lifecycle.conversation import Conversation, Message
from lifecycle.rows.faults import Fault, Unreadable
from lifecycle.rows.kinds import Judged, Labelled, PlainText, Preference, Row

Keys = dict[str, Any]


def as_messages(row: Conversation) -> Keys:
    """The form that holds every conversation."""
    return _filled(
        {
            "id": row.id,
            "tools": list(row.tools),
            "messages": [_turn(message) for message in row.messages],
            "parallel_tool_calls": row.parallel_tool_calls,
            "meta": row.meta,
        }
    )


def _prompt(row: Conversation) -> Keys:
    """As texts where it is one question and one answer, otherwise as lists of turns."""
    *before, last = row.messages
    system, said = _split(row.messages)
    if len(said) == 2 and _is_plain(row) and len(system) <= 1:
        texts = {"prompt": said[0].content, "completion": last.content}
        return _head(row, system, texts)
    turns = {"prompt": [_turn(message) for message in before], "completion": [_turn(last)]}
    return _head(row, (), turns) | _filled({"tools": list(row.tools), "parallel_tool_calls": row.parallel_tool_calls})


def _alpaca(row: Conversation) -> Keys:
    system, said = _plain(row, "alpaca")
    texts = [message.content for message in said]
    history = [list(pair) for pair in zip(texts[:-2:2], texts[1:-2:2], strict=True)]
    return _head(row, system, {"instruction": texts[-2], "input": "", "output": texts[-1]}) | _filled(
        {"history": history}
    )


def _pair(row: Conversation) -> Keys:
    system, said = _plain(row, "pair")
    if len(said) != 2:
        raise _lost("pair", "several questions and answers")
    return _head(row, system, {"user": said[0].content, "assistant": said[1].content})


def _sharegpt(row: Conversation) -> Keys:
    names = {"system": "system", "user": "human", "assistant": "gpt"}
    _plain(row, "sharegpt", several_systems=True)
    turns = [{"from": names[message.role], "value": message.content} for message in row.messages]
    return _head(row, (), {"conversations": turns})


def _openai_preference(row: Preference) -> Keys:
    asked = _filled(
        {
            "messages": [_turn(message) for message in row.messages],
            "tools": list(row.tools),
            "parallel_tool_calls": row.parallel_tool_calls,
        }
    )
    answers = {
        "preferred_output": [_turn(message) for message in row.chosen],
        "non_preferred_output": [_turn(message) for message in row.rejected],
    }
    return _filled({"id": row.id, "input": asked, **answers, "meta": row.meta})


def _trl_preference(row: Preference) -> Keys:
    parts = {"prompt": row.messages, "chosen": row.chosen, "rejected": row.rejected}
    if (
        not row.tools
        and row.parallel_tool_calls is None
        and all(len(part) == 1 and not _odd(part[0]) and part[0].role != "system" for part in parts.values())
    ):
        return _filled({"id": row.id, **{key: part[0].content for key, part in parts.items()}, "meta": row.meta})
    turns = {key: [_turn(message) for message in part] for key, part in parts.items()}
    more = {"tools": list(row.tools), "parallel_tool_calls": row.parallel_tool_calls, "meta": row.meta}
    return _filled({"id": row.id, **turns, **more})


def _labelled(row: Labelled) -> Keys:
    return _filled({"id": row.id, "meta": row.meta}) | {"text": row.text, "label": row.label}


def _classified(row: Labelled) -> Keys:
    """A text to classify is a question, and its label the answer."""
    if not isinstance(row.label, str):
        raise Unreadable([Fault("not_text", f"label is the number {row.label}", "write the label in words", "label")])
    messages = [{"role": "user", "content": row.text}, {"role": "assistant", "content": row.label}]
    return _filled({"id": row.id, "messages": messages, "meta": row.meta})


def _text(row: PlainText) -> Keys:
    return _filled({"id": row.id, "text": row.text, "meta": row.meta})


def _good(row: Judged) -> Keys:
    if not row.good:
        cure = "take the row out: a bad answer would be learnt as a good one"
        raise Unreadable([Fault("bad_answer", "the answer was judged bad", cure)])
    return as_messages(row.conversation)


def _judged(row: Judged) -> Keys:
    return as_messages(row.conversation) | {"label": row.good}


TARGETS: dict[str, dict[type[Any], Callable[[Any], Keys]]] = {
    "messages": {Conversation: as_messages, Judged: _good, Labelled: _classified},
    "prompt": {Conversation: _prompt},
    "alpaca": {Conversation: _alpaca},
    "sharegpt": {Conversation: _sharegpt},
    "pair": {Conversation: _pair},
    "judged": {Judged: _judged},
    "preference": {Preference: _trl_preference},
    "preference-openai": {Preference: _openai_preference},
    "classification": {Labelled: _labelled},
    "text": {PlainText: _text},
}
"""What rows can be converted to, from which kinds."""


def usual_form(row: Row) -> str:
    """The form that holds every row of its kind."""
    usual = {Judged: "judged", Preference: "preference", Labelled: "classification", PlainText: "text"}
    return usual.get(type(row), "messages")


def converted(row: Row, target: str) -> Keys:
    """The row's keys in the form `target`, one of `TARGETS`. Raises `Unreadable` where that cannot hold all of it."""
    makers = TARGETS[target]
    if type(row) not in makers:
        able = ", ".join(name for name, kinds in TARGETS.items() if type(row) in kinds) or "nothing yet"
        raise Unreadable([Fault("wrong_kind", f"a row of this kind has no form {target}", f"it can become {able}")])
    return makers[type(row)](row)


def _turn(message: Message) -> Keys:
    turn = message.sent()
    if message.tool_calls and not message.content:
        turn["content"] = None
    return turn if message.trained else {**turn, "weight": 0}


def _head(row: Conversation, system: Sequence[Message], said: Keys) -> Keys:
    return _filled({"id": row.id, "system": system[0].content if system else ""}) | said | _filled({"meta": row.meta})


def _split(messages: Sequence[Message]) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    system = tuple(message for message in messages if message.role == "system")
    return system, tuple(message for message in messages if message.role != "system")


def _plain(
    row: Conversation, form: str, *, several_systems: bool = False
) -> tuple[tuple[Message, ...], tuple[Message, ...]]:
    """(system texts, turns) of a row that is nothing but texts."""
    if faults := [_lost(form, what).faults[0] for what in _beyond_texts(row)]:
        raise Unreadable(faults)
    system, said = _split(row.messages)
    if len(system) > 1 and not several_systems:
        raise _lost(form, "several system texts")
    return system, said


def _is_plain(row: Conversation) -> bool:
    return not any(_beyond_texts(row))


def _beyond_texts(row: Conversation) -> Iterator[str]:
    """What a form of texts alone has no place for."""
    if row.tools or any(message.role == "tool" or message.tool_calls for message in row.messages):
        yield "tools and their calls"
    if row.parallel_tool_calls is not None:
        yield "parallel_tool_calls"
    for key, has in (
        ("weight 0", lambda m: not m.trained),
        ("name", lambda m: m.name),
        ("reasoning", lambda m: m.reasoning),
    ):
        if any(has(message) for message in row.messages):
            yield key


def _odd(message: Message) -> bool:
    return bool(message.tool_calls or message.name or message.reasoning or not message.trained)


def _lost(form: str, what: str) -> Unreadable:
    return Unreadable([Fault("would_be_lost", f"the form {form} has no place for {what}", "convert to messages")])


def _filled(keys: Keys) -> Keys:
    return {key: value for key, value in keys.items() if value not in (None, "", [], {})}
