"""Files of rows into conversations, with every bad row of every file reported together as `file:line`.

Training (`training/run.py`), evaluation (`evals/chat_rows.py`) and worked examples (`prompt_files.py`) read by this.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lifecycle.conversation import Conversation
from lifecycle.errors import InvalidData, Problem
from lifecycle.rows.forms import Unreadable, conversation

_SHOWN = 200
"""Problems that one error carries; a file in the wrong form has one for each line."""


def read_rows(*paths: Path) -> tuple[tuple[Conversation, ...], ...]:
    """For each path its rows, in order: JSONL, or JSON arrays. Blank lines are skipped.

    Raises `InvalidData` with the place of every bad row of all `paths`, or when a file has no row.
    """
    scanned = [scan(path) for path in paths]
    if problems := [problem for _, wrong in scanned for problem in wrong]:
        raise bad_rows(problems, ", ".join(map(str, paths)))
    return tuple(tuple(rows) for rows, _ in scanned)


def bad_rows(problems: Sequence[Problem], where: str) -> InvalidData:
    """One error for all of them."""
    rows = len({problem.place for problem in problems})
    summary = f"{rows} bad row{'s' * (rows != 1)} in {where}; nothing was done"
    shown = f" (the first {_SHOWN} of {len(problems)} faults follow)" if len(problems) > _SHOWN else ""
    return InvalidData(summary + shown, problems[:_SHOWN])


def scan(path: Path) -> tuple[list[Conversation], list[Problem]]:
    """The readable rows, and one problem for each fault of the others."""
    rows: list[Conversation] = []
    problems: list[Problem] = []
    try:
        data = path.read_bytes()
    except OSError as error:
        return [], [Problem(str(path), f"cannot be read: {error.strerror or error}")]
    for line, value, fault in _values(data):
        place = f"{path}:{line}"
        if fault:
            problems.append(Problem(place, fault))
            continue
        try:
            rows.append(conversation(value, place))
        except Unreadable as unreadable:
            problems += [Problem(place, fault) for fault in unreadable.faults]
    if not rows and not problems:
        problems.append(Problem(str(path), "has no rows"))
    return rows, problems


def _values(data: bytes) -> Iterator[tuple[int, Any, str]]:
    """(line, value, fault) for each row; the fault is empty when there is a value."""
    data = data.removeprefix(b"\xef\xbb\xbf")
    if data.lstrip()[:1] == b"[":
        yield from _arrays(data)
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            value = json.loads(line.decode("utf-8"), parse_constant=_no_constant)
        except UnicodeDecodeError as error:
            yield number, None, f"is not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8"
        except (ValueError, RecursionError) as error:
            yield number, None, f"is not valid JSON: {error}"
        else:
            yield number, value, _half_characters(value)


def _arrays(data: bytes) -> Iterator[tuple[int, Any, str]]:
    """The elements of JSON arrays, one array or several, each with the line where it starts."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield data.count(b"\n", 0, error.start) + 1, None, "is not UTF-8; save the file as UTF-8"
        return
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at, line, counted, inside = 0, 1, 0, False
    while True:
        while at < len(text) and text[at] in (" \t\r\n," if inside else " \t\r\n"):
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        if at == len(text) and not inside:
            return
        if at < len(text) and text[at] == ("]" if inside else "["):
            at, inside = at + 1, not inside
            continue
        if not inside:
            yield line, None, "stands after the end of a JSON array; write one array, or one object a line"
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError) as error:
            yield line, None, f"the JSON array breaks here: {error}"
            return
        yield line, value, _half_characters(value)


def _half_characters(value: Any) -> str:
    """The fault of a row with half of a character (`\\ud83d` without its other half), which is no text."""
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        return "is nested too deep"
    except UnicodeEncodeError:
        return "holds half of a character (an escape such as \\ud83d without its other half); write the whole character"
    return ""


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def write_rows(path: Path, rows: Iterable[Conversation]) -> None:
    """JSONL in the `messages` form, UTF-8, with each row's id and meta."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            turns = [
                {"role": m.role, "content": m.content, **({} if m.trained else {"weight": 0})} for m in row.messages
            ]
            value = {"id": row.id, "messages": turns, "meta": row.meta}
            out.write(json.dumps({k: v for k, v in value.items() if v}, ensure_ascii=False) + "\n")
