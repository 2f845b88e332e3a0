"""Rows of the conversational forms, each read into one `Conversation`. `forms.py` tells which form a row has."""

from __future__ import annotations

from typing import Any

from lifecycle.conversation import Conversation, Message
from lifecycle.rows.faults import Fault, Unreadable, unreadable
from lifecycle.rows.pairs import pair_of
from lifecycle.rows.turns import NEW_SPELLING, kind, messages, order_faults, text_message
from lifecycle.text import strict_json

Keys = dict[str, Any]


def chat(row: Keys, place: str) -> Conversation:
    return _conversation(row, place, messages(row["messages"], "messages"))


def turns(row: Keys, place: str) -> Conversation:
    return _conversation(row, place, messages(row["turns"], "turns"))


def sharegpt(row: Keys, place: str) -> Conversation:
    key = "conversations" if "conversations" in row else "conversation"
    return _conversation(row, place, messages(row[key], key))


def prompt_completion(row: Keys, place: str) -> Conversation:
    if isinstance(row["prompt"], list) or isinstance(row["completion"], list):
        said = (*messages(row["prompt"], "prompt"), *messages(row["completion"], "completion"))
    else:
        said = _texts(row, "prompt", "completion")
    return _conversation(row, place, said)


def pair(row: Keys, place: str) -> Conversation:
    return _conversation(row, place, _texts(row, *(pair_of(row) or ("user", "assistant"))))


def alpaca(row: Keys, place: str) -> Conversation:
    return _conversation(row, place, (*_history(row), *asked(row), *_texts(row, answer="output")))


def dolly(row: Keys, place: str) -> Conversation:
    """Its `category` goes into `meta`."""
    meta = {**row.get("meta", {}), **({"category": row["category"]} if "category" in row else {})}
    return _conversation({**row, "meta": meta}, place, (*asked(row), *_texts(row, answer="response")))


def asked(row: Keys) -> tuple[Message, ...]:
    """Alpaca's question: the instruction, and behind a blank line its `input`, or Dolly's `context`."""
    question = text_message(row, "instruction", "user")
    more = {key: row[key] for key in ("input", "context") if row.get(key) not in (None, "")}
    for key, text in more.items():
        if not isinstance(text, str):
            raise unreadable("not_text", f"{key} is {kind(text)}, not text", "write a text", key)
    texts = [text for text in more.values() if text.strip()]
    if len(texts) > 1:
        raise unreadable("two_forms", "input and context both have a text", "keep one of them", "context")
    return (Message("user", "\n\n".join([question.content, *texts])),)


def _history(row: Keys) -> tuple[Message, ...]:
    history = row.get("history") or []
    if not isinstance(history, list) or any(not isinstance(pair, list) or len(pair) != 2 for pair in history):
        raise unreadable(
            "wrong_type",
            "history must be a list of [question, answer] pairs",
            "write [[question, answer], …]",
            "history",
        )
    if not all(isinstance(text, str) for pair in history for text in pair):
        raise unreadable("not_text", "history must hold texts only", "write [[question, answer], …]", "history")
    return tuple(
        Message(role, text) for pair in history for role, text in zip(("user", "assistant"), pair, strict=True)
    )


def _texts(row: Keys, question: str = "", answer: str = "") -> tuple[Message, ...]:
    faults: list[Fault] = []
    said = []
    for key, role in ((question, "user"), (answer, "assistant")):
        try:
            said += [text_message(row, key, role)] if key else []
        except Unreadable as wrong:
            faults += wrong.faults
    if faults:
        raise Unreadable(faults)
    return tuple(said)


def _conversation(row: Keys, place: str, said: tuple[Message, ...]) -> Conversation:
    head = Head(row, said)
    if faults := head.faults + order_faults(head.messages):
        raise Unreadable(faults)
    return Conversation(place, head.id, head.messages, head.meta, head.tools, head.parallel)


class Head:
    """What a row has beside its turns: id, meta, system text and tools, with the faults of all of them."""

    def __init__(self, row: Keys, said: tuple[Message, ...]) -> None:
        self.faults: list[Fault] = []
        self.id = self._id(row["id"]) if "id" in row else ""
        self.meta = self._meta(row["meta"]) if "meta" in row else {}
        self.messages = (*self._system(row["system"]), *said) if "system" in row else said
        self.tools = self._tools(row["tools"]) if "tools" in row else ()
        self.parallel = self._parallel(row["parallel_tool_calls"]) if "parallel_tool_calls" in row else None

    def _wrong(self, key: str, value: Any, expected: str) -> None:
        self.faults.append(
            Fault("wrong_type", f"{key} is {kind(value)}, not {expected}", f"write {expected}, or leave it out", key)
        )

    def _id(self, value: Any) -> str:
        if value is None or isinstance(value, str):
            return value or ""
        if isinstance(value, bool) or not isinstance(value, int | float):
            self._wrong("id", value, "a text or a number")
        return str(value)

    def _meta(self, value: Any) -> dict[str, Any]:
        if value is not None and not isinstance(value, dict):
            self._wrong("meta", value, "an object")
        return value if isinstance(value, dict) else {}

    def _system(self, value: Any) -> tuple[Message, ...]:
        if value is not None and not isinstance(value, str):
            self._wrong("system", value, "text")
        return (Message("system", value),) if isinstance(value, str) and value.strip() else ()

    def _tools(self, value: Any) -> tuple[dict[str, Any], ...]:
        """OpenAI's list, or ShareGPT's JSON text of one."""
        if isinstance(value, str) and value.strip():
            try:
                value = strict_json.kept(value)
            except ValueError as error:
                self.faults.append(Fault("not_json", f"tools {error}", "write a JSON list", "tools"))
                return ()
        if value in (None, "", []):
            return ()
        if not isinstance(value, list):
            self._wrong("tools", value, "a list")
            return ()
        tools = [_tool(tool, f"tools[{at}]", self.faults) for at, tool in enumerate(value)]
        self._called({tool["function"]["name"] for tool in tools if tool})
        return tuple(tool for tool in tools if tool)

    def _called(self, names: set[str]) -> None:
        """A call of what is in no list of tools teaches the model to make tools up."""
        for message in self.messages:
            for call in message.tool_calls:
                if call.name not in names:
                    says = f"the tool call {call.id!r} calls {call.name!r}, which is not among the row's tools"
                    self.faults.append(Fault("unknown_tool", says, "add it to tools", "tools"))

    def _parallel(self, value: Any) -> bool | None:
        if value is not None and not isinstance(value, bool):
            self._wrong("parallel_tool_calls", value, "true or false")
            return None
        if value is False and any(len(message.tool_calls) > 1 for message in self.messages):
            says = "parallel_tool_calls is false, and an answer calls several tools at once"
            self.faults.append(Fault("wrong_type", says, "leave it out, or split the answer", "parallel_tool_calls"))
        return None if value is None else bool(value)


def _tool(tool: Any, place: str, faults: list[Fault]) -> dict[str, Any] | None:
    """As OpenAI writes it; a function alone, as ShareGPT writes it, becomes one."""
    if isinstance(tool, dict) and "function" not in tool and isinstance(tool.get("name"), str):
        tool = {"type": "function", "function": tool}
    function = tool.get("function") if isinstance(tool, dict) else None
    if not isinstance(function, dict) or not isinstance(function.get("name"), str) or tool.get("type") != "function":
        cure = f'write {{"type": "function", "function": {{"name": "…", "parameters": {{…}}}}}}; {NEW_SPELLING}'
        faults.append(Fault("bad_tool", f"{place} is no function with a name", cure, place))
        return None
    return dict(tool)
