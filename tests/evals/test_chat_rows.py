"""Items are chat rows: one question, one target, and a fault has its line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from evals.chat_rows import dataset, documents, messages_before
from lifecycle.errors import InvalidData


def row(user: str = "q", assistant: str = "a", **more: object) -> str:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return json.dumps({"messages": messages, **more}, ensure_ascii=False)


def test_rows_become_flat_documents_whatever_their_meta_holds(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    lines = [row("سؤال", "جواب", id="a", meta={"x": 1}), "", row(id="b", meta={"x": "text", "y": [1]}), row()]
    path.write_text("\n".join(lines), encoding="utf-8")
    made = dataset("test.jsonl", config_source=str(tmp_path / "task.yaml"))["test"]
    assert made.column_names == ["id", "question", "target", "meta", "messages_before"]
    assert made["id"][:] == ["a", "b", "test-4"]
    assert made[0]["question"] == "سؤال"
    assert json.loads(made[1]["meta"]) == {"x": "text", "y": [1]}


def test_every_bad_row_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    two_users = {"messages": [{"role": "user", "content": "q"}] * 2}
    lines = [row(id="a"), "{", row(assistant=" ", id="b"), json.dumps(two_users), row(id="a"), "[]"]
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidData, match="5 bad rows") as error:
        documents(path)
    said = {problem.place: problem.fault for problem in error.value.problems}
    assert list(said) == [f"{path}:{line}" for line in (2, 3, 4, 5, 6)]
    assert said[f"{path}:5"] == "the id a is that of line 1"


def test_the_last_answer_is_the_target_and_all_before_it_is_sent(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    turns = [("system", "موجز"), ("user", "q1"), ("assistant", "a1"), ("user", "q2"), ("assistant", "a2")]
    path.write_text(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}))
    (document,) = documents(path)
    assert (document["question"], document["target"]) == ("q2", "a2")
    assert messages_before(document) == [{"role": role, "content": text} for role, text in turns[:3]]


def test_a_text_with_its_label_is_a_question_with_its_answer(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text('{"text": "خدمة ممتازة", "label": "positive"}\n{"text": "slow", "label": "negative"}')
    assert [(d["question"], d["target"]) for d in documents(path)] == [
        ("خدمة ممتازة", "positive"),
        ("slow", "negative"),
    ]


def test_a_question_alone_has_nothing_before_it_and_so_has_a_document_of_a_public_task(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    path.write_text(row())
    assert messages_before(documents(path)[0]) == []
    assert messages_before({"question": "q", "messages": [{"role": "system", "content": "not ours"}]}) == []


FORMS: list[dict[str, Any]] = [
    {"prompt": "Q", "completion": "A"},
    {"instruction": "Q", "input": "", "output": "A"},
    {"conversations": [{"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]},
    {"user": "Q", "assistant": "A"},
]


def test_every_form_that_can_be_trained_can_be_evaluated_on(tmp_path: Path) -> None:
    path = tmp_path / "test.json"
    path.write_text(json.dumps(FORMS))
    read = documents(path)
    assert [(one["question"], one["target"]) for one in read] == [("Q", "A")] * len(FORMS)
    assert [one["id"] for one in read] == ["test-1", "test-1.2", "test-1.3", "test-1.4"], "all stand in one line"


@pytest.mark.parametrize("weights", [(1, 0), (0, 1)])
def test_an_answer_with_weight_0_is_context_and_no_target(tmp_path: Path, weights: tuple[int, int]) -> None:
    path = tmp_path / "test.jsonl"
    turns: list[dict[str, Any]] = []
    for weight in weights:
        turns += [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", "weight": weight}]
    path.write_text(json.dumps({"messages": turns}))
    if weights[-1]:
        assert len(documents(path)) == 1
        return
    with pytest.raises(InvalidData, match="the last answer has weight 0"):
        documents(path)


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe"])
def test_no_items_is_an_error_and_not_an_empty_evaluation(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "test.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidData):
        documents(path)


def test_faults_are_in_the_order_of_their_lines_in_a_folder_with_a_colon_too(tmp_path: Path) -> None:
    (tmp_path / "a:b").mkdir()
    path = tmp_path / "a:b" / "test.jsonl"
    path.write_text("\n".join([row(id="a"), "", row(id="a"), *[""] * 8, "{"]))
    with pytest.raises(InvalidData) as error:
        documents(path)
    assert [problem.place for problem in error.value.problems] == [f"{path}:3", f"{path}:12"]


_TOOL = {"type": "function", "function": {"name": "book", "parameters": {"type": "object", "properties": {}}}}
_CALL = {"id": "c1", "type": "function", "function": {"name": "book", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("extra", "calls", "said"),
    [
        ({"tools": [_TOOL]}, False, "tools"), ({"tools": [_TOOL]}, True, "tools"), ({}, True, "tools"),
        ({}, False, ""),
    ],
)  # fmt: skip
def test_what_an_evaluation_cannot_send_is_an_error(
    tmp_path: Path, extra: dict[str, Any], calls: bool, said: str
) -> None:
    """Tools that are offered and calls that were made, one without the other too; a name or a thought as well."""
    turns: list[dict[str, Any]] = [{"role": "user", "content": "q"}]
    if calls:
        turns += [{"role": "assistant", "tool_calls": [_CALL]}, {"role": "tool", "tool_call_id": "c1", "content": "x"}]
    turns += [{"role": "assistant", "content": "a"}]
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"messages": turns, **extra}))
    if not said:
        assert len(documents(path)) == 1
        return
    with pytest.raises(InvalidData, match=said):
        documents(path)


@pytest.mark.parametrize("key", ["name", "reasoning_content"])
def test_keys_of_a_message_that_an_evaluation_does_not_send_are_named(tmp_path: Path, key: str) -> None:
    turns = [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a", key: "x"}]
    path = tmp_path / "test.jsonl"
    path.write_text(json.dumps({"messages": turns}))
    with pytest.raises(InvalidData, match="which an evaluation does not send"):
        documents(path)
