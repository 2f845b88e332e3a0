"""Rows into files: JSONL, a JSON array, CSV, TSV or Parquet by the file's name, packed where it ends in `.gz`.

A file is written beside its place and moved there when it is whole: what goes wrong leaves no half of it, and what
stood there before stays.
"""

from __future__ import annotations

import csv
import gzip
import io
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from itertools import chain, islice
from pathlib import Path
from typing import IO, Any

from lifecycle.conversation import Conversation
from lifecycle.errors import InvalidInput, Problem
from lifecycle.rows.conversions import as_messages
from lifecycle.rows.table_records import SEPARATORS, nested
from lifecycle.rows.turns import kind
from lifecycle.text import strict_json

Keys = dict[str, Any]
_BATCH = 1024


def write_rows(path: Path, rows: Iterable[Conversation]) -> None:
    """JSONL in the `messages` form, UTF-8, with each row's id and meta. Raises `InvalidInput`."""
    with replaced(path) as out:
        for row in rows:
            out.write(json_line(as_messages(row)))


def write(path: Path, rows: Iterable[Keys]) -> int:
    """The rows in the container that the name asks for, and how many there were. Raises `InvalidInput`.

    Tables hold texts, and their columns are the keys of all rows. What is no text is written as JSON text in columns
    that are read as JSON (`nested`), and in Parquet as it is where a column has one kind; else it is a problem.
    """
    count = 0

    def counted() -> Iterator[Keys]:
        nonlocal count
        for row in rows:
            count += 1
            yield row

    with replaced(path) as out:
        writer_of(path)(out, counted())
    return count


def writer_of(path: Path) -> Callable[[IO[bytes], Iterator[Keys]], None]:
    """Raises `InvalidInput` for a name that tells no container."""
    suffix = (Path(path.stem) if path.suffix == ".gz" else path).suffix.lower()
    known: dict[str, Callable[[IO[bytes], Iterator[Keys]], None]] = {
        ".jsonl": _jsonl, ".ndjson": _jsonl, ".json": _array, ".parquet": _parquet,
        ".csv": _csv(SEPARATORS[".csv"]), ".tsv": _csv(SEPARATORS[".tsv"]),
    }  # fmt: skip
    if suffix not in known:
        cure = f"end it in {', '.join(known)}, or one of these and .gz"
        raise InvalidInput(
            f"{path} cannot be written", [Problem(str(path), f"its name ends in {suffix or 'nothing'}", cure)]
        )
    return known[suffix]


@contextmanager
def replaced(path: Path) -> Iterator[IO[bytes]]:
    """A file that takes the place of `path` when all of it is written. Raises `InvalidInput` when it cannot be."""
    part = None
    try:
        if path.is_dir():
            raise IsADirectoryError(None, "it is a folder")
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        part = Path(name)
        with os.fdopen(handle, "wb") as raw:
            if path.suffix == ".gz":
                with gzip.GzipFile(filename="", fileobj=raw, mode="wb", mtime=0) as packed:
                    yield packed  # type: ignore[misc]
            else:
                yield raw
        part.chmod(0o666 & ~_umask())
        part.replace(path)
        part = None
    except OSError as error:
        problem = Problem(str(path), f"cannot be written: {error.strerror or error}", "name another place")
        raise InvalidInput("nothing was written", [problem]) from error
    finally:
        if part is not None:
            with suppress(OSError):
                part.unlink()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def json_line(row: Any) -> bytes:
    return f"{strict_json.written(row)}\n".encode()


def _jsonl(out: IO[bytes], rows: Iterator[Keys]) -> None:
    for row in rows:
        out.write(json_line(row))


def _array(out: IO[bytes], rows: Iterator[Keys]) -> None:
    start = b"[\n"
    for row in rows:
        out.write(start + json_line(row).rstrip(b"\n"))
        start = b",\n"
    out.write(b"\n]\n" if start != b"[\n" else b"[]\n")


def _csv(separator: str) -> Callable[[IO[bytes], Iterator[Keys]], None]:
    def write(out: IO[bytes], rows: Iterator[Keys]) -> None:
        with _spooled(rows) as (columns, again):
            _check(columns, {})
            text = io.TextIOWrapper(out, encoding="utf-8", newline="", write_through=True)
            writer = csv.writer(text, delimiter=separator, lineterminator="\n")
            writer.writerow([*columns])
            for row in again:
                writer.writerow([_cell(row.get(column)) for column in columns])
            text.detach()

    return write


def _parquet(out: IO[bytes], rows: Iterator[Keys]) -> None:
    import pyarrow as arrow
    from pyarrow import parquet

    with _spooled(rows) as (columns, again):
        kept: dict[type, Any] = {bool: arrow.bool_(), int: arrow.int64(), float: arrow.float64()}
        native = _check(columns, kept)
        schema = arrow.schema([(column, native.get(column, arrow.string())) for column in columns])
        with parquet.ParquetWriter(out, schema) as writer:
            while batch := list(islice(again, _BATCH)):
                cells = [
                    {column: row.get(column) if column in native else _cell(row.get(column)) for column in columns}
                    for row in batch
                ]
                writer.write_table(arrow.Table.from_pylist(cells, schema=schema))


def _cell(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else strict_json.written(value)


class _Large(int):
    """The kind of a whole number that no column of Parquet holds."""


def _type(value: Any) -> type:
    if type(value) is int and not -(1 << 63) <= value < 1 << 63:
        return _Large
    return float if isinstance(value, float) else type(value)


Kinds = dict[type, tuple[int, Any]]
"""Type of a value → the first row that has it in a column, and its value there."""


def _check(columns: dict[str, Kinds], native: dict[type, Any]) -> dict[str, Any]:
    """The columns that keep the one type they have, of `native`. Raises `InvalidInput` where a cell would be read as
    a text that it is not."""
    there: dict[str, Any] = {}
    problems: list[Problem] = []
    json_text = {"id", *nested(columns)}  # an id is a text, however it is written
    for column, kinds in columns.items():
        if column in json_text or not (others := [of for of in kinds if of is not str]):
            continue
        if len(kinds) == 1 and others[0] in native:
            there[column] = native[others[0]]
            continue
        row, value = kinds[others[0]]
        says = f"row {row:,} has {kind(value)} there, and the cells of this column are read as texts"
        problems.append(Problem(column, says, "write .jsonl or .json, or convert to messages or preference-openai"))
    if problems:
        raise InvalidInput("nothing was written", problems)
    return there


@contextmanager
def _spooled(rows: Iterator[Keys]) -> Iterator[tuple[dict[str, Kinds], Iterator[Keys]]]:
    """All keys of all rows with what their values are, and the rows again: a table names its columns before its first
    row."""
    columns: dict[str, Kinds] = {}
    with tempfile.TemporaryFile() as kept:
        for number, row in enumerate(rows, 1):
            for key, value in row.items():
                kinds = columns.setdefault(key, {})
                of = _type(value)
                if value is not None and of not in kinds:
                    kinds[of] = (number, value)
            kept.write(json_line(row))
        kept.seek(0)
        yield columns, (strict_json.parse_written(line) for line in chain(kept))
