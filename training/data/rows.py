"""Files of rows into conversations, with every bad row of every file reported together as `file:line`.

Read `checks.py` next: it judges rows that are readable.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from lifecycle.errors import InvalidData, Problem
from training.data.formats import Conversation, Unreadable, conversation
from training.data.normal import normalised

_SHOWN = 200
"""Problems that one error carries; a file in the wrong form has one for each line."""


def read_rows(*paths: Path) -> tuple[tuple[Conversation, ...], ...]:
    """For each path its rows, in order: JSONL, or one JSON array. Blank lines are skipped.

    Raises `InvalidData` with the place of every bad row of all `paths`, or when a file has no row.
    """
    scanned = [scan(path) for path in paths]
    if problems := [problem for _, wrong in scanned for problem in wrong]:
        raise invalid(problems, ", ".join(map(str, paths)))
    return tuple(tuple(rows) for rows, _ in scanned)


def invalid(problems: Sequence[Problem], where: str) -> InvalidData:
    """One error for all of them."""
    rows = len({problem.place for problem in problems})
    summary = f"{rows} bad row{'s' * (rows != 1)} in {where}; nothing was trained"
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
        yield from _array(data)
        return
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            yield number, _json(line.decode("utf-8")), ""
        except UnicodeDecodeError as error:
            yield number, None, f"is not UTF-8 (byte {error.start + 1} of the line); save the file as UTF-8"
        except ValueError as error:
            yield number, None, f"is not valid JSON: {error}"


def _array(data: bytes) -> Iterator[tuple[int, Any, str]]:
    """The elements of one JSON array, each with the line where it starts."""
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        yield data.count(b"\n", 0, error.start) + 1, None, "is not UTF-8; save the file as UTF-8"
        return
    decoder = json.JSONDecoder(parse_constant=_no_constant)
    at, line, counted = text.index("[") + 1, 1, 0
    while True:
        while at < len(text) and text[at] in " \t\r\n,":
            at += 1
        line, counted = line + text.count("\n", counted, at), at
        if at < len(text) and text[at] == "]":
            return
        try:
            value, at = decoder.raw_decode(text, at)
        except ValueError as error:
            yield line, None, f"the JSON array breaks here: {error}"
            return
        yield line, value, ""


def _json(text: str) -> Any:
    return json.loads(text, parse_constant=_no_constant)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is no JSON value")


def hold_out(rows: Sequence[Conversation], share: float, seed: int) -> tuple[list[Conversation], list[Conversation]]:
    """(training rows, validation rows): about `share` of the prompts goes to validation.

    A row's side depends on its normalised prompt and `seed` alone, so rows that ask the same never end up on both
    sides, and adding rows moves none of the others. Raises `InvalidData` when a side would be empty.
    """
    kept: list[Conversation] = []
    held: list[Conversation] = []
    for row in rows:
        digest = hashlib.sha256(f"{seed}\n{normalised(row.question)}".encode()).digest()
        (held if int.from_bytes(digest[:8], "big") < share * 2**64 else kept).append(row)
    if not kept or not held:
        raise InvalidData(
            f"{len(rows)} rows are too few to hold out {share:.0%} for validation; name a file in data.validation"
        )
    return kept, held


def write_rows(path: Path, rows: Iterable[Conversation]) -> None:
    """JSONL in the `messages` form, UTF-8, with each row's id and meta."""
    with path.open("w", encoding="utf-8") as out:
        for row in rows:
            turns = [
                {"role": m.role, "content": m.content, **({} if m.trained else {"weight": 0})} for m in row.messages
            ]
            value = {"id": row.id, "messages": turns, "meta": row.meta}
            out.write(json.dumps({k: v for k, v in value.items() if v}, ensure_ascii=False) + "\n")
