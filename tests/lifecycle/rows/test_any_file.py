"""Whatever a file holds, it gives rows or faults with a place, and never a traceback."""

from __future__ import annotations

import gzip
import io
import json
import random
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from lifecycle.rows.conversions import TARGETS, converted
from lifecycle.rows.faults import Unreadable
from lifecycle.rows.files import Reading

Q, A = {"role": "user", "content": "س q"}, {"role": "assistant", "content": "a"}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"d": "2026-05-01"}'}}
NAMED = '{"name": "f", "arguments": {}}'
ROWS: list[Any] = [
    {
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {}}}],
        "messages": [Q, {**A, "content": None, "tool_calls": [CALL]}, {**A, "role": "tool", "tool_call_id": "c"}, A],
    },
    {"id": 1, "system": "s", "prompt": "q", "completion": "a", "meta": {"x": 1}},
    {"instruction": "q", "context": "c", "output": "a", "history": [["q", "a"]]},
    {"conversations": [{"from": "human", "value": "q"}, {"from": "function_call", "value": NAMED}]},
    [{"patient": "q", "chatbot": "a"}, {"user": "q", "assistant": "a"}],
    {"prompt": "q", "chosen": "a", "rejected": "b"},
    {"input": {"messages": [Q]}, "preferred_output": [A], "non_preferred_output": [{**A, "content": "b"}]},
    {"prompt": "q", "completion": "a", "label": False},
    {"text": "t", "label": "007"},
    {"text": "t"},
]  # fmt: skip
ODD: list[Any] = [
    *(None, True, 0, 7.5, "", " ", "x", [], {}, ["a"], {"a": 1}, [None], [[1, 2]], [{}]),
    *("null", "[]", "[{}]", [Q], [{"user": "q", "assistant": "a"}], [{"from": "function_call", "value": "{"}]),
]
KEYS = sorted(
    {key for row in ROWS if isinstance(row, dict) for key in row} | {*Q, "weight", "name", "tool_calls", "from"}
)
BYTES = [
    *(b"\xff", b"\x00", b"[", b"]", b"{", b"}", b'"', b"\\", b"\n", b"\r", b",", b"\\ud83d", b"NaN", b"1e999"),
    *("\ufeff".encode(), "\u2028".encode(), b"PAR1", b"\x1f\x8b"),
]


def odd(value: Any, rng: random.Random) -> Any:
    """The same with some parts replaced, taken out and added."""
    if rng.random() < 0.1:
        return rng.choice(ODD)
    if isinstance(value, dict):
        parts = {key: odd(part, rng) for key, part in value.items() if rng.random() > 0.05}
        return {**parts, rng.choice(KEYS): rng.choice(ODD)} if rng.random() < 0.15 else parts
    return [odd(part, rng) for part in value if rng.random() > 0.05] if isinstance(value, list) else value


def damaged(data: bytes, rng: random.Random) -> bytes:
    for _ in range(rng.randint(1, 5)):
        at, how = rng.randrange(len(data) + 1), rng.random()
        if how < 0.3:
            data = data[:at] + data[at + rng.randint(1, 20) :]
        else:
            data = data[:at] if how > 0.9 else data[:at] + rng.choice(BYTES) + data[at:]
    return data


def whole() -> dict[str, bytes]:
    """A good file of each container."""
    import pyarrow as arrow
    from pyarrow import parquet

    out = io.BytesIO()
    parquet.write_table(arrow.table({"prompt": ["q"] * 50, "completion": ["a"] * 50}), out)
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in ROWS).encode()
    return {
        "a.jsonl": lines,
        "a.json": json.dumps(ROWS, indent=1).encode(),
        "b.jsonl": lines.decode().encode("utf-16"),
        "a.jsonl.gz": gzip.compress(lines),
        "a.csv": b'text,label\n"t ""u""\nv",007\nw,NA\n',
        "a.tsv": b"messages\tid\n" + json.dumps(ROWS[0]["messages"]).encode() + b"\t1\n",
        "a.parquet": out.getvalue(),
    }


def read(path: Path) -> None:
    reading = Reading(path)
    for row in reading:
        for target in TARGETS:
            with suppress(Unreadable):
                json.dumps(converted(row, target), ensure_ascii=False).encode()
    for problem in reading.told:
        assert problem.place.startswith(str(path))
        str(problem).encode()
    assert reading.rows or reading.told.count


@pytest.mark.parametrize("name", sorted(whole()))
def test_a_damaged_file_gives_rows_or_faults_and_no_traceback(tmp_path: Path, name: str) -> None:
    rng, good = random.Random(name), whole()[name]
    for _ in range(200):
        (tmp_path / name).write_bytes(damaged(good, rng))
        read(tmp_path / name)


@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_rows_with_anything_in_any_place_are_rows_or_faults(tmp_path: Path, name: str) -> None:
    rng = random.Random(17)
    for _ in range(400):
        rows = [json.dumps(odd(rng.choice(ROWS), rng)) for _ in range(4)]
        (tmp_path / name).write_text(f"[{','.join(rows)}]" if rng.random() < 0.5 else "\n".join(rows))
        read(tmp_path / name)
