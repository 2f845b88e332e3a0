"""Items of the Berkeley function-calling leaderboard, read out of its package and kept nowhere here.

    pip install --no-deps bfcl-eval==2026.3.23     (Apache-2.0; or `pip download`, and name the wheel in `settings`)

Its categories without execution and with one call or none: simple and irrelevance, its own and those from users
(`live_…`). The functions are offered as the leaderboard offers them to models that call tools. Nothing of the package
is imported.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field

from evals.safety.packages import Read, reader
from evals.sample import Sample
from evals.scorers.bfcl import Bfcl
from evals.scorers.scorer import Scorer
from evals.tasks.sampling import sampled
from evals.tasks.source import SuiteSource
from lifecycle.errors import Corrupt, NotFound

PACKAGE, MODULE = "bfcl-eval==2026.3.23", "bfcl_eval"
Category = Literal["simple_python", "irrelevance", "live_simple", "live_irrelevance"]
_SEED = 17
_TYPES = {
    "integer": "integer", "number": "number", "float": "number", "string": "string", "boolean": "boolean",
    "bool": "boolean", "array": "array", "list": "array", "tuple": "array", "dict": "object", "object": "object",
}  # fmt: skip
"""The leaderboard's types in JSON schema; any other is a string."""


class BfclSuite(SuiteSource):
    """Tool calls, told by `bfcl`; a category is a slice."""

    metric: str = "bfcl"
    categories: tuple[Category, ...] = ("simple_python", "irrelevance")
    at_most: int | None = Field(default=None, ge=1)
    """Items of each category, a seeded choice; without it, all of them."""
    wheels: Path | None = None
    """Folder of the downloaded package; without it, it must be installed."""

    def samples(self) -> Sequence[Sample]:
        """Raises `NotFound` where the package is not there, and `Corrupt` for one of another form."""
        read = reader(MODULE, self.wheels)
        if read is None:
            raise NotFound(f"{MODULE} is not here: pip install --no-deps {PACKAGE}, or name the folder of its wheel "
                           "under settings, such as {wheels: wheels}")  # fmt: skip
        return [sample for category in dict.fromkeys(self.categories) for sample in self._of(category, read)]

    def scorers(self) -> Sequence[Scorer]:
        return [Bfcl()]

    def notes(self) -> Sequence[str]:
        return [f"{category}: {len(self._of(category, read))} prompts of {PACKAGE}; licence: Apache-2.0"
                for category in self.categories if (read := reader(MODULE, self.wheels))]  # fmt: skip

    def _of(self, category: Category, read: Read) -> list[Sample]:
        try:
            made = list(_samples(category, read))
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise Corrupt(f"{category} of {MODULE} is not in the form of {PACKAGE}: {error!r}") from error
        return [made[at] for at in sampled(len(made), self.at_most, _SEED)]


def _samples(category: Category, read: Read) -> Iterator[Sample]:
    truths = {row["id"]: row["ground_truth"] for row in _rows(read, f"data/possible_answer/BFCL_v4_{category}.json")}
    for row in _rows(read, f"data/BFCL_v4_{category}.json"):
        (turns,) = row["question"]
        target: Any = ""
        if "irrelevance" not in category:
            ((name, possible),) = truths[row["id"]][0].items()
            target = {"tool_calls": [{"name": _called(name), "possible": possible}]}
        metadata = {"function": row["function"][0]} if target else {}
        yield Sample(
            key="",
            id=row["id"],
            messages=tuple(turns),
            target=target,
            metadata=metadata,
            slices={"category": category},
            tools=tuple(map(tool, row["function"])),
        )


def _rows(read: Read, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (read(name) or "").splitlines() if line.strip()]


def tool(function: Mapping[str, Any]) -> dict[str, Any]:
    """The function as the OpenAI API describes one."""
    parameters = {**function["parameters"], "type": "object"}
    parameters["properties"] = _properties(parameters["properties"])
    told = {"name": _called(function["name"]), "description": function["description"], "parameters": parameters}
    return {"type": "function", "function": told}


def _called(name: str) -> str:
    """The API takes no dot in a name."""
    return name.replace(".", "_")


def _properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _schema(described) for name, described in properties.items()}


def _schema(described: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {**described, "type": _TYPES.get(described.get("type", ""), "string")}
    if described.get("type") == "float":
        made |= {"format": "float", "description": f"{described.get('description', '')} This is a float type value."}
    if isinstance(made.get("properties"), Mapping):
        made["properties"] = _properties(made["properties"])
    if isinstance(made.get("items"), Mapping):
        made["items"] = _schema(cast("Mapping[str, Any]", made["items"]))
    return made
