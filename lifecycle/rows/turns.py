"""Turns as OpenAI, ShareGPT and TRL write them, into messages; and the order in which they must stand."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lifecycle.conversation import Message, ToolCall, is_text, texts_in
from lifecycle.rows.faults import Fault, Unreadable, unreadable
from lifecycle.rows.pairs import pair_of
from lifecycle.text import strict_json

_ROLES = {
    "system": "system", "developer": "system",
    "user": "user", "human": "user",
    "assistant": "assistant", "gpt": "assistant", "model": "assistant", "chatgpt": "assistant", "bot": "assistant",
    "bing": "assistant", "bard": "assistant",
    "tool": "tool", "observation": "tool",
}  # fmt: skip
_AS_TURN = 'write {"role": "user", "content": "…"}'
_WORDS = "expected system, user, assistant or tool"
_CALLS_HERE = "function_call"
"""ShareGPT's turn whose value is the call: the JSON text of `{"name": …, "arguments": {…}}`."""

_OLD = ("function_call", "functions")
_TURN = {"name", "weight", "tool_calls", "tool_call_id", "reasoning", "reasoning_content", "refusal", "audio", *_OLD}
"""Keys that a turn may have beside its role and its text; `refusal` and `audio` when they say nothing."""

OLD_SPELLING = "is the old spelling of a tool call"
NEW_SPELLING = "write tools, tool_calls, and turns with the role tool"


def messages(value: Any, key: str) -> tuple[Message, ...]:
    """The turns in a list under `key`. Raises `Unreadable` with every fault of every turn."""
    if not isinstance(value, list):
        raise unreadable("wrong_type", f"{key} is {kind(value)}, not a list of turns", _AS_TURN, key)
    faults: list[Fault] = []
    read: list[Message] = []
    for number, turn in enumerate(value):
        try:
            if type(turn) is dict and len(turn) == 2:
                text, role = turn.get("content"), turn.get("role")
                if type(text) is str and type(role) is str and role in _ROLES:
                    read.append(Message(_ROLES[role], text))  # as nearly every turn is: nothing else has a say
                    continue
            read += _turn(turn, f"{key}[{number}]", read)
        except Unreadable as wrong:
            faults += wrong.faults
    if faults:
        raise Unreadable(faults)
    return tuple(read)


def _turn(turn: Any, place: str, before: Sequence[Message]) -> list[Message]:
    if not isinstance(turn, dict):
        raise unreadable("wrong_type", f"{place} is {kind(turn)}, not an object", _AS_TURN, place)
    if (pair := pair_of(turn)) and len(turn) == 2:
        return [
            text_message(turn, key, role, f"{place}.") for key, role in zip(pair, ("user", "assistant"), strict=True)
        ]
    role_key, text_key = ("from", "value") if "from" in turn or "value" in turn else ("role", "content")
    said = {key: part for key, part in turn.items() if part is not None}
    faults = [*_unknown_keys(said, place, {role_key, text_key})]
    if role_key not in turn:
        faults.append(Fault("missing_key", f"{place} has no {role_key}", _WORDS, place))
    elif turn[role_key] == _CALLS_HERE and text_key == "value":
        return [_call_in_the_value(turn, place, len(before), faults)]
    role = _ROLES.get(turn[role_key]) if isinstance(turn.get(role_key), str) else None
    if role_key in turn and role is None:
        given = f"{place}.{role_key} is {turn[role_key]!r:.60}"
        faults.append(
            Fault("old_tool_call", f"{given}, which {OLD_SPELLING}", NEW_SPELLING, f"{place}.{role_key}")
            if turn[role_key] == "function"
            else Fault("unknown_role", f"{given}; {_WORDS}", "write one of them", f"{place}.{role_key}")
        )
    calls, wrong = _calls(said.get("tool_calls"), f"{place}.tool_calls")
    faults += wrong
    if calls and role != "assistant":
        faults.append(
            Fault(
                "wrong_role",
                f"{place} calls tools and is not the assistant's",
                "move tool_calls to the assistant's turn",
                place,
            )
        )
    text, fault = _text(turn.get(text_key), optional=bool(said.get("tool_calls")))
    if fault:
        says = f"{place}.{text_key} {fault if text_key in turn else 'is missing'}"
        faults.append(
            Fault("not_text" if text_key in turn else "missing_key", says, "write a text", f"{place}.{text_key}")
        )
    weight = said.get("weight", 1)
    if isinstance(weight, bool) or weight not in (0, 1):
        says, cure = f"{place}.weight is {weight!r:.60}; expected 0 or 1", "write 1 to learn the turn, 0 for context"
        faults.append(Fault("wrong_type", says, cure, f"{place}.weight"))
    more, wrong = _more_texts(said, place, role)
    faults += wrong
    if faults:
        raise Unreadable(faults)
    assert role is not None
    asked = more.pop("tool_call_id")
    if role == "tool" and not asked and text_key == "value":
        asked = _oldest_unanswered(before)
    return [Message(role, text, trained=weight != 0, tool_calls=calls, tool_call_id=asked, **more)]


