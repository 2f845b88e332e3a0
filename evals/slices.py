"""In which parts of its suite an item lies: by language, length and label, and by any field that the task names.

Every arm gets the same items, so it has the same slices. Bounds are fixed, not taken from the items at hand: a rule on
`{length: long}` means the same when the items are renewed. `statistics/slices.py` makes figures of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from evals.asking.spilled import Spilled
from evals.sample import Sample
from lifecycle.errors import InvalidData, Problem
from lifecycle.report import Where
from lifecycle.text.script import language

LANGUAGE, LENGTH, LABEL = WORKED_OUT = ("language", "length", "label")
"""What is worked out of the item, unless it says so itself."""
LENGTHS = {"short": 100, "medium": 500, "long": 2_000}
"""Characters up to which a question is called so; a longer one is `very long`."""


def required(fields: Iterable[str]) -> list[str]:
    """Those that an item must bring, because nothing works them out."""
    return [field for field in fields if field not in WORKED_OUT]


def named(fields: Iterable[str], values: Mapping[str, Any]) -> dict[str, str]:
    """The slices that an item's own `values` say."""
    return {field: told(values[field]) for field in fields if values.get(field) is not None}


def told(value: Any) -> str:
    """A field's value as a policy writes it: YAML's true and 3 are those of the items."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def language_of(question: str) -> str:
    """`ar` for Arabic letters, and for others the script by its name, as reports on data have it: `latin`, `mixed`."""
    script = language(question)
    return "ar" if script == "arabic" else script


def length_of(question: str) -> str:
    return next((name for name, most in LENGTHS.items() if len(question) <= most), "very long")


def with_slices(samples: Sequence[Sample], *, labels: bool) -> Sequence[Sample]:
    """The samples with what can be worked out beside what they say themselves; `labels`: their targets are labels.

    Raises `InvalidData` where some say a slice and others do not: two ways of naming the same thing would mix.
    """
    problems = [
        Problem(sample.id, f"it has no '{name}', and other items have", "give it to all of them, or to none")
        for name in WORKED_OUT
        if any(name in sample.slices for sample in samples)
        for sample in samples
        if name not in sample.slices
    ]
    if problems:
        raise InvalidData("items cannot be put into slices", problems)
    return Spilled(replace(sample, slices=_worked_out(sample, labels) | dict(sample.slices)) for sample in samples)


def _worked_out(sample: Sample, labels: bool) -> dict[str, str]:
    question = sample.question
    slices = {LANGUAGE: language_of(question), LENGTH: length_of(question)}
    return slices | ({LABEL: sample.shown_target} if labels else {})


def lies_in(slices: Mapping[str, str], where: Where) -> bool:
    """Whether an item with these slices does."""
    return all(slices.get(field) == value for field, value in where.items())
