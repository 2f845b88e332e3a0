"""The teacher: one model behind an OpenAI-compatible endpoint, asked patiently and never beyond the budget.

Endpoints differ in what they take. A field that one refuses is asked for in the next weaker way, and so for the rest of
the run; until the first answer is there, requests go one at a time, so that this is found out once.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from pydantic import Field

from lifecycle.answer_schema import AnswerSchema
from lifecycle.errors import DabtError, NotAllowed, NotFound
from lifecycle.version import Frozen
from training.data.distill.journal import Journal, TeacherAnswer, Turn
from training.data.distill.spending import Budget, Tokens

if TYPE_CHECKING:
    import openai

Messages = Sequence[Mapping[str, Any]]

_PASSING = frozenset({408, 409, 425, 429, 500, 502, 503, 504, 529})
"""Statuses that may be gone on another try."""
_UNHEARD = frozenset({408, 504})
"""Of these, those behind which the teacher may have answered."""
_REFUSED_FIELD = frozenset({400, 422})
_FATAL: dict[int, type[DabtError]] = {401: NotAllowed, 402: NotAllowed, 403: NotAllowed, 404: NotFound}
_OUT_OF_MONEY = frozenset({"insufficient_quota", "billing_hard_limit_reached"})
_FORMATS = ("json_schema, strict", "json_schema", "json_object", "text")
"""What answers are asked for as, the strongest first. The last two need the schema in words."""


class TeacherSettings(Frozen, allow_inf_nan=False):
    """Whom to ask and how. The key is read from the environment variable `key_env`, and kept nowhere else."""

    url: str = Field(pattern=r"^https?://")
    """With the version path: …/v1."""
    model: str = Field(min_length=1)
    key_env: str = "OPENAI_API_KEY"
    temperature: float = Field(default=0.0, ge=0.0, le=2.0)
    max_tokens: int = Field(default=1024, ge=1)
    """Of one answer. A request's worst case is so many, and a token for each byte that is sent."""
    concurrency: int = Field(default=8, ge=1, le=512)
    timeout: float = Field(default=120.0, gt=0.0)
    """Seconds without a byte until a request counts as failed."""
    retries: int = Field(default=6, ge=0)
    """Further tries after a failure that may pass."""
    pause: float = Field(default=1.0, ge=0.0)
    """Seconds before the first further try. They double, and an endpoint may ask for more."""
    longest_pause: float = Field(default=60.0, gt=0.0)


@dataclass(frozen=True, slots=True)
class Dialect:
    """What the endpoint takes, as far as it is known."""

    form: int = 0
    """Of `_FORMATS`."""
    length: str = "max_tokens"
    """The field's name; OpenAI's reasoning models take the other one alone."""
    temperature: bool = True

    @classmethod
    def first(cls, schema: AnswerSchema) -> Dialect:
        return cls(form=0 if schema.is_strict else 1)

    def unlike(self, other: Dialect) -> str:
        """What the other one leaves out."""
        if self.length != other.length:
            return self.length
        return f"response_format {_FORMATS[self.form]}" if self.form != other.form else "a temperature"

    def weaker(self, error: openai.APIStatusError) -> Dialect | None:
        """What to try after that refusal; None where there is nothing else."""
        if self.length == "max_tokens" and "max_completion_tokens" in _said(error):
            return replace(self, length="max_completion_tokens")
        if self.temperature and (error.param == "temperature" or "'temperature'" in _said(error)):
            return replace(self, temperature=False)
        return replace(self, form=self.form + 1) if self.form + 1 < len(_FORMATS) else None

    def body(self, settings: TeacherSettings, schema: AnswerSchema, messages: Messages) -> dict[str, Any]:
        body: dict[str, Any] = {"model": settings.model, "messages": list(messages), self.length: settings.max_tokens}
        if self.temperature:
            body["temperature"] = settings.temperature
        asked = schema.response_format
        if self.form <= 1:
            inner = asked["json_schema"] | ({"strict": False} if self.form else {})
            body["response_format"] = asked | {"json_schema": inner}
        elif _FORMATS[self.form] == "json_object":
            body["response_format"] = {"type": "json_object"}
        if self.form > 1:
            body["messages"] = _told(messages, in_words(schema))
        return body


@dataclass(frozen=True, slots=True)
class Clock:
    """Time, which a test may pass faster."""

    now: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


class Unanswered(Exception):
    """All tries of one request failed in a way that may pass."""


