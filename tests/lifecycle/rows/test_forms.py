"""Each form of row becomes the same conversation."""

from __future__ import annotations

from typing import Any

import pytest

from lifecycle.rows.faults import Unreadable
from lifecycle.rows.forms import conversation


def turns(*contents: tuple[str, Any], role: str = "role", text: str = "content") -> list[dict[str, Any]]:
    return [{role: who, text: said} for who, said in contents]


S, Q, A = ("system", "S"), ("user", "Q"), ("assistant", "A")
PARTS = [{"type": "text", "text": "Q"}]
FORMS: dict[str, dict[str, Any]] = {
    "openai chat": {"messages": turns(S, Q, A)},
    "chat with its system text beside it": {"system": "S", "messages": turns(Q, A)},
    "openai text parts": {"messages": turns(("developer", "S"), ("user", PARTS), A)},
    "prompt and completion": {"system": "S", "prompt": "Q", "completion": "A"},
    "conversational prompt and completion": {"prompt": turns(S, Q), "completion": turns(A)},
    "conversational completion with its system text beside it": {
        "system": "S",
        "prompt": turns(Q),
        "completion": turns(A),
    },
    "question and answer": {"system": "S", "user": "Q", "assistant": "A"},
    "alpaca": {"system": "S", "instruction": "Q", "input": "", "output": "A"},
    "sharegpt": {"system": "S", "conversations": turns(("human", "Q"), ("gpt", "A"), role="from", text="value")},
    "sharegpt with roles": {"conversations": turns(S, Q, A)},
}


FORMS["a row with no system text in the place for one"] = {"system": None, **FORMS["openai chat"], "tools": []}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_becomes_the_same_conversation(form: str) -> None:
    row = conversation(FORMS[form], "f:1")
    assert [(m.role, m.content) for m in row.messages] == [("system", "S"), ("user", "Q"), ("assistant", "A")]
    assert (row.system, row.question, row.answer) == ("S", "Q", "A")


def test_alpaca_input_and_history_come_in_order() -> None:
    row = conversation({"instruction": "Sum up", "input": "نص", "output": "A", "history": [["q0", "a0"]]}, "f:1")
    assert [m.content for m in row.messages] == ["q0", "a0", "Sum up\n\nنص", "A"]


def test_several_leading_system_texts_stay_apart() -> None:
    row = conversation({"system": "one", "messages": turns(("developer", "two"), S, Q, A)}, "f:1")
    assert [(m.role, m.content) for m in row.messages[:3]] == [("system", "one"), ("system", "two"), ("system", "S")]
    assert row.system == "one\n\ntwo\n\nS"


def test_text_parts_are_one_to_a_line_as_the_service_joins_them() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}]
    assert conversation({"messages": turns(("user", parts), A)}, "f:1").question == "one\ntwo"


@pytest.mark.parametrize(("given", "kept"), [({}, ""), ({"id": None}, ""), ({"id": 0}, "0"), ({"id": "a"}, "a")])
def test_a_row_keeps_its_id(given: dict[str, Any], kept: str) -> None:
    assert conversation({**given, "prompt": "q", "completion": "a"}, "f:1").id == kept


@pytest.mark.parametrize(("meta", "kept"), [({"x": 1}, {"x": 1}), (None, {})])
def test_a_row_keeps_its_meta(meta: object, kept: dict[str, Any]) -> None:
    assert conversation({"meta": meta, "prompt": "q", "completion": "a"}, "f:1").meta == kept


def test_an_answer_with_weight_0_is_context_only() -> None:
    messages = turns(Q, A, Q, A)
    messages[1]["weight"] = 0
    row = conversation({"messages": messages}, "f:1")
    assert [m.trained for m in row.messages] == [True, False, True, True]


@pytest.mark.parametrize("turns", [[], [None], [3], ["role"], "role", {}, None, 3])
def test_turns_that_are_none_are_told_and_break_nothing(turns: object) -> None:
    for key in ("conversations", "messages"):
        with pytest.raises(Unreadable) as caught:
            conversation({key: turns}, "f:1")
        assert caught.value.faults


@pytest.mark.parametrize("history", [5, True, "text", {"a": "b"}, ["ab"], [["q"]], [["q", "a", "b"]]])
def test_a_history_is_a_list_of_pairs(history: object) -> None:
    with pytest.raises(Unreadable) as caught:
        conversation({"instruction": "q", "output": "a", "history": history}, "f:1")
    assert [fault.says for fault in caught.value.faults] == ["history must be a list of [question, answer] pairs"]
