"""The rows of a file as they are written, of whatever container. `files.py` says what each of them is."""

from __future__ import annotations

from collections.abc import Iterator

from lifecycle.rows.json_records import Record, json_records
from lifecycle.rows.sources import Source
from lifecycle.rows.table_records import SEPARATORS, csv_records, parquet_records


def container(file: Source) -> str:
    """What the file is: JSON, CSV, Parquet, …, and how it is packed."""
    table = file.suffix in SEPARATORS
    what = "Parquet" if not file.encoding else file.suffix.removeprefix(".").upper() if table else "JSON"
    return ", ".join(part for part in (what, file.words) if part)


def records(file: Source) -> Iterator[Record]:
    """In order. Raises `Unreadable` where reading cannot go on."""
    if not file.encoding:
        return parquet_records(file)
    return csv_records(file) if file.suffix in SEPARATORS else json_records(file)