def _unknown_keys(turn: Mapping[str, Any], place: str, own: set[str]) -> Iterator[Fault]:
    for key, value in turn.items():
        where = f"{place}.{key}"
        if key in _OLD:
            yield Fault("old_tool_call", f"{where} {OLD_SPELLING}", NEW_SPELLING, where)
        elif key in ("refusal", "audio") and value:
            yield Fault("unknown_key", f"{where} cannot be used", "take it out", where)
        elif key not in own | _TURN:
            yield Fault("unknown_key", f"{where} is no key of a turn and would be left out", "take it out", where)


def _more_texts(turn: Mapping[str, Any], place: str, role: str | None) -> tuple[dict[str, str], list[Fault]]:
    """`name`, `tool_call_id` and `reasoning`, which are texts."""
    texts: dict[str, str] = {"name": "", "tool_call_id": "", "reasoning": ""}
    faults = []
    for key, only in (
        ("name", None),
        ("tool_call_id", "tool"),
        ("reasoning", "assistant"),
        ("reasoning_content", "assistant"),
    ):
        value, where = turn.get(key, ""), f"{place}.{key}"
        if not isinstance(value, str):
            faults.append(Fault("not_text", f"{where} is {kind(value)}, not text", "write a text", where))
        elif value and only and role and role != only:
            faults.append(
                Fault("wrong_role", f"{where} stands in a turn of the {role}", f"only the {only} has it", where)
            )
        elif value and texts.get(into := key.removesuffix("_content")):
            faults.append(Fault("two_forms", f"{place} has reasoning and reasoning_content", "keep one of them", where))
        elif value:
            texts[into] = value
    return texts, faults


def _calls(value: Any, place: str) -> tuple[tuple[ToolCall, ...], list[Fault]]:
    if value in (None, []):
        return (), []
    if not isinstance(value, list):
        return (), [Fault("wrong_type", f"{place} is {kind(value)}, not a list", "write a list of calls", place)]
    calls: list[ToolCall] = []
    faults: list[Fault] = []
    for number, call in enumerate(value):
        try:
            calls.append(_call(call, f"{place}[{number}]"))
        except Unreadable as wrong:
            faults += wrong.faults
    return tuple(calls), faults


def _call(call: Any, place: str) -> ToolCall:
    function = call.get("function") if isinstance(call, dict) else None
    if not isinstance(function, dict) or call.get("type", "function") != "function":
        raise unreadable("bad_tool_call", f"{place} is no call of a function", _CALL, place)
    faults = [
        Fault("unknown_key", f"{where} is no key of a tool call", "take it out", where)
        for part, known, prefix in (
            (call, ("id", "type", "function", "index"), ""),
            (function, ("name", "arguments"), "function."),
        )
        for key in part
        if key not in known and part[key] is not None
        for where in [f"{place}.{prefix}{key}"]
    ]
    name, called = function.get("name"), call.get("id")
    if not isinstance(name, str) or not name:
        faults.append(
            Fault(
                "bad_tool_call", f"{place}.function.name is {kind(name)}, not a name", _CALL, f"{place}.function.name"
            )
        )
    if not isinstance(called, str) or not called:
        cure = "give the call an id, and its answer the same as tool_call_id"
        faults.append(Fault("bad_tool_call", f"{place}.id is {kind(called)}, not an id", cure, f"{place}.id"))
    text, wrong = arguments(function.get("arguments"), f"{place}.function.arguments")
    if faults := [*faults, *wrong]:
        raise Unreadable(faults)
    return ToolCall(str(called), str(name), text)


def arguments(value: Any, place: str) -> tuple[str, list[Fault]]:
    """The JSON text of an object, letter by letter; an object becomes such a text, with numbers as they are spelled."""
    if isinstance(value, dict):
        return strict_json.written(value), []
    if not isinstance(value, str):
        return "", [Fault("bad_tool_call", f"{place} is {kind(value)}, not the JSON text of an object", _CALL, place)]
    try:
        parsed = strict_json.parse(value)
    except ValueError as error:
        return "", [Fault("bad_tool_call", f"{place} {error}", "write the JSON text of an object", place)]
    if not isinstance(parsed, dict):
        return "", [Fault("bad_tool_call", f"{place} holds {kind(parsed)}, not an object", _CALL, place)]
    return value, []


def _call_in_the_value(turn: dict[str, Any], place: str, number: int, faults: list[Fault]) -> Message:
    where = f"{place}.value"
    try:
        value = strict_json.kept(turn.get("value") or "")
    except (ValueError, AttributeError, TypeError):
        value = None
    calls = []
    for at, call in enumerate(value if isinstance(value, list) else [value]):
        if not isinstance(call, dict) or set(call) != {"name", "arguments"} or not isinstance(call["name"], str):
            cure = 'write {"name": "…", "arguments": {…}} as JSON text'
            faults.append(Fault("bad_tool_call", f"{where} holds no call of a function", cure, where))
            continue
        text, wrong = arguments(call["arguments"], f"{where}.arguments")
        faults += wrong
        calls.append(ToolCall(f"call_{number}_{at}", call["name"], text))
    if faults:
        raise Unreadable(faults)
    return Message("assistant", "", tool_calls=tuple(calls))


