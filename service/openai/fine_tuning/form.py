"""A multipart form with one file, written to a disk as it comes: never in memory, and never more than is allowed."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from fastapi import Request

from lifecycle.errors import InvalidInput, Problem, TooLarge, TooSlow
from service.concurrency import Bulkhead

_AT_ONCE = 2**20
"""Bytes that are gathered before they are written."""
_FIELDS, _FIELD_BYTES = 16, 4096
"""Fields of a form besides its file, and bytes of one."""
_OVERHEAD = 128 * 2**10
"""Bytes of the form around its file, more than all of its fields and heads can be."""


@dataclass
class Form:
    """What came."""

    fields: dict[str, str] = field(default_factory=dict)
    file: Path | None = None
    file_field: str = ""
    filename: str = ""
    bytes: int = 0
    """Of the file."""

    def require_file(self, name: str) -> Path:
        """Raises `InvalidInput` when no file came in the field `name`."""
        if self.file is None or self.file_field != name:
            raise InvalidInput("The request is not valid:", [Problem(name, "is missing", "send a file in this field")])
        return self.file


async def received(request: Request, folder: Path, most: int, disk: Bulkhead) -> Form:
    """The request's form, its file in `folder` and of at most `most` bytes; written in threads of `disk`.

    Raises `InvalidInput` for what is no such form, `TooLarge`, and `TooSlow` for a client that falls silent. A disk
    that is full is an `OSError` still.
    """
    from python_multipart.exceptions import FormParserError

    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > most + _OVERHEAD:
        raise _too_large(most)
    patience = request.app.state.config.client_seconds
    pieces, waiting = request.stream(), bytearray()
    try:
        parts = _Parts(request.headers.get("content-type", ""), folder, most)
        try:
            while True:
                async with asyncio.timeout(patience):
                    piece = await anext(pieces, None)
                waiting += piece or b""
                if waiting and (piece is None or len(waiting) >= _AT_ONCE):
                    await disk.run(parts.write, bytes(waiting))
                    waiting.clear()
                if piece is None:
                    return parts.whole()
        except TimeoutError as error:
            raise TooSlow(f"Nothing more of the body came for {patience:g} s; send it again") from error
        finally:
            parts.close()
    except FormParserError as error:
        raise InvalidInput(f"The body is no multipart form: {error}") from error


class _Parts:
    """What python-multipart finds in the body, part by part."""

    def __init__(self, content_type: str, folder: Path, most: int) -> None:
        """Raises `InvalidInput`, and python-multipart's own errors."""
        from python_multipart.multipart import MultipartParser, parse_options_header

        self._options = parse_options_header
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise InvalidInput("Send the body as multipart/form-data, with a file in it")
        self._form, self._folder, self._most = Form(), folder, most
        self._head, self._name, self._value = bytearray(), bytearray(), bytearray()
        self._disposition = b""
        self._field = ""
        self._out: BinaryIO | None = None
        self._ended = False
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_header_field": lambda data, start, end: self._name.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._head.extend(data[start:end]),
                "on_header_end": self._header,
                "on_headers_finished": self._begin,
                "on_part_data": self._more,
                "on_part_end": self._end,
                "on_end": self._last,
            },
        )

    def write(self, data: bytes) -> None:
        self._parser.write(data)

    def whole(self) -> Form:
        """Raises `InvalidInput` when the last part did not end."""
        if not self._ended:
            raise InvalidInput("The body ends in the middle of a part; send it again")
        return self._form

    def close(self) -> None:
        if self._out is not None:
            self._out.close()

    def _header(self) -> None:
        if bytes(self._name).lower() == b"content-disposition":
            self._disposition = bytes(self._head)
        self._name.clear()
        self._head.clear()

    def _begin(self) -> None:
        options = self._options(self._disposition)[1]
        self._field = options.get(b"name", b"").decode("utf-8", errors="replace")
        self._disposition = b""
        if (filename := options.get(b"filename")) is None:
            return
        if self._form.file is not None:
            raise InvalidInput("The form has more than one file; send one")
        self._form.file, self._form.file_field = self._folder / "received", self._field
        # Without folders: whatever a client's system calls it, it is never a path here.
        self._form.filename = re.split(r"[/\\]", filename.decode("utf-8", errors="replace"))[-1][-255:] or "file"
        self._out = self._form.file.open("xb")

    def _more(self, data: bytes, start: int, end: int) -> None:
        if self._out is not None:
            self._form.bytes += end - start
            if self._form.bytes > self._most:
                raise _too_large(self._most)
            self._out.write(data[start:end])
            return
        self._value.extend(data[start:end])
        if len(self._value) > _FIELD_BYTES:
            raise InvalidInput("The request is not valid:", [Problem(self._field, "is too long", "send a short text")])

    def _end(self) -> None:
        if self._out is not None:
            self._out.close()
            self._out = None
            return
        if self._field in self._form.fields:
            raise InvalidInput("The request is not valid:", [Problem(self._field, "comes twice", "send it once")])
        if len(self._form.fields) >= _FIELDS:
            raise InvalidInput(f"The form has more than {_FIELDS} fields")
        self._form.fields[self._field] = self._value.decode("utf-8", errors="replace")
        self._value.clear()

    def _last(self) -> None:
        self._ended = True


def _too_large(most: int) -> TooLarge:
    return TooLarge(
        f"The file is larger than the {most / 2**20:g} MiB that one request may bring; send it in parts, by /v1/uploads"
    )
