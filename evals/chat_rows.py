"""A JSONL file of chat rows as an lm-eval dataset: the form that training and evaluation data share.

A task file says `custom_dataset: !function evals.chat_rows.dataset` and names the file in `dataset_kwargs.data`,
relative to itself, so the task runs from any folder.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidData, Problem

Row = dict[str, str]
_FORM = '{"id", "messages": [system?, user, assistant], "meta"?}'


def dataset(data: str, config_source: str = "", data_override: str = "", **_: Any) -> dict[str, Any]:
    """`{"test": Dataset}` of documents {id, question, target, meta}, all texts; `meta` is JSON.

    `config_source` (the task file's path) comes from lm-eval, `data_override` from an evaluation's configuration.
    Raises `InvalidData` with every bad row.
    """
    from datasets import Dataset

    path = Path(data_override) if data_override else Path(config_source).parent / data
    return {"test": Dataset.from_list(list(read_rows(path)))}


def read_rows(path: Path) -> list[Row]:
    """The rows of `path` as flat documents. Raises `InvalidData` with file and line of each one that is no item."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise InvalidData(f"there are no items at {path}") from None
    except UnicodeDecodeError as error:
        raise InvalidData(f"{path} is not UTF-8", [Problem(str(path), str(error))]) from error
    rows: list[Row] = []
    problems: list[Problem] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        place = f"{path}:{number}"
        try:
            row = _row(line)
        except (ValueError, KeyError, TypeError) as error:
            problems.append(Problem(place, f"this is no item ({type(error).__name__}: {error})", _FORM))
            continue
        row["id"] = row["id"] or f"{path.stem}-{number}"
        if first := seen.get(row["id"]):
            problems.append(Problem(place, f"the id {row['id']} is that of line {first}", "one id, one item"))
        seen[row["id"]] = number
        rows.append(row)
    if problems or not rows:
        raise InvalidData(f"{path} cannot be evaluated on", problems or [Problem(str(path), "it has no rows")])
    return rows


def _row(line: str) -> Row:
    raw = json.loads(line)
    turns = [(one["role"], one["content"]) for one in raw["messages"] if one["role"] != "system"]
    if [role for role, _ in turns] != ["user", "assistant"]:
        raise ValueError("besides a system text there must be one user message and one assistant message")
    (_, question), (_, target) = turns
    if not (isinstance(question, str) and question.strip() and isinstance(target, str) and target.strip()):
        raise ValueError("the question and the target must be texts, and not empty")
    meta = json.dumps(raw.get("meta") or {}, ensure_ascii=False, sort_keys=True)
    return {"id": str(raw.get("id") or ""), "question": question, "target": target, "meta": meta}
