"""BFCL's items and its own checker beside ours: the same answers, right ones and those that are spoilt in many ways.

    pip download --no-deps --only-binary :all: -d wheels bfcl-eval==2026.3.23
    python -m benchmarks.bfcl --wheels wheels

The checker is the package's own file, run as it stands (Apache-2.0); the table of models that it imports, and needs
here only for dots in names, is a stand-in. It is kept nowhere here.
"""

from __future__ import annotations

import argparse
import asyncio
import copy
import json
import random
import sys
import types
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from evals.sample import Sample
from evals.scorers.bfcl import Bfcl
from evals.scorers.scorer import ScoringContext
from evals.solvers.solver import Attempt
from evals.tasks.bfcl import MODULE, PACKAGE, BfclSuite, Category

Checker = Callable[[Mapping[str, Any], list[dict[str, Any]], dict[str, Any]], bool]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wheels", type=Path, required=True, help="folder of the downloaded package")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    checker, draw = their_checker(given.wheels), random.Random(given.seed)
    print("| category | items | answers | right by theirs | alike |\n|---|---|---|---|---|")
    for category in get_args(Category):
        samples = BfclSuite(categories=(category,), wheels=given.wheels).samples()
        alike: Counter[bool] = Counter()
        right = 0
        for sample in samples:
            for calls in answers(sample, draw):
                theirs, ours = told_by(checker, sample, calls), asyncio.run(scored(sample, calls))
                alike[theirs == ours] += 1
                right += theirs
                if theirs != ours:
                    print(f"{sample.id}: theirs {theirs}, ours {ours}: {json.dumps(calls)}", file=sys.stderr)
        print(f"| {category} | {len(samples)} | {alike.total()} | {right} | {alike[True]} |")
    print(f"\n{PACKAGE}, seed {given.seed}")


def their_checker(wheels: Path) -> Checker:
    """`ast_checker` of the package, without the packages of models' makers that its own import asks for."""
    sys.path.insert(0, str(sorted(wheels.glob(f"{MODULE}-*.whl"))[-1]))
    models = types.ModuleType(f"{MODULE}.constants.model_config")
    models.MODEL_CONFIG_MAPPING = {"ours": types.SimpleNamespace(underscore_to_dot=True)}  # type: ignore[attr-defined]
    sys.modules[models.__name__] = models
    for language in ("java", "js"):
        name = f"{MODULE}.eval_checker.ast_eval.type_convertor.{language}_type_converter"
        sys.modules[name] = types.ModuleType(name)
        setattr(sys.modules[name], f"{language}_type_converter", None)
    from bfcl_eval.constants.enums import Language  # type: ignore[import-not-found]
    from bfcl_eval.eval_checker.ast_eval.ast_checker import ast_checker  # type: ignore[import-not-found]

    def check(function: Mapping[str, Any], made: list[dict[str, Any]], truth: dict[str, Any]) -> bool:
        return bool(ast_checker([function], made, [truth], Language.PYTHON, "simple_python", "ours")["valid"])

    return check


def told_by(checker: Checker, sample: Sample, calls: list[dict[str, Any]]) -> bool:
    """As the leaderboard decodes the calls of a model that calls tools."""
    try:
        made = [{call["function"]["name"]: json.loads(call["function"]["arguments"])} for call in calls]
    except ValueError:
        return isinstance(sample.target, str)  # no call that can be read
    if isinstance(sample.target, str):
        return not made
    (wanted,) = sample.target["tool_calls"]
    return checker(sample.metadata["function"], made, {wanted["name"]: wanted["possible"]})


async def scored(sample: Sample, calls: list[dict[str, Any]]) -> bool:
    attempt = Attempt((), "", tool_calls=tuple(calls))
    return (await Bfcl().score(sample, attempt, ScoringContext())).figures["bfcl"] == 1.0


def answers(sample: Sample, draw: random.Random) -> Iterator[list[dict[str, Any]]]:
    """Every right value of each argument, and those that are nearly right or wrong, one at a time."""
    if isinstance(sample.target, str):
        name = sample.tools[0]["function"]["name"] if sample.tools else "none"
        yield from ([], [call(name, {})], [call(name, "{")], [call(name, {}), call(name, {})])
        return
    (wanted,) = sample.target["tool_calls"]
    name, possible = wanted["name"], wanted["possible"]
    whole = {argument: chosen for argument, values in possible.items() if (chosen := first(values)) is not None}
    yield from ([], [call(name, whole)], [call(name, whole)] * 2, [call(f"{name}x", whole)], [call(name, "{")])
    yield [call(name, whole | {"nobody_asked": 1})]
    for argument, values in possible.items():
        yield [call(name, {key: value for key, value in whole.items() if key != argument})]
        for value in values:
            yield [call(name, whole | {argument: plain(value)})]
        for value in spoilt(whole.get(argument), draw):
            yield [call(name, whole | {argument: value})]


def first(values: list[Any]) -> Any:
    return next((plain(value) for value in values if value != ""), None)


def plain(value: Any) -> Any:
    """Of an object whose keys have several values, one with the first of each."""
    if isinstance(value, dict):
        chosen = {key: parts[0] if isinstance(parts, list) and parts else parts for key, parts in value.items()}
        return {key: plain(part) for key, part in chosen.items() if part != ""}
    return [plain(part) for part in value] if isinstance(value, list) else value


def spoilt(value: Any, draw: random.Random) -> list[Any]:
    odd: list[Any] = ["", "x", 0, 1, -1.5, True, None, [], {}, [1], [1.5], ["x"], [{}], {"x": 1}, [[1]]]
    if isinstance(value, str):
        odd += [value.upper(), value.replace(" ", "-"), f"{value}.", f"'{value}'", f"{value}x", [value]]
    elif isinstance(value, bool):
        odd += [not value, str(value)]
    elif isinstance(value, int | float):
        odd += [value + 1, float(value), int(value), str(value), value + 0.25]
    elif isinstance(value, list):
        shuffled = draw.sample(value, len(value))
        odd += [value[::-1], shuffled, value[1:], [*value, *value[:1]], [str(part) for part in value], str(value)]
        odd += [[float(part) for part in value]] if all(type(part) is int for part in value) else []
    elif isinstance(value, dict):
        odd += [{**value, "x": 1}, dict(list(value.items())[1:]), {key: str(part) for key, part in value.items()}]
    return copy.deepcopy(odd)


def call(name: str, arguments: Any) -> dict[str, Any]:
    text = arguments if isinstance(arguments, str) else json.dumps(arguments)
    return {"function": {"name": name, "arguments": text}}


if __name__ == "__main__":
    main()
