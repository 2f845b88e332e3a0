"""Items are chat rows: one question, one target, and a fault has its line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.chat_rows import dataset, read_rows
from lifecycle.errors import InvalidData


def row(user: str = "q", assistant: str = "a", **more: object) -> str:
    messages = [{"role": "user", "content": user}, {"role": "assistant", "content": assistant}]
    return json.dumps({"messages": messages, **more}, ensure_ascii=False)


def test_rows_become_flat_documents_whatever_their_meta_holds(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    lines = [row("سؤال", "جواب", id="a", meta={"x": 1}), "", row(id="b", meta={"x": "text", "y": [1]}), row()]
    path.write_text("\n".join(lines), encoding="utf-8")
    documents = dataset("test.jsonl", config_source=str(tmp_path / "task.yaml"))["test"]
    assert documents.column_names == ["id", "question", "target", "meta"]
    assert documents["id"][:] == ["a", "b", "test-4"]
    assert documents[0]["question"] == "سؤال"
    assert json.loads(documents[1]["meta"]) == {"x": "text", "y": [1]}


def test_every_bad_row_is_reported_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "test.jsonl"
    two_turns = {"messages": [{"role": "user", "content": "q"}] * 2}
    lines = [row(id="a"), "{", row(assistant=" ", id="b"), json.dumps(two_turns), row(id="a"), "[]"]
    path.write_text("\n".join(lines))
    with pytest.raises(InvalidData) as error:
        read_rows(path)
    assert [problem.place for problem in error.value.problems] == [f"{path}:{line}" for line in (2, 3, 4, 5, 6)]
    assert "line 1" in error.value.problems[3].fault


@pytest.mark.parametrize("content", [None, b"", b"\n\n", b"\xff\xfe"])
def test_no_items_is_an_error_and_not_an_empty_evaluation(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "test.jsonl"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InvalidData):
        read_rows(path)
