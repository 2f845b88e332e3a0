"""What an answer can be found to be without a model: empty, cut off, no JSON, or not what its schema asks for.

An answer is read here from the engine's body, or from the chunks of a stream, in the shape of either endpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from pydantic_core import from_json

from lifecycle.answer_schema import validator
from lifecycle.text import strict_json
from lifecycle.traffic import AnswerGuard

log = structlog.get_logger(__name__)

Fits = Callable[[Any], bool]
"""Whether a JSON value is what a schema asks for."""


@dataclass(frozen=True, slots=True)
class Choice:
    """One of an answer's choices. `text` is "" for one that only calls tools."""

    text: str
    finish: str
    calls_tools: bool


def choices_of(body: Mapping[str, Any]) -> list[Choice]:
    """Of a whole answer, by index. Of a classification: the label of each text. Likelihoods are of no answer."""
    labels = [item["label"] for item in body.get("data") or () if "label" in item]
    choices = [Choice(label or "", "stop", False) for label in labels]
    for choice in body.get("choices") or ():
        message = choice.get("message") or {}
        text = message.get("content") if "message" in choice else choice.get("text")
        choices.append(Choice(text or "", choice.get("finish_reason") or "", bool(message.get("tool_calls"))))
    return choices


class StreamedChoices:
    """The choices of a streamed answer, read chunk by chunk as they come, so that its end has nothing to read again."""

    def __init__(self) -> None:
        self._texts: dict[int, list[str]] = {}
        self._finishes: dict[int, str] = {}
        self._tools: set[int] = set()

    def read(self, chunk: str) -> None:
        """`chunk` is the JSON text of one."""
        for choice in from_json(chunk).get("choices") or ():
            index, delta = choice.get("index", 0), choice.get("delta") or {}
            text = delta.get("content") if "delta" in choice else choice.get("text")
            self._texts.setdefault(index, []).append(text or "")
            if choice.get("finish_reason"):
                self._finishes[index] = choice["finish_reason"]
            if delta.get("tool_calls"):
                self._tools.add(index)

    def choices(self) -> list[Choice]:
        """As far as they have come, by index."""
        return [
            Choice("".join(self._texts[index]), self._finishes.get(index, ""), index in self._tools)
            for index in sorted(self._texts)
        ]


def broken_guards(
    choices: Sequence[Choice], guards: Iterable[AnswerGuard], fits: Fits | None
) -> frozenset[AnswerGuard] | None:
    """Those of `guards` that hold for at least one choice; None for an answer without any."""
    if not choices:
        return None
    return frozenset(guard for guard in guards if any(_is(guard, choice, fits) for choice in choices))


def schema_check(schema: Mapping[str, Any] | None) -> Fits | None:
    """Raises nothing: a schema that cannot be applied to a value (`lifecycle/traffic.py` lets none in) fits all."""
    if schema is None:
        return None
    judge = validator(schema)

    def fits(value: Any) -> bool:
        try:
            return bool(judge.is_valid(value))
        except Exception as error:  # a value must not be able to end what judges it
            log.warning("an answer schema cannot be applied", error=f"{type(error).__name__}: {error}")
            return True

    return fits


def parsed(text: str) -> tuple[bool, Any]:
    """Whether it is JSON, and what it says."""
    try:
        return True, strict_json.parse(text)
    except ValueError:
        return False, None


def _is(guard: AnswerGuard, choice: Choice, fits: Fits | None) -> bool:
    if guard == "cut_off":
        return choice.finish == "length"
    if choice.calls_tools:
        return False  # what it says is in the call's arguments
    if guard == "empty":
        return not choice.text.strip()
    is_json, value = parsed(choice.text)
    return not is_json or (guard == "off_schema" and fits is not None and not fits(value))
