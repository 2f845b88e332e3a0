"""A file of rows as an lm-eval dataset: training and evaluation read the same forms by the same reader.

A task file says `custom_dataset: !function evals.chat_rows.dataset` and names the file in `dataset_kwargs.data`,
relative to itself, so the task runs from any folder. The last answer of a row is its target, and all that stands
before it is sent: its system text and earlier turns in `messages_before`, its last question in `question`. Of a text
with a label, the label is the target.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lifecycle.conversation import Conversation
from lifecycle.errors import Problem
from lifecycle.rows.faults import bad_rows
from lifecycle.rows.files import scan
from lifecycle.rows.kinds import Labelled

Document = dict[str, str]


def dataset(data: str, config_source: str = "", data_override: str = "", **_: Any) -> dict[str, Any]:
    """`{"test": Dataset}` of documents {id, question, target, meta, messages_before}, all texts; the last two are JSON.

    `config_source` (the task file's path) comes from lm-eval, `data_override` from an evaluation's configuration.
    Raises `InvalidData` with every bad row.
    """
    from datasets import Dataset

    path = Path(data_override) if data_override else Path(config_source).parent / data
    return {"test": Dataset.from_list(documents(path))}


def documents(path: Path) -> list[Document]:
    """The rows of `path` as flat documents. Raises `InvalidData` with file and line of each one that is no item."""
    rows, problems = scan(path, (Conversation, Labelled))
    ids: dict[str, str] = {}
    for row in rows:
        line = row.place.rpartition(":")[2]
        name = row.id or unnamed(f"{path.stem}-{line}", ids)
        if name in ids:
            problems.append(Problem(row.place, f"the id {name} is that of line {ids[name]}", "one id, one item"))
        if isinstance(row, Conversation) and not row.messages[-1].trained:
            problems.append(Problem(row.place, "the last answer has weight 0, so it is no target", "leave weight out"))
        if isinstance(row, Conversation) and (fault := beyond_texts(row)):
            problems.append(Problem(row.place, fault, "an evaluation sends texts alone; take the row out"))
        ids.setdefault(name, line)
    if problems:
        raise bad_rows(sorted(problems, key=line_of), str(path))
    return [document(row, name) for row, name in zip(rows, ids, strict=True)]


def messages_before(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What is sent before the question: nothing for a document that is not of our own rows."""
    before: list[dict[str, Any]] = json.loads(document.get("messages_before") or "[]")
    return before


def document(row: Conversation | Labelled, name: str) -> Document:
    """The row as lm-eval's tasks have it."""
    before: list[dict[str, Any]] = []
    if isinstance(row, Labelled):
        question, target = row.text, str(row.label)
    else:
        *before, last, _ = row.sent()
        question, target = last["content"], row.answer
    return {
        "id": name,
        "question": question,
        "target": target,
        "meta": json.dumps(row.meta, ensure_ascii=False, sort_keys=True),
        "messages_before": json.dumps(before, ensure_ascii=False),
    }


def beyond_texts(row: Conversation) -> str:
    """What the row has that no request for one of lm-eval's tasks carries."""
    if row.tools or any(message.tool_calls for message in row.messages):
        return "it has tools, which a task of lm-eval's cannot send: name the rows in a short task file"
    extra = next((key for message in row.messages for key in message.sent().keys() - {"role", "content"}), "")
    return f"it has {extra}, which an evaluation does not send" if extra else ""


def unnamed(name: str, taken: Mapping[str, str]) -> str:
    """`name`, or with a number where a line holds several rows."""
    number = 1
    while (free := name if number == 1 else f"{name}.{number}") in taken:
        number += 1
    return free


def line_of(problem: Problem) -> int:
    """For the order of faults."""
    line = problem.place.rpartition(":")[2]
    return int(line) if line.isdecimal() else 0
