"""Every request and every answer of a distillation, written down as it happens, so that nothing is paid for twice.

One JSON object a line: first what decides the answers (`run`), then each request before it is sent (`ask`), and how it
ended: its answer (`told`), at no cost (`free`), or without a word, so that it may have been paid for (`lost`). A
process that was killed leaves at most half a line, which the next one takes off.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lifecycle.errors import Conflict, Corrupt, InvalidInput, Problem, Unavailable
from lifecycle.version import Frozen
from training.data.distill.spending import Tokens

Turn = tuple[int, bool]
"""Which sample, and whether it is the repair of its first answer."""


class TeacherAnswer(Frozen):
    """What the endpoint said to one request, paid for or refused."""

    sample: int
    repair: bool
    text: str = ""
    finish: str = ""
    refusal: str = ""
    """The teacher's own words for not answering."""
    error: str = ""
    """The endpoint's, for refusing this very request."""
    model: str = ""
    """As the endpoint calls it, often with a date."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    counted: bool = True
    """False where the endpoint counted no tokens: then they are the worst case."""
    at: datetime

    @property
    def tokens(self) -> Tokens:
        return Tokens(self.prompt_tokens, self.completion_tokens)


class Journal:
    """One file, one process at a time: a context. Answers stay in the file; in memory is where each of them stands."""

    def __init__(self, path: Path, identity: dict[str, str]) -> None:
        """Raises what `_open` raises."""
        self.path = path
        self.requests = 0
        self.spent = Tokens()
        """Of all requests so far; one that nobody knows the end of counts at its worst case."""
        self._places: dict[str, list[int]] = {}
        self._open(identity)

    def answers(self, key: str) -> dict[Turn, TeacherAnswer]:
        """All that the endpoint has said to the input of that key."""
        told = {}
        for place in self._places.get(key, ()):
            line = os.pread(self._file, self._length(place), place)
            answer = TeacherAnswer.model_validate(json.loads(line)["answer"])
            told[answer.sample, answer.repair] = answer
        return told

    def ask(self, worst: Tokens) -> int:
        """A request that is sent now, at its worst case. Gives its number."""
        self.requests += 1
        self._write({"ask": self.requests, "prompt": worst.prompt, "completion": worst.completion})
        return self.requests

    def told(self, number: int, key: str, answer: TeacherAnswer) -> None:
        said = answer.model_dump(mode="json", exclude_defaults=True)
        place = self._write({"told": number, "key": key, "answer": said})
        self._places.setdefault(key, []).append(place)

    def free(self, number: int) -> None:
        """The request failed in a way that nobody pays for."""
        self._write({"free": number})

    def lost(self, number: int) -> None:
        """No answer came, and it may have been paid for."""
        self._write({"lost": number})

    def again(self, key: str) -> None:
        """What was said to this input counts no more: it is asked again."""
        self._write({"again": key})
        self._places.pop(key, None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self._file)

    def _open(self, identity: dict[str, str]) -> None:
        """Raises `Conflict` while another process writes it, `InvalidInput` for one of another run, `Corrupt`, and
        `Unavailable` when it cannot be written."""
        try:
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise _unwritable(self.path, error) from error
        try:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Conflict(f"another process writes {self.path}: wait for it, or name another output") from None
            self._end = 0
            self._read(identity)
            os.ftruncate(self._file, self._end)
            if not self._end:
                self._write({"run": identity})
        except BaseException:
            os.close(self._file)
            raise

    def _read(self, identity: dict[str, str]) -> None:
        open_requests: dict[int, Tokens] = {}
        for place, line in self._lines():
            try:
                entry = json.loads(line)
                self._take(entry, place, open_requests, identity)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                raise Corrupt(
                    f"{self.path} is no journal of a distillation, or was changed (at byte {place:,}: {error}): mend "
                    "it, or move it away to begin anew, which pays for every input again"
                ) from error
        for worst in open_requests.values():
            self.spent += worst

    def _take(self, entry: dict[str, Any], place: int, waiting: dict[int, Tokens], identity: dict[str, str]) -> None:
        if "run" in entry:
            _require_same(self.path, entry["run"], identity)
        elif "ask" in entry:
            self.requests = entry["ask"]
            waiting[self.requests] = Tokens(entry["prompt"], entry["completion"])
        elif "told" in entry:
            waiting.pop(entry["told"])
            answer = TeacherAnswer.model_validate(entry["answer"])
            self.spent += answer.tokens
            self._places.setdefault(entry["key"], []).append(place)
        elif "free" in entry:
            waiting.pop(entry["free"])
        elif "lost" in entry:
            self.spent += waiting.pop(entry["lost"])
        else:
            self._places.pop(entry["again"], None)

    def _lines(self) -> Iterator[tuple[int, bytes]]:
        """Whole lines with their places; `_end` is then behind the last of them."""
        with open(self._file, "rb", closefd=False) as file:
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield self._end, line
                self._end += len(line)

    def _length(self, place: int) -> int:
        piece, length = 4096, 0
        while chunk := os.pread(self._file, piece, place + length):
            if (at := chunk.find(b"\n")) >= 0:
                return length + at
            length += len(chunk)
        return length

    def _write(self, entry: dict[str, Any]) -> int:
        line = f"{json.dumps(entry, ensure_ascii=False)}\n".encode()
        place = self._end
        try:
            if os.pwrite(self._file, line, place) < len(line):
                raise OSError(28, "the disk is full")
        except OSError as error:
            raise _unwritable(self.path, error) from error
        self._end += len(line)
        return place


def _require_same(path: Path, began: dict[str, str], now: dict[str, str]) -> None:
    changed = [
        Problem(name, f"was {began.get(name) or 'nothing'} and is {now.get(name) or 'nothing'} now")
        for name in {**began, **now}
        if began.get(name) != now.get(name)
    ]
    if changed:
        raise InvalidInput(
            f"{path} is the journal of another distillation, whose answers do not mix with this one's: name another "
            "output, or move the journal away",
            changed,
        )


def _unwritable(path: Path, error: OSError) -> Unavailable:
    return Unavailable(
        f"{path} cannot be written: {error.strerror or error}. What it holds is kept: run the same command again"
    )
