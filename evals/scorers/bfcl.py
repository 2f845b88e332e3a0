"""The Berkeley function-calling leaderboard's own rule for one call (Patil et al., ICML 2025), or for none.

It is stricter than `tool_calls` in types (3.0 is no integer) and looser in texts (spaces, case and `,./-_*^` make no
difference), so that figures can be set beside the leaderboard's. `benchmarks/bfcl.py` holds it to the package's
own checker. `evals/tasks/bfcl.py` has the items.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

from evals.sample import Sample
from evals.scorers.scorer import Figure, Score, Scorer, ScoringContext
from evals.scorers.tool_calls import Call, calls_of
from evals.solvers.solver import Attempt
from lifecycle.errors import Problem

_TYPES: dict[str, type] = {
    "string": str, "integer": int, "float": float, "boolean": bool, "array": list, "tuple": list, "dict": dict,
    "any": str,
}  # fmt: skip
_LISTS = ("array", "tuple")
_LEFT_OUT = ""
"""Among the values that an argument may have: it may be missing."""
Values = Sequence[Any]


class Bfcl(Scorer):
    """`bfcl`: of a sample whose target calls, the one call is right; of one whose target is a text, nothing is called.

    A target is {"tool_calls": [{"name", "possible": {argument: [values]}}]}; the metadata has `function`, as the
    leaderboard describes it.
    """

    type: Literal["bfcl"] = "bfcl"

    def figures(self) -> tuple[Figure, ...]:
        return (Figure(name="bfcl"),)

    def problems(self, sample: Sample) -> list[Problem]:
        if isinstance(sample.target, str):
            return []
        target = sample.target if isinstance(sample.target, dict) else {}
        calls, function = target.get("tool_calls"), sample.metadata.get("function")
        if not isinstance(calls, list) or len(calls) != 1 or not isinstance(function, dict):
            return [
                Problem("target", "it is neither a text nor one call with its function", "take the suite tools/bfcl")
            ]
        return []

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        made = calls_of(attempt.tool_calls)
        if isinstance(sample.target, str):
            # A call that nobody can read is none, as the leaderboard has it.
            called = bool(made) and all(call.arguments is not None for call in made)
            return Score({"bfcl": float(not called)}, explanation="a tool was called" if called else "")
        (wanted,) = sample.target["tool_calls"]
        fault = fault_of(made, wanted["name"], sample.metadata["function"], wanted["possible"])
        return Score({"bfcl": float(not fault)}, explanation=fault)

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        return Score({"bfcl": 0.0})


def fault_of(made: Sequence[Call], name: str, function: Mapping[str, Any], possible: Mapping[str, Values]) -> str:
    """Why the calls are not the one that is wanted; "" where they are."""
    if len(made) != 1:
        return f"{len(made)} calls were made, and one was wanted"
    (call,) = made
    if call.name != name:
        return f"the call is of {call.name}"
    if call.arguments is None:
        return "the arguments are no JSON object"
    return next(_faults(call.arguments, function["parameters"], possible), "")


def _faults(given: Mapping[str, Any], parameters: Mapping[str, Any], possible: Mapping[str, Values]) -> Iterator[str]:
    described = parameters["properties"]
    yield from (
        f"the argument {argument} is missing" for argument in parameters.get("required", ()) if argument not in given
    )
    for argument, value in given.items():
        if argument not in described or argument not in possible:
            yield f"{argument} is no argument of the call"
        elif fault := _fault_of_value(value, described[argument], possible[argument]):
            yield f"the argument {argument} {fault}"
    yield from (
        f"the argument {argument} is missing"
        for argument, values in possible.items()
        if argument not in given and _LEFT_OUT not in values
    )


def _fault_of_value(value: Any, described: Mapping[str, Any], values: Values) -> str:
    kind, wrong = described["type"], "has another value"
    expected: Any = _TYPES[kind]
    inner = _TYPES[described["items"]["type"]] if kind in _LISTS else None
    if kind == "float" and type(value) is int:
        value = float(value)
    told = _type_of(values)
    if type(value) is expected:
        if inner is not None and not any(_fits(value, each, inner) for each in values):
            return "has another type"
        by_value = told is not None and told is not expected
    elif told is not None and type(value) is told:
        by_value = True  # the description and the answers say different types: the answers win
    else:
        return "has another type"
    if by_value:
        right = value in values
    elif expected is dict:
        right = _is_one(value, values)
    elif inner is dict:
        right = any(
            len(value) == len(each) and all(_is_one(part, [wanted]) for part, wanted in zip(value, each, strict=True))
            for each in values
        )
    elif expected is str:
        right = _plain(value) in [_plain(each) for each in values if isinstance(each, str)]
    elif expected is list:
        right = [_plain(part) for part in value] in [[_plain(part) for part in each] for each in values]
    else:
        right = value in values
    return "" if right else wrong


def _type_of(values: Values) -> type | None:
    return next((type(value) for value in values if value != _LEFT_OUT), None)


def _fits(value: Sequence[Any], wanted: Any, inner: type) -> bool:
    """Whether every part has the described type, or the one of the wanted list."""
    return type(wanted) is not list or all(type(part) in (inner, _type_of(wanted)) for part in value)


def _is_one(value: Any, values: Values) -> bool:
    """Of objects, each of whose keys may have several values."""
    return isinstance(value, dict) and any(
        each != _LEFT_OUT
        and all(key in each and _plain(part) in map(_plain, each[key]) for key, part in value.items())
        and all(key in value or _LEFT_OUT in parts for key, parts in each.items())
        for each in values
    )


def _plain(value: Any) -> Any:
    return re.sub(r"[ ,./\-_*^]", "", value).lower().replace("'", '"') if isinstance(value, str) else value
