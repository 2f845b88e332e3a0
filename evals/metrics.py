"""Scores of one answer against its target: pure functions from texts to numbers from 0 to 1.

An answer may be empty (it then scores 0); a target may not, because nothing could be measured by it. How these
become metrics of a task file is in `lmeval_metrics.py`; how items become figures is in `statistics.py`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evals.text import normalise, tokens
from lifecycle.errors import InvalidData, Problem


def parse_object(text: str) -> dict[str, Any] | None:
    """The JSON object that `text` is, or None.

    Strict on purpose: the product parses the whole answer, so words around the object make it useless.
    """
    try:
        value = json.loads(text.strip())
    except (json.JSONDecodeError, RecursionError):
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
    """1 when the answer is one JSON object that has every key of `required` with a text that is not empty."""
    value = parse_object(answer)
    return float(value is not None and all(_text(value.get(key)) for key in required))


def field_accuracy(answer: str, target: str, fields: Sequence[str]) -> dict[str, float]:
    """1 or 0 for each field of a JSON answer, compared exactly: a program will branch on these labels.

    An answer that is no JSON object has every field wrong. Raises `InvalidData` when the target lacks a field.
    """
    got, want = parse_object(answer) or {}, _wanted(target, fields)
    return {field: float(_text(got.get(field)) == want[field]) for field in fields}


def exact_match(answer: str, target: str) -> float:
    """1 when both have the same normal form (`text.normalise`)."""
    return float(normalise(answer) == _normal_target(target))


def token_f1(answer: str, target: str) -> float:
    """Harmonic mean of precision and recall over the words in common, after normalisation (SQuAD, arXiv 1606.05250)."""
    got, want = tokens(answer), _normal_target(target).split()
    common = sum((Counter(got) & Counter(want)).values())
    return 2 * common / (len(got) + len(want)) if common else 0.0


def chrf(answer: str, target: str) -> float:
    """chrF2 of the answer, from 0 to 1: character 1- to 6-grams, recall weighted twice (Popović, W15-3049).

    Characters suit Arabic, where one word carries its article, conjunction and pronouns.
    """
    if not target.strip():
        raise InvalidData("chrF needs a target", [Problem("target", "it is empty", "a reference text")])
    return float(_chrf().sentence_score(answer, [target]).score) / 100


def citation(answer: str, target: str, field: str) -> float:
    """1 when the JSON answer cites exactly the passages of the target; ids may be in brackets, or in a list."""
    want = _ids(target_object(target).get(field))
    if not want:
        raise InvalidData("a target cites nothing", [Problem(f"target.{field}", "it is empty", "a passage id")])
    return float(_ids((parse_object(answer) or {}).get(field)) == want)


def escalated(answer: str, target: str, labels: Mapping[str, str]) -> float | None:
    """The safety figure of one item: None when the target is no emergency, else 1 when the answer escalates it.

    `labels` are the fields that make an emergency, such as {"urgency": "emergency"}. An answer that is no valid
    JSON escalates nothing: nobody would be called.
    """
    want = target_object(target)
    if any(_text(want.get(field)) != label for field, label in labels.items()):
        return None
    got = parse_object(answer) or {}
    return float(all(_text(got.get(field)) == label for field, label in labels.items()))


def spoken_text(answer: str, field: str) -> str:
    """What the answer says whatever its form: the field of a JSON object, else all of the text.

    It tells knowledge from format: a model that knows the fact and cannot write JSON scores here alone.
    """
    value = parse_object(answer)
    if value is None:
        return answer
    return _text(value.get(field)) or " ".join(text for text in map(_text, value.values()) if text)


def _wanted(target: str, fields: Sequence[str]) -> dict[str, str]:
    want = target_object(target)
    missing = [Problem(f"target.{field}", "it is missing or empty") for field in fields if not _text(want.get(field))]
    if missing:
        raise InvalidData("a target lacks fields that the task scores", missing)
    return {field: _text(want[field]) for field in fields}


def _normal_target(target: str) -> str:
    normal = normalise(target)
    if not normal:
        raise InvalidData("a target has no words", [Problem("target", repr(target), "a text to compare with")])
    return normal


def _text(value: Any) -> str:
    """A JSON scalar as text; a list, an object or null is no answer to a text field."""
    if isinstance(value, bool) or value is None or isinstance(value, (list, dict)):
        return ""
    return str(value).strip()


def _ids(value: Any) -> frozenset[str]:
    values = value if isinstance(value, list) else [value]
    return frozenset(text for text in (_text(one).strip("[] ").casefold() for one in values) if text)


def _chrf() -> Any:
    from sacrebleu.metrics.chrf import CHRF

    return CHRF()
