"""The bytes of a file of rows: unpacked, and decoded to text. What is no text is told once, with what it is.

`json_records.py` and `table_records.py` read rows out of these.
"""

from __future__ import annotations

import codecs
import gzip
import tempfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, cast

from lifecycle.rows.faults import Fault, Unreadable, unreadable

LONGEST = 64 << 20
"""Characters of one row. What is longer is no row, and would fill the memory."""

_PIECE = 1 << 16
_GZIP = b"\x1f\x8b"
_PARQUET = b"PAR1"
_OTHERS = {
    b"PK\x03\x04": ("a zip file, as Excel workbooks are", "save the sheet as CSV in UTF-8, or unpack the file"),
    b"\xd0\xcf\x11\xe0": ("an old Excel or Word file", "save the sheet as CSV in UTF-8"),
    b"BZh": ("packed by bzip2", "unpack it, or pack it by gzip"),
    b"\xfd7zXZ": ("packed by xz", "unpack it, or pack it by gzip"),
    b"(\xb5/\xfd": ("packed by zstd", "unpack it, or pack it by gzip"),
    b"7z\xbc\xaf": ("packed by 7-Zip", "unpack it, or pack it by gzip"),
    b"ARROW1": ("an Arrow file", "write it as Parquet or JSONL"),
    b"SQLite": ("an SQLite database", "export the table as CSV or JSONL"),
    b"%PDF": ("a PDF", "rows are JSONL, JSON, CSV, TSV or Parquet"),
    _GZIP: ("packed by gzip twice", "unpack it once"),
    b"\xff\xfe\x00\x00": ("text in UTF-32", "save it as UTF-8"),
    b"\x00\x00\xfe\xff": ("text in UTF-32", "save it as UTF-8"),
}


@dataclass(frozen=True, slots=True)
class Source:
    """A file of rows. `suffix` is that of the name without `.gz`."""

    path: Path
    packed: bool
    encoding: str
    """utf-8 or utf-16; empty for Parquet."""

    @property
    def suffix(self) -> str:
        name = Path(self.path.stem) if self.packed or self.path.suffix == ".gz" else self.path
        return name.suffix.lower()

    @property
    def words(self) -> str:
        """What there is to say of the file before its rows."""
        parts = ["gzip"] * self.packed + ["UTF-16"] * (self.encoding == "utf-16")
        return ", ".join(parts)

    @contextmanager
    def opened(self) -> Iterator[IO[bytes]]:
        """From the start. What goes wrong on the way is an `Unreadable`."""
        try:
            with self.path.open("rb") as raw:
                yield cast("IO[bytes]", gzip.GzipFile(fileobj=raw)) if self.packed else raw
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise unreadable("broken_file", f"the gzip file breaks off: {error}", "fetch or pack it again") from error
        except OSError as error:
            raise unreadable("no_file", f"cannot be read: {error.strerror or error}", "name a file of rows") from error

    @contextmanager
    def seekable(self) -> Iterator[IO[bytes]]:
        """The unpacked bytes as a file that can be read from its end, as Parquet is."""
        with self.opened() as stream:
            if not self.packed:
                yield stream
                return
            with tempfile.TemporaryFile() as unpacked:
                while piece := stream.read(_PIECE):
                    unpacked.write(piece)
                unpacked.seek(0)
                yield unpacked

    def lines(self) -> Iterator[tuple[int, str | Fault]]:
        """Each line with its number and its line feed, or why it is no text. Only a line feed ends a line."""
        if self.encoding != "utf-8":
            yield from _split(self.pieces())
            return
        with self.opened() as stream:
            number = 0
            while line := stream.readline(LONGEST + 1):
                number += 1
                if len(line) > LONGEST:
                    raise _too_long(number)
                try:
                    yield number, line.decode("utf-8").removeprefix("\ufeff")
                except UnicodeDecodeError as error:
                    yield number, Fault("not_utf8", f"is not UTF-8 (byte {error.start + 1} of the line)", _SAVE)

    def pieces(self) -> Iterator[str]:
        """The text, piece by piece. Raises `NotText` where it is none."""
        decoder = codecs.getincrementaldecoder("utf-8-sig" if self.encoding == "utf-8" else self.encoding)()
        line = 1
        with self.opened() as stream:
            while True:
                raw = stream.read(_PIECE)
                try:
                    piece = decoder.decode(raw, final=not raw)
                except UnicodeDecodeError as error:
                    before = error.object[: error.start].decode(self.encoding, "replace")
                    raise NotText(line + before.count("\n"), self.encoding) from error
                line += piece.count("\n")
                yield piece
                if not raw:
                    return


class NotText(Unreadable):
    """A place in the file that its encoding does not allow."""

    def __init__(self, line: int, encoding: str) -> None:
        self.line = line
        super().__init__([Fault("not_utf8", f"is not {encoding.upper()}", _SAVE)])


_SAVE = "save the file as UTF-8"


def source(path: Path) -> Source:
    """What the file is, by its first bytes. Raises `Unreadable` for one that no row can be read from."""
    if path.exists() and not path.is_file():
        says = "is a folder" if path.is_dir() else "cannot be read: it is no file"
        raise unreadable("no_file", says, "name a file of rows")
    plain = Source(path, packed=False, encoding="utf-8")
    with plain.opened() as stream:
        packed = stream.read(2) == _GZIP
    with Source(path, packed, "utf-8").opened() as stream:
        head = stream.read(64)
    if head.startswith(_PARQUET):
        return Source(path, packed, "")
    for magic, (what, cure) in _OTHERS.items():
        if head.startswith(magic):
            raise unreadable("wrong_kind", f"is {what}", cure)
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return Source(path, packed, "utf-16")
    if b"\x00" in head[:4]:
        looks = "UTF-16 without its byte order mark" if 0 in head[:2] or head[1:4:2] == b"\x00\x00" else "no text"
        raise unreadable("wrong_kind", f"is {looks}", _SAVE)
    return Source(path, packed, "utf-8")


def _split(pieces: Iterator[str]) -> Iterator[tuple[int, str | Fault]]:
    number, rest = 0, ""
    for piece in pieces:
        *whole, rest = (rest + piece).split("\n")
        for line in whole:
            number += 1
            yield number, f"{line}\n".removeprefix("\ufeff")
        if len(rest) > LONGEST:
            raise _too_long(number + 1)
    if rest:
        yield number + 1, rest


def _too_long(line: int) -> Unreadable:
    return unreadable("too_long", f"line {line:,} is longer than {LONGEST >> 20} MiB", "one row a line")
