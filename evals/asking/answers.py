"""What an arm answered to one request, and the file that remembers it, so that no finished item is asked twice.

A second run, or one that goes on after an interruption, reads these. Kept are answers alone, and only of an endpoint
that says which version answered on what: a refusal may be gone when limits or keys have changed, and of any other
endpoint nobody knows whether it is still the same. Read `asker.py` next.
"""

from __future__ import annotations

import os
import sqlite3
import sys
import weakref
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from lifecycle.version import Digest, Frozen, canonical, digest_of, digest_of_canonical

_TOGETHER = 1_024
"""Places of lines that SQLite is told in one go."""


class Conditions(Frozen):
    """Everything besides the question that an answer depends on: with the version's digest it keys the cache.

    A cache shared between models hands one model's answers to another, one shared between deployments another
    engine's; one shared between concurrencies mixes latencies, and greedy answers too, because they can differ with
    the batch's composition.
    """

    version: Digest
    task: Digest
    endpoint: str
    """Its address (`Endpoint.place`): another machine answers alike, in another time."""
    deployment: Digest | None
    """What answers (`lifecycle.deployment`); None when the endpoint does not say."""
    concurrency: int = Field(ge=1)
    seed: int
    take: int = Field(default=0, ge=0)
    """0 for the measurement, 1 for the second pass that finds the noise floor."""
    repeat: int = Field(default=0, ge=0)
    """Which of several answers to the same item."""

    def key(self, kind: str, item: str, request: object) -> str:
        """Of one request: `kind` is the endpoint's, `item` the item's hash, `request` its body with the decoding."""
        # The digest of [conditions, kind, item, request]; the conditions, which are the same for all, are written once.
        return digest_of_canonical(f"[{self._told},{canonical([kind, item, request])[1:]}")

    @cached_property
    def _told(self) -> str:
        # The first answers have the keys that they had before there were several.
        return canonical(self.model_dump(mode="json", exclude=None if self.repeat else {"repeat"}))

    def seed_of(self, item: str) -> int:
        """Of a request that is sampled. Engines draw the same numbers for the same seed, whatever the prompt is: with
        one seed for all, items would be right or wrong together."""
        return int(digest_of([self.seed, item, self.repeat]).removeprefix("sha256:")[:8], 16)


class Answer(Frozen):
    """One finished request. An `error` scores zero; `final` says that asking again would fail again."""

    key: Digest
    version: str
    item: str
    text: str = ""
    tool_calls: tuple[dict[str, Any], ...] = ()
    """As the endpoint wrote them."""
    logprob: float | None = None
    """Natural log of the continuation's probability, for log-likelihood requests."""
    greedy: bool | None = None
    finish_reason: str = ""
    latency: float = Field(ge=0.0)
    """Seconds from sending the request that was answered to its last byte; waiting for a retry is not in it."""
    concurrency: int
    """Requests in flight while it was measured."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0
    """Of the prompt's, those that the endpoint says it need not compute again."""
    first_token: float | None = None
    """Seconds from its arrival to its first token, as the endpoint timed it; None where it does not say."""
    searched: float = 0.0
    """Of these, in the search for passages."""
    shared: int = Field(default=1, ge=1)
    """Answers that came with the same reply: the latency is a share of its."""
    passages: tuple[str, ...] = ()
    """Ids of the passages that the service retrieved."""
    texts: tuple[str, ...] = ()
    """What they say, in the same order."""
    retries: int = 0
    served: str = ""
    """The digest of the version that answered, as the endpoint said; empty when it did not."""
    deployment: str = ""
    """The digest of what it answered on, likewise."""
    error: str = ""
    final: bool = True
    at: datetime

    @property
    def kept(self) -> bool:
        """Whether a later run may read it: an answer, and one of which it is known who gave it."""
        return not self.error and bool(self.served and self.deployment)


def span_of(answer: Answer) -> tuple[float, float]:
    """When its request was sent and when its reply was there, in seconds since 1970."""
    return answer.at.timestamp() - answer.shared * answer.latency, answer.at.timestamp()


