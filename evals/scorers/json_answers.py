"""Answers that are JSON: valid, fitting a schema, and right field by field through all nesting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt
from lifecycle.answer_schema import AnswerSchema
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.text import strict_json
from lifecycle.text.scores import equal, parse_object

_OWN = ("valid_json", "fits_schema", "fields", "fields_mean")
_MISSING = object()


def _schema(source: str) -> str:
    try:
        AnswerSchema.load(source)
    except InvalidConfig as error:
        raise ValueError("; ".join(problem.fault for problem in error.problems)) from error
    return source


class Json(Scorer):
    """`valid_json`; `fits_schema`; one figure per field under its own path (`address.city`); `fields`: all of them are
    right at once; `fields_mean`: the share of them.

    Values are compared as a program does (`lifecycle/text/scores.equal`): true is not 1, and "1" is not 1.
    """

    type: Literal["json"] = "json"
    fields: tuple[str, ...] = ()
    """Paths of what is scored. Without it, all that the targets have."""
    schema_: Annotated[str, AfterValidator(_schema)] | None = Field(default=None, alias="schema")
    """File of a JSON schema, or a pydantic model as `package.module:Model`."""
    unordered: tuple[str, ...] = ()
    """Paths of lists whose order says nothing."""
    tolerance: float = Field(default=0.0, ge=0.0)
    """By so much a number may differ and be right."""

    @cached_property
    def _answer_schema(self) -> AnswerSchema | None:
        return AnswerSchema.load(self.schema_) if self.schema_ else None

    def settled(self, samples: Sequence[Sample]) -> Self:
        if self.fields:
            return self
        paths = dict.fromkeys(path for sample in samples if (target := _object(sample)) for path, _ in leaves(target))
        return self.model_copy(update={"fields": tuple(path for path in paths if path not in _OWN)})

    def figures(self) -> tuple[Figure, ...]:
        fits = (Figure(name="fits_schema"),) if self.schema_ else ()
        fields = tuple(Figure(name=path) for path in self.fields)
        all_of_them = (Figure(name="fields"), Figure(name="fields_mean", kind=Kind.MEAN)) if fields else ()
        return (Figure(name="valid_json"), *fits, *fields, *all_of_them)

    def described(self) -> Any:
        """The schema counts by what it says, wherever it lies."""
        schema = self._answer_schema
        settings = self.model_dump(mode="json") | {"schema_": schema.digest if schema else None}
        return {"settings": settings, "version": self.version}

    def problems(self, sample: Sample) -> list[Problem]:
        target = _object(sample)
        if target is None:
            return [Problem("target", "it is no JSON object", "write one, or take another scorer")]
        schema = self._answer_schema
        faults = schema.faults_of(target) if schema else []
        return [Problem("target", f"does not fit {self.schema_}: {fault}", "mend the target") for fault in faults]

    def while_asking(self) -> bool:
        return self.schema_ is None  # a schema may have patterns of any kind

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        try:
            value = strict_json.parse(attempt.text)
        except ValueError as error:
            return self._score(sample, None, f"the answer {error}"[:200])
        return self._score(sample, value, "")

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        return self._score(sample, None, "")

    def _score(self, sample: Sample, value: Any, fault: str) -> Score:
        valid = isinstance(value, dict)
        figures = {"valid_json": float(valid)}
        if schema := self._answer_schema:
            figures["fits_schema"] = float(valid and not schema.faults_of(value))
        target = _object(sample)
        right = {
            path: float(self._right(path, at(value, path), wanted))
            for path in self.fields
            if (wanted := at(target, path)) is not _MISSING
        }
        if right:
            right |= {"fields": float(all(right.values())), "fields_mean": sum(right.values()) / len(right)}
        return Score(figures | right, explanation=fault)

    def _right(self, path: str, got: Any, want: Any) -> bool:
        if path in self.unordered and isinstance(got, list) and isinstance(want, list):
            left = list(got)
            for value in want:
                if (place := next((n for n, other in enumerate(left) if equal(other, value)), None)) is None:
                    return False
                left.pop(place)
            return not left
        numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (got, want))
        return equal(got, want) or (numbers and abs(got - want) <= self.tolerance)


def _object(sample: Sample) -> dict[str, Any] | None:
    """The target as a JSON object: rows write it as a text."""
    return parse_object(sample.target) if isinstance(sample.target, str) else sample.target


def leaves(value: dict[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """The paths of an object's fields that are no objects with fields, with their values."""
    for key, part in value.items():
        path = f"{before}{key}"
        if isinstance(part, dict) and part:
            yield from leaves(part, f"{path}.")
        else:
            yield path, part


def at(value: Any, path: str) -> Any:
    """What stands at a path. A key may have points in it: the longest one that is there counts."""
    if not isinstance(value, dict):
        return _MISSING
    if path in value:
        return value[path]
    keys = path.split(".")
    for length in range(len(keys) - 1, 0, -1):
        if (head := ".".join(keys[:length])) in value:
            return at(value[head], ".".join(keys[length:]))
    return _MISSING
