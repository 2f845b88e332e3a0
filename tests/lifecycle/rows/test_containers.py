"""What a file is told by its bytes: packed, encoded, an array, lines or a table; and it is read or refused once."""

from __future__ import annotations

import gc
import gzip
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from lifecycle.conversation import Conversation
from lifecycle.errors import InvalidData
from lifecycle.rows import sources
from lifecycle.rows.files import Reading, read_rows, scan
from lifecycle.rows.kinds import Labelled, Row

ROWS = [{"prompt": f"سؤال {n}\u2028", "completion": "a"} for n in range(3)]
LINES = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in ROWS)
ARRAY = json.dumps(ROWS, ensure_ascii=False)
PRETTY = json.dumps(ROWS, ensure_ascii=False, indent=2)
OBJECTS = "\n".join(json.dumps(row, ensure_ascii=False, indent=2) for row in ROWS)
TABLE = "prompt,completion\n" + "".join(f"{row['prompt']},a\n" for row in ROWS)
TEXTS = {"jsonl": LINES, "json": ARRAY, "pretty.json": PRETTY, "objects.json": OBJECTS, "csv": TABLE}


def questions(path: Path) -> list[str]:
    (rows,) = read_rows(path)
    return [row.question for row in rows]


def faults(path: Path) -> list[tuple[str, str, str]]:
    """(place without the folder, code, cure) of each."""
    reading = Reading(path)
    list(reading)
    return [(p.place.rpartition("/")[2], p.code, p.cure) for p in reading.told]  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-mark"])
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("name", TEXTS)
def test_every_container_gives_the_same_rows(tmp_path: Path, name: str, packed: bool, encoding: str) -> None:
    text = TEXTS[name]
    data = b"\xff\xfe" + text.encode("utf-16-le") if encoding == "utf-16-le-mark" else text.encode(encoding)
    path = tmp_path / (f"rows.{name}.gz" if packed else f"rows.{name}")
    path.write_bytes(gzip.compress(data) if packed else data)
    assert questions(path) == [row["prompt"] for row in ROWS]
    reading = Reading(path)
    list(reading)
    assert ("gzip" in reading.words, "UTF-16" in reading.words) == (packed, encoding.startswith("utf-16"))


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 64])
@pytest.mark.parametrize("text", [ARRAY, PRETTY, OBJECTS, "[[1], 12, -3.5e2, true, null, {}]" + ARRAY])
def test_an_array_reads_the_same_however_its_pieces_fall(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece: int, text: str
) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, encoding="utf-8")
    whole = [(row.place, row.question) for row in scan(path)[0]], scan(path)[1]
    monkeypatch.setattr(sources, "_PIECE", piece)
    rows, problems = scan(path)
    assert ([(row.place, row.question) for row in rows], problems) == whole
    assert len(rows) == 3


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"PK\x03\x04rest", "Excel"),
        (b"BZh91AY", "bzip2"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"(\xb5/\xfd\x04", "zstd"),
        (b"ARROW1\x00\x00", "Arrow"),
        (b"SQLite format 3\x00", "SQLite"),
        (gzip.compress(gzip.compress(b"{}", mtime=0), mtime=0), "gzip twice"),
        ("\ufeff{}".encode("utf-32-le"), "UTF-32"),
        ("{}\n".encode("utf-16-le"), "UTF-16 without its byte order mark"),
        ("{}\n".encode("utf-16-be"), "UTF-16 without its byte order mark"),
        (b"text,label\na,b\n" * 50, "starts with 'text,label'"),
        (gzip.compress(LINES.encode(), mtime=0)[:-9], "breaks off"),
        (b"\x1f\x8bnothing", "breaks off"),
        (b"PAR1 and no more", "Parquet file cannot be read"),
    ],
)
def test_what_is_no_file_of_rows_is_told_once_with_what_it_is(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(data)
    (problem,) = scan(path)[1]
    assert says in problem.fault
    assert problem.cure


def test_a_folder_and_what_is_not_there_are_told(tmp_path: Path) -> None:
    with pytest.raises(InvalidData) as caught:
        read_rows(tmp_path, tmp_path / "none.jsonl")
    assert [(p.place, p.fault) for p in caught.value.problems] == [
        (str(tmp_path), "is a folder"),
        (str(tmp_path / "none.jsonl"), "cannot be read: No such file or directory"),
    ]


def test_a_row_longer_than_any_row_is_refused_and_not_read_into_memory(
    jsonl: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    long = json.dumps({"prompt": "q" * 5000, "completion": "a"})
    lines, array = jsonl("a.jsonl", [ROWS[0], long]), jsonl("b.json", [f"[{long}]"])
    for module in ("sources", "json_records"):
        monkeypatch.setattr(f"lifecycle.rows.{module}.LONGEST", 1000)
    monkeypatch.setattr(sources, "_PIECE", 100)
    assert [code for path in (lines, array) for _, code, _ in faults(path)] == ["too_long", "too_long"]


# -- lists of turns ---------------------------------------------------------------------------------------------------

PAIRS = [{"user": "q1", "assistant": "a1"}, {"user": "q2", "assistant": "a2"}]
PATIENT = [{"patient": "q1", "chatbot": "a1"}, {"patient": "q2", "chatbot": "a2"}]
TURNS = [{"role": role, "content": text} for role, text in (("user", "q1"), ("assistant", "a1"))]
ONE, TWO = [["q1", "a1"]], [["q1", "a1", "q2", "a2"]]


def said(path: Path) -> list[list[str]]:
    (rows,) = read_rows(path)
    return [[message.content for message in row.messages] for row in rows]


@pytest.mark.parametrize("pairs", [PAIRS, PATIENT])
def test_a_list_of_pairs_in_each_line_is_a_conversation_in_each_line(
    jsonl: Callable[..., Path], pairs: list[dict[str, str]]
) -> None:
    assert said(jsonl("a.jsonl", [json.dumps(pairs)])) == TWO
    assert said(jsonl("b.jsonl", [json.dumps(pairs), json.dumps(pairs[:1]), json.dumps(pairs)])) == [*TWO, *ONE, *TWO]


@pytest.mark.parametrize("pairs", [PAIRS, PATIENT])
def test_one_array_of_pairs_is_a_row_for_each_and_an_array_of_lists_a_conversation_for_each(
    jsonl: Callable[..., Path], pairs: list[dict[str, str]]
) -> None:
    rows = [["q1", "a1"], ["q2", "a2"]]
    assert said(jsonl("a.json", [json.dumps(pairs)])) == rows
    assert said(jsonl("b.json", [json.dumps(pairs, indent=1)])) == rows
    assert said(jsonl("c.jsonl", [json.dumps(pairs, indent=1)])) == rows, "not a list a line"
    assert said(jsonl("d.json", [json.dumps([pairs, pairs[:1]])])) == [*TWO, *ONE]
    assert said(jsonl("e.json", [json.dumps(pairs[:1])] * 2)) == [*ONE, *ONE], "either way the same"


def test_pairs_in_several_arrays_of_a_json_file_could_be_either_and_are_refused(jsonl: Callable[..., Path]) -> None:
    path = jsonl("a.json", [json.dumps(PAIRS), json.dumps(PAIRS[:1])])
    assert faults(path) == [
        ("a.json:2", "two_forms", "name the file .jsonl for the first, or write one array for the second")
    ]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_an_array_of_turns_is_a_conversation_in_every_file(jsonl: Callable[..., Path], name: str) -> None:
    assert said(jsonl(name, [json.dumps(TURNS)] * 2)) == [*ONE, *ONE]
    assert said(jsonl(name, [json.dumps(TURNS)])) == ONE
    assert said(jsonl(name, [json.dumps(TURNS, indent=1)])) == ONE


def test_no_row_behind_the_first_array_is_lost(jsonl: Callable[..., Path]) -> None:
    path = jsonl("two.json", [json.dumps([{"messages": TURNS}])] * 2)
    assert [row.place for row in scan(path)[0]] == [f"{path}:1", f"{path}:2"]


# -- tables -----------------------------------------------------------------------------------------------------------


def labels(path: Path) -> list[tuple[str, Any]]:
    reading = Reading(path)
    rows = [(row.text, row.label) for row in reading if isinstance(row, Labelled)]
    assert list(reading.told) == []
    return rows


def test_cells_are_texts_as_they_are_written(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text('text,label\n"Take ""one"" daily",007\n"null",NA\n"لا, شكرا",null\n1e5,2026-05-01\n nan ,True\n')
    assert labels(path) == [
        ('Take "one" daily', "007"), ("null", "NA"), ("لا, شكرا", "null"), ("1e5", "2026-05-01"), (" nan ", "True"),
    ]  # fmt: skip


def test_a_row_over_several_lines_has_the_place_where_it_starts(tmp_path: Path) -> None:
    path = tmp_path / "t.tsv"
    path.write_text('id\ttext\tlabel\n1\t"a\r\nb"\tx\n\n2\tc\ty\n', newline="")
    rows = list(Reading(path))
    assert [(row.place, row.text) for row in rows if isinstance(row, Labelled)] == [
        (f"{path}:2", "a\r\nb"),
        (f"{path}:5", "c"),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("text,label\na\nb,c\nd,e,f\n", [("t.csv:2", "broken_table"), ("t.csv:4", "broken_table")]),
        ("text,label,text\na,b,c\n", [("t.csv", "duplicate_key")]),
        ("text,\na,b\n", [("t.csv", "unknown_key")]),
        ("text;label\na;b\n", [("t.csv", "wrong_kind")]),
        ('text,label\n"a"b,c\n', [("t.csv:2", "broken_table")]),
        ('text,label\na,"b\n', [("t.csv:2", "broken_table")]),
        ("text,label\na,\nb,c\n", [("t.csv:2", "missing_key")]),
        ("text,label\n,c\n", [("t.csv:2", "not_text")]),
        ("text,label\n", [("t.csv", "no_rows")]),
        ("messages\n[}\n", [("t.csv:2", "not_json")]),
        ("prompt,completion,label\nq,a,false\n", [("t.csv:2", "wrong_type")]),
    ],
)
def test_a_table_that_breaks_names_the_line(tmp_path: Path, text: str, told: list[tuple[str, str]]) -> None:
    path = tmp_path / "t.csv"
    path.write_text(text)
    assert [(place, code) for place, code, _ in faults(path)] == told


def test_parquet_gives_its_rows_by_number_and_refuses_what_arrow_has_changed(tmp_path: Path) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    path = tmp_path / "t.parquet"
    parquet.write_table(arrow.Table.from_pylist([{"prompt": "q", "completion": "007", "id": None}] * 2), path)
    assert [(row.place, row.answer) for row in scan(path)[0]] == [(f"{path}:1", "007"), (f"{path}:2", "007")]
    calls = [{"arguments": {"when": "now"}}, {"arguments": {"who": "me"}}]
    parquet.write_table(arrow.Table.from_pylist([{"messages": [{"tool_calls": [call]}]} for call in calls]), path)
    assert [code for _, code, _ in faults(path)] == ["cast", "cast"]
    import datetime

    day = datetime.datetime(2026, 5, 1, tzinfo=datetime.UTC)
    parquet.write_table(arrow.Table.from_pylist([{"text": "t", "label": day}]), path)
    assert [(place, code) for place, code, _ in faults(path)] == [("t.parquet:1", "not_text")]


# -- memory -----------------------------------------------------------------------------------------------------------


def written(path: Path, count: int) -> Path:
    row = json.dumps({"prompt": "q" * 50, "completion": "a"})
    if path.suffix == ".parquet":
        import pyarrow as arrow
        from pyarrow import parquet

        table = arrow.table({"prompt": ["q" * 50] * count, "completion": ["a"] * count})
        parquet.write_table(table, path, row_group_size=512)
    elif path.suffix == ".csv":
        path.write_text("prompt,completion\n" + "q,a\n" * count)
    elif path.suffix == ".gz":
        path.write_bytes(gzip.compress(f"{row}\n".encode() * count))
    elif path.suffix == ".json":
        path.write_text("[" + ",\n".join([row] * count) + "]")
    else:
        path.write_text(f"{row}\n" * count)
    return path


def alive(rows: Iterator[Row], skip: int) -> int:
    """The conversations that exist when so many were read and let go."""
    for _ in range(skip):
        next(rows)
    gc.collect()
    return sum(type(thing) is Conversation for thing in gc.get_objects())


@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json", "a.csv", "a.parquet"])
def test_no_more_rows_are_alive_late_in_a_file_than_early_in_it(tmp_path: Path, name: str) -> None:
    rows = iter(Reading(written(tmp_path / name, 4000)))
    early = alive(rows, 10)
    assert alive(rows, 3900) <= early
    assert early < 10


@pytest.mark.parametrize("name", ["a.jsonl", "a.json", "a.csv"])
def test_the_bytes_in_hand_do_not_grow_with_the_file(tmp_path: Path, name: str) -> None:
    import tracemalloc

    def peak(count: int) -> int:
        path = written(tmp_path / name, count)
        tracemalloc.start()
        try:
            assert sum(1 for _ in Reading(path)) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # what is imported and compiled once
    assert peak(20_000) < 2 * peak(4000) + 2**16  # rows that are kept take megabytes