def _oldest_unanswered(before: Sequence[Message]) -> str:
    """ShareGPT's answers name no call: they stand in the order of the calls."""
    answered = {message.tool_call_id for message in before}
    return next((call.id for message in before for call in message.tool_calls if call.id not in answered), "")


def text_message(row: Mapping[str, Any], key: str, role: str, prefix: str = "") -> Message:
    """The message whose text stands under `key`. Raises `Unreadable`."""
    text, place = row.get(key), f"{prefix}{key}"
    if key not in row:
        raise unreadable("missing_key", f"{place} is missing", "write a text", place)
    if not isinstance(text, str):
        raise unreadable("not_text", f"{place} is {kind(text)}, not text", "write a text", place)
    return Message(role, text)


def _text(content: Any, *, optional: bool) -> tuple[str, str]:
    """The text and no fault, or the fault. OpenAI's list of text parts counts as text; images do not."""
    if isinstance(content, str):
        return content, ""
    if content is None and optional:
        return "", ""
    if isinstance(content, list):
        if content and all(is_text(part) and set(part) == {"type", "text"} for part in content):
            return texts_in(content), ""
        return "", "holds parts that are not text; only text can be used"
    return "", f"is {kind(content)}, not text"


def order_faults(turns: Sequence[Message], *, answered: bool = True) -> list[Fault]:
    """Why the turns are no conversation. `answered` is false for a prompt whose answers stand elsewhere."""
    faults: list[Fault] = []
    if not turns:
        return [Fault("no_turns", "there are no turns", "write a question and its answer")]
    if answered and len(turns) == 2 and _ask_and_answer(*turns):
        return faults
    leading = next((at for at, message in enumerate(turns) if message.role != "system"), len(turns))
    said = turns[leading:]
    faults += _turn_faults(said)
    faults += [
        Fault("empty", f"an empty {m.role} turn", "write a text, or take the row out")
        for m in turns
        if not m.content.strip() and not m.tool_calls and m.role != "tool"
    ]
    if not answered:
        if not said or said[-1].role == "assistant":
            faults.append(Fault("no_question", "the prompt ends in an answer", "end it with the user's turn"))
    elif not said or said[-1].role != "assistant":
        faults.append(
            Fault("no_answer", "the last turn is not the assistant's, so there is no answer", "end with the answer")
        )
    elif not any(m.trained for m in said if m.role == "assistant"):
        says = "every answer has weight 0: it is context, and none is left to learn or to compare with"
        faults.append(Fault("no_answer", says, "give the last answer weight 1"))
    return faults


def _ask_and_answer(question: Message, answer: Message) -> bool:
    """Whether these are the two turns of which most conversations are made: nothing can be wrong with them."""
    plain = question.role == "user" and answer.role == "assistant" and answer.trained and not answer.tool_calls
    return plain and bool(question.content.strip() and answer.content.strip())


def _turn_faults(turns: Sequence[Message]) -> list[Fault]:
    """User and assistant take turns; every call of a tool is answered before anybody else speaks."""
    faults: list[Fault] = []
    waiting: dict[str, str] = {}
    """Calls without an answer: id → name."""
    expected = ("user",)
    for number, turn in enumerate(turns, 1):
        if turn.role == "tool":
            if turn.tool_call_id not in waiting:
                called = f"the call {turn.tool_call_id!r}" if turn.tool_call_id else "no call: it has no tool_call_id"
                faults.append(
                    Fault("unknown_call", f"turn {number} is a tool's and answers {called}", "name a call that waits")
                )
            waiting.pop(turn.tool_call_id, None)
            continue
        if waiting:
            faults += _unanswered(waiting)
            waiting = {}
        if turn.role not in expected:
            says = f"turn {number} is from the {turn.role}; user and assistant take turns, user first"
            return [*faults, Fault("order", says, "let user and assistant take turns")]
        for call in turn.tool_calls:
            if call.id in waiting:
                faults.append(Fault("bad_tool_call", f"two calls have the id {call.id!r}", "one id, one call"))
            waiting[call.id] = call.name
        expected = ("assistant",) if turn.role == "user" or turn.tool_calls else ("user",)
    # A conversation may end in calls: they are the answer that is learnt.
    if turns and turns[-1].role == "tool":
        faults += _unanswered(waiting)
    return faults


def _unanswered(waiting: Mapping[str, str]) -> list[Fault]:
    return [
        Fault("unanswered_call", f"the tool call {call!r} ({name}) has no answer", "add the tool's turn behind it")
        for call, name in waiting.items()
    ]


def kind(value: Any) -> str:
    names = {type(None): "null", bool: "true/false", int: "a number", str: "a text", list: "a list"}
    return "a number" if isinstance(value, float) else names.get(type(value), "an object")


_CALL = 'write {"id": "…", "type": "function", "function": {"name": "…", "arguments": "{…}"}}'
