"""Each form of row becomes the same conversation."""

from __future__ import annotations

from typing import Any

import pytest

from evals.chat_rows import documents
from lifecycle.conversation import Message
from lifecycle.errors import InvalidInput
from lifecycle.rows.faults import Unreadable
from lifecycle.rows.files import Reading, read_rows
from lifecycle.rows.forms import conversation, read
from lifecycle.rows.kinds import Judged, Labelled, PlainText, Preference
from lifecycle.rows.prompt_files import read_prompt


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


# -- which form it is -------------------------------------------------------------------------------------------------


def told(row: Any) -> list[tuple[str, str, str]]:
    """(code, says, cure) of each fault."""
    with pytest.raises(Unreadable) as caught:
        read(row, "f:1")
    return [(fault.code, fault.says, fault.cure) for fault in caught.value.faults]


PREFERENCES: dict[str, dict[str, Any]] = {
    "trl": {"prompt": "Q", "chosen": "A", "rejected": "B"},
    "trl with turns": {"prompt": turns(Q), "chosen": turns(A), "rejected": turns(("assistant", "B"))},
    "trl with the prompt in both": {"chosen": turns(Q, A), "rejected": turns(Q, ("assistant", "B"))},
    "trl that says the prompt again": {
        "prompt": "Q", "chosen": turns(Q, A), "rejected": turns(Q, ("assistant", "B")),
    },
    "openai": {
        "input": {"messages": turns(Q), "tools": []},
        "preferred_output": turns(A), "non_preferred_output": turns(("assistant", "B")),
    },
    "alpaca": {"instruction": "Q", "input": "", "chosen": "A", "rejected": "B"},
    "sharegpt": {
        "conversations": turns(("human", "Q"), role="from", text="value"),
        "chosen": {"from": "gpt", "value": "A"}, "rejected": {"from": "gpt", "value": "B"},
    },
}  # fmt: skip


@pytest.mark.parametrize("form", PREFERENCES)
def test_every_dialect_of_preference_becomes_the_same_row(form: str) -> None:
    taken, row = read(PREFERENCES[form], "f:1")
    assert taken.name == "preference"
    assert row == Preference(
        "f:1", "", (Message("user", "Q"),), (Message("assistant", "A"),), (Message("assistant", "B"),)
    )
    with pytest.raises(Unreadable, match="is one of preference rows, and no conversation"):
        conversation(PREFERENCES[form], "f:1")


@pytest.mark.parametrize(
    ("row", "kind"),
    [
        ({"prompt": "q", "completion": "a", "label": False}, Judged),
        ({"prompt": turns(Q), "completion": turns(A), "label": True}, Judged),
        ({"instruction": "q", "output": "a", "kto_tag": False}, Judged),
        ({"messages": turns(Q, A), "kto_tag": True}, Judged),
        ({"text": "t", "label": "007"}, Labelled),
        ({"text": "t", "label": 7}, Labelled),
        ({"text": "t"}, PlainText),
    ],
)
def test_what_no_method_here_learns_from_is_recognised_and_is_no_conversation(row: dict[str, Any], kind: type) -> None:
    made = read(row, "f:1")[1]
    assert isinstance(made, kind)
    if isinstance(made, Judged):
        assert made.good is row.get("label", row.get("kto_tag"))
    with pytest.raises(Unreadable, match="no conversation"):
        conversation(row, "f:1")


@pytest.mark.parametrize(
    ("row", "names", "cure"),
    [
        (
            {"messages": [], "prompt": "q", "completion": "a"},
            ["chat (messages)", "prompt/completion"],
            "take out prompt and",
        ),
        (
            {"instruction": "q", "output": "a", "text": "t"},
            ["alpaca", "text (text)"],
            "take out text, or instruction and",
        ),
        ({"instruction": "q", "output": "a", "response": "b"}, ["alpaca", "dolly"], "take out response, or output"),
        (
            {"user": "q", "human": "q", "assistant": "a"},
            ["pair (user, assistant)", "pair (human"],
            "take out human, or user",
        ),
    ],
)
def test_a_row_that_fits_two_forms_is_refused_with_both_and_the_key_that_decides(
    row: dict[str, Any], names: list[str], cure: str
) -> None:
    ((code, says, told_cure),) = told(row)
    assert code == "two_forms"
    assert all(name in says for name in names)
    assert told_cure.startswith(cure)


def test_keys_that_are_null_decide_nothing() -> None:
    row = {"prompt": None, "completion": None, "messages": turns(Q, A), "source": None}
    assert conversation(row, "f:1").question == "Q"