class Teacher:
    """Asks for `schema`; every request is in `journal` before it is sent. A context: it owns connections."""

    def __init__(
        self,
        settings: TeacherSettings,
        schema: AnswerSchema,
        budget: Budget,
        journal: Journal,
        clock: Clock,
    ) -> None:
        import openai

        self.settings, self._schema, self._budget, self._journal = settings, schema, budget, journal
        self.dialect = Dialect.first(schema)
        self.notes: list[str] = []
        """What the endpoint does not take, in words."""
        self._key = os.environ.get(settings.key_env, "").strip()
        self._client = openai.AsyncOpenAI(
            base_url=settings.url,
            api_key=self._key or "none",
            timeout=settings.timeout,
            max_retries=0,  # each try is a request of the budget
        )
        self._answered = False
        self._first = asyncio.Lock()
        self._chance = random.Random(0)
        self._clock = clock
        self._quiet_until = 0.0

    async def __aenter__(self) -> Teacher:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._client.close()

    async def ask(self, key: str, turn: Turn, messages: Messages) -> TeacherAnswer:
        """The answer, which is in the journal when this returns.

        Raises `CapReached` before spending, `Unanswered` when the endpoint had no answer, and `NotAllowed`, `NotFound`
        when no input would get one.
        """
        if not self._answered:
            async with self._first:
                if not self._answered:
                    return await self._asked(key, turn, messages)
        return await self._asked(key, turn, messages)

    async def _asked(self, key: str, turn: Turn, messages: Messages) -> TeacherAnswer:
        dialect, failures = self.dialect, 0
        refusals: list[str] = []
        while True:
            await self._wait_for_quiet()
            body = dialect.body(self.settings, self._schema, messages)
            outcome = await self._sent(key, turn, body)
            if isinstance(outcome, TeacherAnswer):
                if not outcome.error and not self._answered:
                    self._answered, self.dialect = True, dialect
                    self.notes += refusals
                return outcome
            if outcome.field_refused:
                weaker = None if self._answered else dialect.weaker(outcome.field_refused)
                if weaker is None:
                    return self._refused(outcome, key, turn)
                self._journal.free(outcome.number)
                refusals.append(f"the endpoint refused {dialect.unlike(weaker)} ({outcome.words})")
                dialect = weaker
                continue
            if not outcome.again or failures >= self.settings.retries:
                raise Unanswered(outcome.words)
            self._be_quiet(outcome.wait)
            await self._clock.sleep(max(self._pause(failures), min(outcome.wait, self.settings.longest_pause)))
            failures += 1

    async def _sent(self, key: str, turn: Turn, body: dict[str, Any]) -> TeacherAnswer | _Failure:
        """One request, reserved and written down before it is sent, and settled however it ends."""
        import openai

        worst = Tokens(len(json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")), self.settings.max_tokens)
        await self._budget.reserve(worst)
        took = worst  # until it is known better: what ends this in the middle may have been paid for
        number = 0
        try:
            number = self._journal.ask(worst)
            raw = await self._client.post("/chat/completions", body=body, cast_to=object)
            answer = _read(raw, turn, worst)
            if answer is None:
                self._journal.lost(number)
                return _Failure(number, "the reply is no chat completion")
            took = answer.tokens
            self._journal.told(number, key, answer)
            return answer
        except openai.APIStatusError as error:
            failure = self._failure(number, error)
            if error.status_code in _UNHEARD:
                self._journal.lost(number)
            else:
                took = Tokens()
                if not failure.field_refused:  # who reads the refusal writes down how it ended
                    self._journal.free(number)
            if error.status_code in _FATAL or error.code in _OUT_OF_MONEY:
                raise self._fatal(error) from error
            return failure
        except (openai.APIConnectionError, ValueError, RecursionError) as error:
            cause = error.__cause__ or error
            if type(cause).__name__.startswith("Connect"):  # nobody was reached
                took = Tokens()
                self._journal.free(number)
            else:
                self._journal.lost(number)
            return _Failure(number, self._clean(f"{type(cause).__name__}: {cause}".rstrip(": ")))
        finally:
            await self._budget.settle(worst, took)

    def _failure(self, number: int, error: openai.APIStatusError) -> _Failure:
        words = self._clean(f"HTTP {error.status_code}: {_said(error)}")
        headers = error.response.headers
        again = error.status_code in _PASSING and headers.get("x-should-retry", "").lower() != "false"
        refused = error if error.status_code not in _PASSING and error.status_code not in _FATAL else None
        return _Failure(number, words, again=again, wait=_asked_wait(headers), field_refused=refused)

    def _refused(self, outcome: _Failure, key: str, turn: Turn) -> TeacherAnswer:
        sample, repair = turn
        answer = TeacherAnswer(sample=sample, repair=repair, error=outcome.words, at=datetime.now(UTC))
        self._journal.told(outcome.number, key, answer)
        return answer

    def _fatal(self, error: openai.APIStatusError) -> DabtError:
        kind = NotAllowed if error.code in _OUT_OF_MONEY else _FATAL[error.status_code]
        cure = f"; the key is read from {self.settings.key_env}" if error.status_code in (401, 403) else ""
        if error.status_code in (401, 403) and not self._key:
            cure += ", which is not set"
        said = self._clean(f"HTTP {error.status_code}: {_said(error)}")
        return kind(f"{self.settings.model} does not answer at {self._place}: {said}{cure}")

    @property
    def _place(self) -> str:
        """The endpoint without a user or a password."""
        begin, _, rest = self.settings.url.partition("://")
        host, slash, path = rest.partition("/")
        return f"{begin}://{host.rpartition('@')[2]}{slash}{path.partition('?')[0]}"

    def _clean(self, words: str) -> str:
        """In one line, without the key, which some endpoints quote."""
        line = " ".join(words.split())
        return (line.replace(self._key, "[key]") if self._key else line)[:500]

    def _pause(self, failures: int) -> float:
        seconds = min(self.settings.pause * 2.0**failures, self.settings.longest_pause)
        return seconds * (1 + 0.25 * self._chance.random())

    def _be_quiet(self, seconds: float) -> None:
        """An endpoint that asks for a pause means everybody."""
        until = self._clock.now() + min(seconds, self.settings.longest_pause)
        self._quiet_until = max(self._quiet_until, until)

    async def _wait_for_quiet(self) -> None:
        while (left := self._quiet_until - self._clock.now()) > 0:
            await self._clock.sleep(left)


@dataclass(frozen=True, slots=True)
class _Failure:
    """How a request failed."""

    number: int
    words: str
    again: bool = True
    wait: float = 0.0
    """Seconds that the endpoint asks for."""
    field_refused: openai.APIStatusError | None = None
    """The endpoint did not take the request as it is."""


def _said(error: openai.APIStatusError) -> str:
    """The endpoint's own words."""
    body = error.body
    said = body.get("message") if isinstance(body, dict) else None
    return said if isinstance(said, str) and said else error.message


def in_words(schema: AnswerSchema) -> str:
    written = json.dumps(schema.body, ensure_ascii=False)
    return f"Answer with one JSON value that fits this JSON schema, and with nothing else:\n{written}"


def _told(messages: Messages, words: str) -> list[Mapping[str, Any]]:
    """With the words behind the system text."""
    first, *rest = messages
    if first["role"] == "system":
        return [{**first, "content": f"{first['content']}\n\n{words}"}, *rest]
    return [{"role": "system", "content": words}, *messages]


def _read(raw: object, turn: Turn, worst: Tokens) -> TeacherAnswer | None:
    """The first choice of a chat completion; None for what is none."""
    if not isinstance(raw, dict) or not isinstance(raw.get("choices"), list) or not raw["choices"]:
        return None
    choice = raw["choices"][0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        return None
    usage = raw.get("usage")
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")] if isinstance(usage, dict) else []
    counted = len(counts) == 2 and all(isinstance(count, int) and count >= 0 for count in counts)
    prompt, completion = counts if counted else (worst.prompt, worst.completion)
    sample, repair = turn
    return TeacherAnswer(
        sample=sample,
        repair=repair,
        text=_text(message.get("content")),
        finish=_text(choice.get("finish_reason")),
        refusal=_text(message.get("refusal")),
        model=_text(raw.get("model")),
        prompt_tokens=prompt,
        completion_tokens=completion,
        counted=counted,
        at=datetime.now(UTC),
    )


def _text(value: Any) -> str:
    """A text that can be written as UTF-8."""
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else ""


def _asked_wait(headers: Mapping[str, str]) -> float:
    """What `retry-after-ms` or `retry-after` asks for, in seconds; 0 where they say nothing."""
    try:
        if milliseconds := headers.get("retry-after-ms"):
            return max(float(milliseconds) / 1000, 0.0)
        asked = headers.get("retry-after", "")
        try:
            seconds = float(asked)
        except ValueError:
            seconds = (parsedate_to_datetime(asked) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError):
        return 0.0
    return seconds if 0.0 <= seconds < float("inf") else 0.0
