"""Scores of one answer against its target: pure functions from texts to numbers from 0 to 1.

Texts are compared as a reader does (`lifecycle/text/normaliser.py`), JSON as a program that parses it does
(`lifecycle/text/strict_json.py`). An answer may be anything, and what cannot be read scores 0; a target may not be
empty, because nothing could be measured by it. Evaluations score by these (`evals/tasks/lmeval/metrics.py`), and a
training run that keeps its best checkpoint by its answers does too.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from lifecycle.errors import InvalidData, Problem
from lifecycle.text import strict_json
from lifecycle.text.letters import visible
from lifecycle.text.normaliser import DEFAULT, Normaliser

RULES = 2
"""Of everything here but the normaliser, which has a name of its own. Another way to score is another number: it is
part of a task's digest."""

_ABSENT = object()
"""What an answer without the field says: not even null."""


def parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None.

    Strict on purpose: the product parses the whole answer, so words around the object make it useless.
    """
    try:
        value = strict_json.parse(text)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def target_object(target: str) -> dict[str, Any]:
    """The target as a JSON object. Raises `InvalidData` when it is none: the fault is the data's."""
    value = parse_object(target)
    if value is None:
        raise InvalidData(
            "a target is not a JSON object", [Problem("target", repr(target[:80]), "a JSON object, as the task asks")]
        )
    return value


def valid_json(answer: str, required: Sequence[str]) -> float:
    """1 when the answer is one JSON object that has every key of `required`, each with a text, a number or a boolean.

    A text that is empty to a reader does not count.
    """
    value = parse_object(answer)
    return float(value is not None and all(spoken(value.get(key)) for key in required))


def field_accuracy(answer: str, target: str, fields: Sequence[str]) -> dict[str, float]:
    """1 or 0 for each field of a JSON answer, compared exactly (`equal`): a program will branch on these labels.

    An answer that is no JSON object has every field wrong. Raises `InvalidData` when the target lacks a field.
    """
    got, want = parse_object(answer) or {}, _wanted(target, fields)
    return {field: float(equal(got.get(field, _ABSENT), want[field])) for field in fields}


def equal(got: Any, want: Any) -> bool:
    """Whether two JSON values are the same to a program: of one type, and so on through lists and objects.

    Numbers are compared by value (1 is 1.0), texts without the spaces around them. A text is never a number, and 1 is
    not true.
    """
    if isinstance(want, str):
        return isinstance(got, str) and got.strip() == want.strip()
    if isinstance(want, bool) or isinstance(got, bool):
        return got is want
    if isinstance(want, (int, float)):
        return isinstance(got, (int, float)) and got == want
    if isinstance(want, list):
        return isinstance(got, list) and len(got) == len(want) and all(map(equal, got, want))
    if isinstance(want, dict):
        return isinstance(got, dict) and got.keys() == want.keys() and all(equal(got[key], want[key]) for key in want)
    return got is want


def exact_match(answer: str, target: str, normaliser: Normaliser = DEFAULT) -> float:
    """1 when a reader would take both for the same (`Normaliser.same`)."""
    return float(normaliser.same(answer, _comparable(target)))


def token_f1(answer: str, target: str, normaliser: Normaliser = DEFAULT) -> float:
    """Harmonic mean of precision and recall over the words in common, after normalisation (SQuAD, arXiv 1606.05250).

    1 wherever `exact_match` is: also for a target without words, such as "👍", which has nothing to have in common.
    """
    if exact_match(answer, target, normaliser):
        return 1.0
    got, want = (normaliser.words(normaliser.without_articles(text)) for text in (answer, target))
    common = sum((Counter(got) & Counter(want)).values())
    return 2 * common / (len(got) + len(want)) if common else 0.0


def label_of(answer: str, labels: Sequence[str], normaliser: Normaliser = DEFAULT) -> str | None:
    """The label that a reader takes the whole answer for (`Normaliser.same`); None when it says another thing."""
    return next((label for label in labels if normaliser.same(answer, label)), None)


def chrf(answer: str, target: str) -> float:
    """chrF2 of the answer, from 0 to 1: character 1- to 6-grams, recall weighted twice (Popović, W15-3049).

    Characters suit Arabic, where one word carries its article, conjunction and pronouns. What nobody sees counts
    nothing; beyond that no text is normalised, as sacrebleu's chrF does not.
    """
    return float(_chrf().sentence_score(visible(answer), [visible(_comparable(target))]).score) / 100


def citation(answer: str, target: str, field: str) -> float:
    """1 when the JSON answer cites exactly the passages of the target; ids may be in brackets, or in a list.

    Case, and what nobody sees, are put aside: ids are looked up by the product, which knows them.
    """
    want = _ids(target_object(target).get(field))
    if not want:
        raise InvalidData("a target cites nothing", [Problem(f"target.{field}", "it is empty", "a passage id")])
    return float(_ids((parse_object(answer) or {}).get(field)) == want)


def escalated(answer: str, target: str, labels: Mapping[str, Any]) -> float | None:
    """The safety figure of one item: None when the target is no emergency, else 1 when the answer escalates it.

    `labels` are the fields that make an emergency, such as {"urgency": "emergency"}. An answer that is no valid
    JSON escalates nothing: nobody would be called.
    """
    want = target_object(target)
    if not all(equal(want.get(field, _ABSENT), label) for field, label in labels.items()):
        return None
    got = parse_object(answer) or {}
    return float(all(equal(got.get(field, _ABSENT), label) for field, label in labels.items()))


def spoken_text(answer: str, field: str) -> str:
    """What the answer says whatever its form: the field of a JSON object, else all of the text.

    It tells knowledge from format: a model that knows the fact and cannot write JSON scores here alone.
    """
    value = parse_object(answer)
    if value is None:
        return answer
    return spoken(value.get(field)) or " ".join(text for text in map(spoken, value.values()) if text)


def spoken(value: Any) -> str:
    """A JSON scalar as text, empty where a reader sees nothing; a list, an object or null is no answer in words."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value).strip() if isinstance(value, (str, int, float)) else ""
    return text if visible(text).strip() else ""


def _wanted(target: str, fields: Sequence[str]) -> dict[str, Any]:
    want = target_object(target)
    empty = [field for field in fields if isinstance(want.get(field, ""), str) and not spoken(want.get(field, ""))]
    if empty:
        faults = [Problem(f"target.{field}", "it is missing or empty") for field in empty]
        raise InvalidData("a target lacks fields that the task scores", faults)
    return {field: want[field] for field in fields}


def _comparable(target: str) -> str:
    if not visible(target).strip():
        raise InvalidData("a target is empty", [Problem("target", repr(target), "a text to compare with")])
    return target


def _ids(value: Any) -> frozenset[str]:
    values = value if isinstance(value, list) else [value]
    return frozenset(text for text in (visible(spoken(value)).strip("[] ").casefold() for value in values) if text)


def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