class _Line(Answer):
    """An answer as it is on disk. A line of another form is passed over, and its item is asked again."""

    form: Literal[2]
    """2: who answered on what is in it, and no failure is. Lines of before have no form."""


class AnswerStore:
    """Answers by key, kept in one JSONL file per version: a line is on disk as soon as its item is answered.

    Where each line stands is in a temporary database, of which SQLite holds some pages in memory; in memory is whatever
    is not kept, and where the newest lines stand.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lines = sqlite3.connect("", isolation_level=None, check_same_thread=False)
        """Key → offset and length of its line, in bytes."""
        weakref.finalize(self, self._lines.close)
        for setting in ("journal_mode = off", "synchronous = off", "cache_size = -1024"):
            self._lines.execute(f"pragma {setting}")
        self._lines.execute("create table lines (key text primary key, offset int, length int) without rowid")
        self._newest: dict[str, tuple[int, int]] = {}
        """The same of lines that the database has not been told of."""
        self._told = False
        """Whether the database knows any line."""
        self._unkept: dict[str, Answer] = {}
        if path.is_file():
            self._read()

    @classmethod
    def of_version(cls, folder: Path, digest: Digest) -> AnswerStore:
        return cls(folder / f"{digest.removeprefix('sha256:')}.jsonl")

    def get(self, key: str) -> Answer | None:
        place = self._newest.get(key)
        if place is None and self._told:
            place = self._lines.execute("select offset, length from lines where key = ?", (key,)).fetchone()
        if place is None:
            return self._unkept.get(key)
        with self.path.open("rb") as file:
            file.seek(place[0])
            kept = _Line.model_validate_json(file.read(place[1]))
        told = {name: getattr(kept, name) for name in Answer.model_fields}  # checked as the line was read
        told["texts"] = tuple(map(sys.intern, kept.texts))  # one passage is behind many answers
        return Answer.model_construct(**told)

    def add(self, *answers: Answer) -> None:
        """Remembers answers of one reply. A failure of any kind counts in this run, and is asked again in the next."""
        self._unkept |= {answer.key: answer for answer in answers if not answer.kept}
        # Each is a `_Line`, without checking it again.
        kept = [answer for answer in answers if answer.kept]
        lines = {answer.key: f'{answer.model_dump_json()[:-1]},"form":2}}\n'.encode() for answer in kept}
        if not lines:
            return
        # One write of whole lines in append mode: two evaluations of one version may share the file.
        descriptor = self._opened()
        try:
            os.write(descriptor, b"".join(lines.values()))
            at = os.lseek(descriptor, 0, os.SEEK_CUR)  # behind what was appended, wherever that was
        finally:
            os.close(descriptor)
        at -= sum(map(len, lines.values()))
        for key, line in lines.items():
            self._stands(key, at, len(line))
            self._unkept.pop(key, None)
            at += len(line)

    def _opened(self) -> int:
        try:
            return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        except FileNotFoundError:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            return os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def _stands(self, key: str, offset: int, length: int) -> None:
        self._newest[key] = offset, length
        if len(self._newest) == _TOGETHER:
            places = [(key, *place) for key, place in self._newest.items()]
            self._lines.executemany("insert or replace into lines values (?, ?, ?)", places)
            self._newest.clear()
            self._told = True

    def _read(self) -> None:
        offset, line = 0, b"\n"
        with self.path.open("rb") as file:
            for line in file:
                try:
                    kept = _Line.model_validate_json(line)
                except ValidationError:  # a torn line, or an older form: that item is asked again
                    kept = None
                # Those of an earlier release have the ids of passages alone.
                if kept and len(kept.texts) == len(kept.passages):
                    self._stands(kept.key, offset, len(line))
                offset += len(line)
        if not line.endswith(b"\n"):  # the process died within a line: end it, so that the next one is whole
            with self.path.open("ab") as file:
                file.write(b"\n")