@pytest.mark.parametrize(
    ("row", "codes"),
    [
        ({"messages": turns(Q, A), "score": 1}, ["unknown_key"]),
        ({"prompt": "q", "completion": "a", "label": "good"}, ["wrong_type"]),
        ({"text": "t", "label": None}, ["missing_key"]),
        ({"text": "t", "label": True}, ["wrong_type"]),
        ({"text": " "}, ["empty"]),
        ({"prompt": "q", "chosen": "a"}, ["missing_key"]),
        ({"prompt": "q", "chosen": "a", "rejected": "a"}, ["same_answers"]),
        ({"chosen": "a", "rejected": "b"}, ["missing_key"]),
        ({"prompt": "q", "chosen": " ", "rejected": "b"}, ["empty"]),
        ({"instruction": "q", "input": "x", "context": "y", "output": "a"}, ["two_forms"]),
        ({"instruction": "q", "context": {"a": 1}, "output": "a"}, ["not_text"]),
        ({"instruction": "q", "output": "a", "id": {"a": 1}, "meta": "text"}, ["wrong_type", "wrong_type"]),
    ],
)
def test_what_no_form_has_a_place_for_is_an_error(row: dict[str, Any], codes: list[str]) -> None:
    assert [code for code, _, _ in told(row)] == codes


def test_dollys_context_stands_behind_the_instruction_and_its_category_in_meta() -> None:
    row = conversation({"instruction": "q", "context": "نص", "response": "a", "category": "open"}, "f:1")
    assert (row.question, row.answer, row.meta) == ("q\n\nنص", "a", {"category": "open"})


@pytest.mark.parametrize(
    ("row", "name", "sure"),
    [
        ({"messages": turns(Q, A)}, "chat", True),
        ({"user": "q", "assistant": "a"}, "pair", True),
        ({"patient": "q", "chatbot": "a"}, "pair", False),
        ([{"user": "q", "assistant": "a"}], "turns", False),
        ({"text": "t", "label": "x"}, "classification", False),
    ],
)
def test_a_form_says_how_sure_it_is(row: Any, name: str, sure: bool) -> None:
    form, _ = read(row, "f:1")
    assert (form.name, form.sure) == (name, sure)


def test_a_file_of_two_kinds_is_refused_at_the_row_that_differs(jsonl: Any) -> None:
    reading = Reading(jsonl("t.jsonl", [{"text": "t", "label": "x"}, {"text": "t"}, {"text": "u", "label": "y"}]))
    assert len(list(reading)) == 2
    (problem,) = reading.told
    assert (problem.place.rpartition(":")[2], problem.code) == ("2", "two_forms")  # type: ignore[attr-defined]
    assert "is one of plain texts, and the rows before it are texts with labels" in problem.fault


@pytest.mark.parametrize(
    ("row", "method"),
    [
        (PREFERENCES["trl"], "DPO"),
        ({"prompt": "q", "completion": "a", "label": False}, "KTO, which `dabt train` does not have,"),
        ({"text": "t", "label": "x"}, "sequence classification"),
        ({"text": "t"}, "continued pre-training"),
    ],
)
def test_training_evaluation_and_examples_refuse_a_file_of_another_kind_with_the_method_that_takes_it(
    jsonl: Any, row: dict[str, Any], method: str
) -> None:
    path = jsonl("t.jsonl", [row] * 30)
    evaluations = [] if "label" in row and "text" in row else [documents]  # a classifier is asked texts with labels
    for refusing in (read_rows, *evaluations, lambda path: read_prompt(None, path)):
        with pytest.raises(InvalidInput) as caught:
            refusing(path)
        (problem,) = caught.value.problems
        assert problem.place == str(path)
        assert "30 " in problem.fault
        assert problem.cure.startswith(f"{method} learns from them")


@pytest.mark.parametrize(
    "key",
    [
        "messages", "conversations", "conversation", "prompt", "completion", "instruction", "user", "assistant",
        "patient", "chatbot", "chosen", "rejected", "preferred_output", "non_preferred_output",
    ],
)  # fmt: skip
def test_a_text_beside_a_key_of_another_form_is_no_plain_text(key: str) -> None:
    """The rest of that form is missing: the row is refused and not trained on as a text."""
    with pytest.raises(Unreadable):
        read({"text": "t", key: "x"}, "f:1")


@pytest.mark.parametrize("row", [[], ["a"], [{"role": "user", "content": "q"}, 3]])
def test_a_list_that_is_not_turns_alone_is_no_row(row: list[Any]) -> None:
    with pytest.raises(Unreadable) as caught:
        read(row, "f:1")
    assert [fault.code for fault in caught.value.faults] == ["not_an_object"]
