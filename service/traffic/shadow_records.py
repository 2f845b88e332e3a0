"""What shadow traffic found, as JSON lines in a folder: one for each copied request, both answers side by side.

A folder for each alias, a file for each process and so many megabytes; the oldest files go first. Texts are kept only
where the alias's policy asks for them. Read `shadow_report.py` for what is made of it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from lifecycle.version import Frozen, digest_of
from service.engine.interface import Kind, Tally
from service.openai.answer_guards import Choice, parsed

FILE_BYTES = 8 * 2**20
FILES = 8
"""Kept for each alias."""

_NOT_ASKED = ("model", "stream", "stream_options", "user")
"""Who asks, whom, and in which form: not what."""


class Side(Frozen):
    """One version's answer. Times are the engine's own, from its door, so that the two can be compared."""

    ref: str
    digest: str
    code: str = ""
    """Of the error that it ended in; the rest is then left out."""
    ttft: float | None = None
    seconds: float | None = None
    tokens: int = 0
    characters: int = 0
    finish: str = ""
    is_json: bool = False
    answer: str = ""
    """Digest of the text of all choices."""
    texts: tuple[str, ...] | None = None


class ShadowRecord(Frozen):
    """One request that was copied."""

    at: datetime
    alias: str
    request_id: str
    """The `x-request-id` of the answer that was returned."""
    kind: Kind
    request: str
    """Digest of what was asked, without who asked whom: equal requests have one."""
    served: Side
    candidate: Side
    agree: bool | None = None
    """The same text, or JSON texts of the same value, in every choice; None where one of the two failed."""
    body: dict[str, Any] | None = None


def answered(ref: str, digest: str, choices: Sequence[Choice], tally: Tally, *, keep: bool) -> Side:
    """`keep` the texts too."""
    texts = tuple(choice.text for choice in choices)
    seconds = None
    if tally.first_token is not None:
        seconds = tally.first_token + (tally.per_token or 0.0) * max(0, tally.completion_tokens - 1)
    return Side(
        ref=ref,
        digest=digest,
        ttft=tally.first_token,
        seconds=seconds,
        tokens=tally.completion_tokens,
        characters=sum(map(len, texts)),
        finish=",".join(choice.finish for choice in choices),
        is_json=bool(texts) and all(parsed(text)[0] for text in texts),
        answer=digest_of(texts),
        texts=texts if keep else None,
    )


def agree(served: Sequence[Choice], candidate: Sequence[Choice]) -> bool:
    return len(served) == len(candidate) and all(
        _same(mine.text, theirs.text) for mine, theirs in zip(served, candidate, strict=True)
    )


def request_digest(body: dict[str, Any]) -> str:
    return digest_of({key: value for key, value in body.items() if key not in _NOT_ASKED})


class Records:
    """The folder. Safe to share between threads, and with other processes: none writes another's file."""

    def __init__(self, folder: Path, file_bytes: int = FILE_BYTES, files: int = FILES) -> None:
        self._folder = folder
        self._file_bytes = file_bytes
        self._files = files
        self._current: dict[Path, Path] = {}
        self._writing = threading.Lock()

    def append(self, name: str, alias: str, record: ShadowRecord) -> None:
        """Raises `OSError` when it cannot be written."""
        line = record.model_dump_json(exclude_none=True).encode() + b"\n"
        folder = self._folder / name / alias
        with self._writing:
            path = self._current.get(folder)
            if path is None or _size(path) + len(line) > self._file_bytes:
                folder.mkdir(parents=True, exist_ok=True)
                path = folder / f"{datetime.now(UTC):%Y%m%dT%H%M%S%f}-{os.getpid()}.jsonl"
                self._current[folder] = path
                for old in sorted(folder.glob("*.jsonl"))[: -(self._files - 1) or None]:
                    old.unlink(missing_ok=True)
            with path.open("ab") as file:
                file.write(line)

    def read(self, name: str, alias: str) -> Iterator[ShadowRecord]:
        """Oldest first, of each process. A line that a crash cut short is left out."""
        for path in sorted((self._folder / name / alias).glob("*.jsonl")):
            try:
                lines = path.read_bytes().splitlines()
            except FileNotFoundError:
                continue  # the oldest go while one reads
            for line in lines:
                try:
                    yield ShadowRecord.model_validate_json(line)
                except ValidationError:
                    continue


def _same(text: str, other: str) -> bool:
    if text.strip() == other.strip():
        return True
    (is_json, value), (other_is_json, other_value) = parsed(text), parsed(other)
    return is_json and other_is_json and value == other_value


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
