"""`input` as embeddings and classification take it: a text, or a list of texts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from lifecycle.errors import InvalidInput, Problem
from lifecycle.validation import problems_of

MOST_TEXTS = 2048
"""In one request, as OpenAI has it."""
_NO_TEXT = "must be a text, or a list of texts; tokens mean other texts in other tokenizers, so they are not taken"

_Model = TypeVar("_Model", bound=BaseModel)


def read_texts(model: type[_Model], body: Mapping[str, Any]) -> _Model:
    """`body` as a model with such an `input`. Raises `InvalidInput` with every fault and its place."""
    texts = body.get("input")
    if isinstance(texts, list) and len(texts) > MOST_TEXTS:
        # Before anything is said of each of them.
        raise wrong("input", f"has {len(texts)} texts", f"send at most {MOST_TEXTS} in one request")
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise InvalidInput("The request is not valid:", _problems(error, body)) from error


def wrong(place: str, fault: str, cure: str) -> InvalidInput:
    return InvalidInput("The request is not valid:", [Problem(place, fault, cure)])


def _problems(error: ValidationError, body: Mapping[str, Any]) -> list[Problem]:
    """One for each field: pydantic names every member of the union that `input` may be."""
    faults: dict[str, Problem] = {}
    for problem in problems_of(error, body):
        place = problem.place.partition(".")[0]
        fault = _NO_TEXT if place == "input" and problem.fault != "is missing" else problem.fault
        faults.setdefault(place, Problem(place, fault))
    return list(faults.values())
