"""Answers that call tools: the right ones, with the right arguments, and none where none is of use.

The two categories are those of the Berkeley function-calling leaderboard (Patil et al., ICML 2025) that need no
execution: simple (which call) and irrelevance (no call).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evals.sample import Sample
from evals.scorers.scorer import Figure, Kind, Score, Scorer, ScoringContext
from evals.solvers.solver import Attempt
from lifecycle.errors import Problem
from lifecycle.text import scores


@dataclass(frozen=True)
class Call:
    """A tool's name and arguments. None: what the model wrote is no JSON object."""

    name: str
    arguments: Mapping[str, Any] | None
    possible: Mapping[str, Sequence[Any]] | None = None
    """Of a target: the values that each argument may have, "" where it may be left out. In place of `arguments`."""

    def same(self, wanted: Call) -> bool:
        return self.name == wanted.name and self.arguments is not None and wanted.right(self.arguments) == 1.0

    def right(self, given: Mapping[str, Any]) -> float:
        """Share of the wanted call's arguments that are right; one that nobody asked for is one more, and wrong."""
        if self.possible is not None:
            known = self.possible
            hits = [
                any(scores.equal(given[name], value) for value in values) if name in given else "" in values
                for name, values in known.items()
            ]
        else:
            known = self.arguments or {}
            hits = [name in given and scores.equal(given[name], value) for name, value in known.items()]
        asked = len(known) + len(given.keys() - known.keys())
        return sum(hits) / asked if asked else 1.0


class ToolCalls(Scorer):
    """Of samples whose target calls: `tool_calls` (the wanted calls and no others), `tool_names`, `tool_arguments` (the
    share of arguments that are right). Of all: `tool_calls`; of those whose target calls nothing: `no_call`.
    """

    type: Literal["tool_calls"] = "tool_calls"
    in_order: bool = False
    """Whether several calls of one answer must stand in the target's order."""

    def figures(self) -> tuple[Figure, ...]:
        return (
            Figure(name="tool_calls"),
            Figure(name="tool_names"),
            Figure(name="tool_arguments", kind=Kind.MEAN),
            Figure(name="no_call"),
        )

    def problems(self, sample: Sample) -> list[Problem]:
        if isinstance(sample.target, str):
            return []
        calls = sample.target.get("tool_calls") if isinstance(sample.target, dict) else None
        if not isinstance(calls, list) or not calls or not all(map(_is_call, calls)):
            return [Problem("target", "it is neither a text nor a list of tool calls", _CURE)]
        return []

    def while_asking(self) -> bool:
        return True

    async def score(self, sample: Sample, attempt: Attempt, context: ScoringContext) -> Score:
        wanted, made = wanted_calls(sample), calls_of(attempt.tool_calls)
        if not wanted:
            none = float(not made)
            return Score({"tool_calls": none, "no_call": none})
        pairs = list(zip(wanted, made, strict=False)) if self.in_order else _matched(wanted, made)
        whole = len(made) == len(wanted) == len(pairs) and all(call.same(want) for want, call in pairs)
        if self.in_order:
            named = [call.name for call in made] == [want.name for want in wanted]
        else:
            named = Counter(call.name for call in made) == Counter(want.name for want in wanted)
        rights = [
            want.right(call.arguments) for want, call in pairs if call.name == want.name and call.arguments is not None
        ]
        arguments = sum(rights) / len(wanted)
        return Score({"tool_calls": float(whole), "tool_names": float(named), "tool_arguments": arguments})

    async def failed(self, sample: Sample, attempt: Attempt) -> Score:
        names = ("tool_calls", "tool_names", "tool_arguments") if wanted_calls(sample) else ("tool_calls", "no_call")
        return Score(dict.fromkeys(names, 0.0))


_CURE = 'write {"tool_calls": [{"name": "…", "arguments": {…}}]}, or the text of an answer that calls nothing'


def wanted_calls(sample: Sample) -> list[Call]:
    """What the target calls; nothing for a text."""
    if not isinstance(sample.target, dict):
        return []
    return [
        Call(call["name"], call.get("arguments"), call.get("possible")) for call in sample.target.get("tool_calls", ())
    ]


def calls_of(written: Sequence[Mapping[str, Any]]) -> list[Call]:
    """Calls as the OpenAI API writes them, whatever a model has made of them."""
    calls = []
    for call in written:
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        text = function.get("arguments")
        arguments = text if isinstance(text, dict) else scores.parse_object(text) if isinstance(text, str) else None
        if text in ("", None):
            arguments = {}  # of a tool that takes none, servers write nothing
        calls.append(Call(str(function.get("name") or ""), arguments))
    return calls


def _is_call(call: Any) -> bool:
    return isinstance(call, dict) and isinstance(call.get("name"), str) and ("arguments" in call or "possible" in call)


def _matched(wanted: Sequence[Call], made: Sequence[Call]) -> list[tuple[Call, Call]]:
    """Each wanted call with the made one that fits it best, each taken once."""
    left = list(made)
    pairs = []
    for want in sorted(wanted, key=lambda want: not any(call.same(want) for call in made)):
        if not left:
            break
        best = max(left, key=lambda call: (call.name == want.name, want.right(call.arguments or {})))
        left.remove(best)
        pairs.append((want, best))
    return pairs
