"""Rows out of tables: CSV and TSV, whose cells are texts and stay as they are written, and Parquet.

An empty cell and a null are no value. A cell of `messages`, `tools` and the like (`nested`) may hold JSON.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Container, Iterator
from dataclasses import replace
from typing import Any

from lifecycle.errors import InvalidInput
from lifecycle.rows.faults import Fault, Unreadable, unreadable
from lifecycle.rows.json_records import Record
from lifecycle.rows.sources import LONGEST, Source
from lifecycle.text import strict_json

SEPARATORS = {".csv": ",", ".tsv": "\t"}
NESTED = ("messages", "conversations", "conversation", "tools", "meta", "history", "parallel_tool_calls")
"""Columns whose cells hold JSON."""
_PREFERENCE = ("preferred_output", "non_preferred_output", "input")
"""Those of OpenAI's preference rows; `input` is a text in Alpaca's."""

_CAST = ("arguments", "parameters", "tools", "functions")
"""What Arrow's types would change: it gives every row the keys of all rows, and one type to each."""


def csv_records(file: Source) -> Iterator[Record]:
    """The rows in order, each with the line where it starts. Raises `Unreadable` where reading cannot go on."""
    csv.field_size_limit(LONGEST)
    separator = SEPARATORS[file.suffix]
    passed: list[str] = []
    """The lines of the row in hand."""
    reader = csv.reader(_texts(file, passed), delimiter=separator, strict=True)
    line = 1
    try:
        header = next(reader, None)
        if header is None:
            return
        if faults := list(_header_faults(header, separator)):
            raise Unreadable(faults)
        while True:
            line = reader.line_num + 1
            passed.clear()
            cells = next(reader, None)
            if cells is None:
                return
            if cells:
                yield replace(_row(line, header, cells), text="".join(passed))
    except csv.Error as error:
        fault = Fault("broken_table", f"the table breaks here: {error}", 'write a quote inside a quoted cell as ""')
        yield Record(line, fault=fault)


def _texts(file: Source, passed: list[str]) -> Iterator[str]:
    for _, text in file.lines():
        if isinstance(text, Fault):
            raise Unreadable([text])
        passed.append(text)
        yield text


def _header_faults(header: list[str], separator: str) -> Iterator[Fault]:
    if len(header) == 1:
        others = [other for other in ",;\t|" if other != separator and other in header[0]]
        if others:
            cure = "separate the cells of a .csv file by commas, of a .tsv file by tabs"
            yield Fault("wrong_kind", f"the header has one column, with {others[0]!r} in its name", cure)
    for name in dict.fromkeys(header):
        if header.count(name) > 1:
            yield Fault("duplicate_key", f"the header says {name!r} twice", "give each column its own name", name)
        elif not name.strip():
            yield Fault("unknown_key", "a column has no name", "name it, or take it out")


def _row(line: int, header: list[str], cells: list[str]) -> Record:
    if len(cells) != len(header):
        fault = f"has {len(cells)} cells, and the header {len(header)}"
        return Record(line, fault=Fault("broken_table", fault, "put a cell with a separator in it into quotes"))
    return _nested(line, {key: cell or None for key, cell in zip(header, cells, strict=True)})


def nested(columns: Container[str]) -> tuple[str, ...]:
    """The columns whose cells hold JSON, in a table that has `columns`. All others hold what they say."""
    return (*NESTED, *_PREFERENCE) if _PREFERENCE[0] in columns else NESTED


def _nested(line: int, row: dict[str, Any]) -> Record:
    for key in nested(row):
        if isinstance(row.get(key), str):
            try:
                row[key] = strict_json.kept(row[key])
            except ValueError as error:
                return Record(line, fault=Fault("not_json", f"{key} {error}", "write it as JSON", key))
    return Record(line, row)


def parquet_records(file: Source) -> Iterator[Record]:
    """The rows in order; a record's `line` is the number of its row. Raises `Unreadable` for a broken file."""
    try:
        import pyarrow as arrow
        from pyarrow import parquet
    except ImportError:
        raise InvalidInput(f"{file.path} is a Parquet file, and pyarrow is not installed; write it as JSONL") from None

    with file.seekable() as stream:
        try:
            number = 0
            for batch in parquet.ParquetFile(stream).iter_batches(batch_size=256):
                for row in batch.to_pylist():
                    number += 1
                    faults = [fault for key, value in row.items() for fault in _odd(value, key)]
                    if faults:
                        yield from (Record(number, fault=fault) for fault in faults)
                    else:
                        yield _nested(number, row)
        except arrow.ArrowException as error:
            why = str(error).splitlines()[0]
            raise unreadable("broken_file", f"the Parquet file cannot be read: {why}", "write it again") from error


def _odd(value: Any, place: str) -> Iterator[Fault]:
    """What JSON has no value for, and what Arrow has cast."""
    if isinstance(value, dict | list) and place.rpartition(".")[2] in _CAST:
        cure = 'write it as JSON text, such as "{\\"when\\": \\"2026-05-01\\"}", or write the rows as JSONL'
        yield Fault(
            "cast", f"{place} is {type(value).__name__} of Arrow's, with keys and types of other rows", cure, place
        )
    elif isinstance(value, dict):
        for key, part in value.items():
            yield from _odd(part, f"{place}.{key}")
    elif isinstance(value, list):
        for at, part in enumerate(value):
            yield from _odd(part, f"{place}[{at}]")
    elif not isinstance(value, str | int | float | None) or (isinstance(value, float) and not math.isfinite(value)):
        cure = "write it as the text that is to be read"
        yield Fault("not_text", f"{place} is {value!r:.60}, which is no value of JSON", cure, place)
