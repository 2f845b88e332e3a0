"""An evaluation as JSON: `evaluation.json`, whose schema is published, and `items.jsonl` beside it.

Other programs read this form, and the page is written again from it in another language. `docs/schemas/` has both
schemas; `dabt report-schema` prints them. A change that an old reader would not understand raises the form's number,
and `read` keeps taking the earlier ones: 1 was report.json with verdicts.json alone, still written, as digests
bind them.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from evals.archive.sums import Adds
from evals.asking.measure import ItemResult
from evals.report.evaluation import Evaluation
from evals.sample import Turn
from lifecycle.errors import Corrupt, NotFound
from lifecycle.report import Report
from lifecycle.verdict import Verdict
from lifecycle.version import Frozen

FILE = "evaluation.json"
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


class StoredEvaluation(Frozen):
    """All figures of one evaluation, what a policy said of them, and what to ship."""

    format: Literal[2] = 2
    report: Report
    verdicts: tuple[Verdict, ...]
    """One for every arm but the baseline."""
    policy: str
    """The policy's name; in folders of the first form, its digest."""
    recommended: str | None = None
    """The version that the advice says to ship."""
    opens: dict[str, str] = Field(default_factory=dict)
    """Of each arm that was judged: which aliases its verdict opens, or why none."""
    notes: tuple[str, ...] = ()
    """What a reader of the suite's figures must know."""
    together: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Figure of all items together → the scorer that makes it of what answers add, with its settings."""

    @classmethod
    def of(cls, evaluation: Evaluation) -> StoredEvaluation:
        return cls(
            report=evaluation.report,
            verdicts=evaluation.verdicts,
            policy=evaluation.policy,
            recommended=evaluation.recommended,
            opens=dict(evaluation.opens),
            notes=evaluation.notes,
        )

    def at(self, folder: Path) -> Evaluation:
        known = Evaluation(self.report, self.verdicts, self.policy, self.recommended, folder, self.opens)
        return replace(known, notes=self.notes)


class StoredAnswer(ItemResult):
    """What one arm made of the item."""

    adds: tuple[dict[str, Adds], ...] = ()
    """Of each answer: what it adds to each figure of all items together, by the names of `together`."""


class StoredItem(Frozen):
    """One line of items.jsonl: an item, and what each arm made of it. `evals/archive/items.py` reads it."""

    key: str
    """The same for the same question and target in every evaluation."""
    name: str
    question: str
    target: str
    cluster: str | None = None
    """What it belongs to; items of a cluster count as one."""
    slices: dict[str, str] = Field(default_factory=dict)
    messages: tuple[Turn, ...] = ()
    """All that was sent, where that is more than the question; as the OpenAI API writes it, like the tools."""
    tools: tuple[dict[str, Any], ...] = ()
    """What the arms might call."""
    arms: dict[str, StoredAnswer]


def read(folder: Path) -> Evaluation:
    """The evaluation that is kept in `folder`, also of the first form, and one that another tool measured.

    Raises `NotFound` when there is none, and `Corrupt` with the file for one that cannot be read.
    """
    path = folder / (FILE if (folder / FILE).is_file() else "report.json")
    try:
        if path.name == FILE:
            return StoredEvaluation.model_validate_json(path.read_bytes()).at(folder)
        report = Report.model_validate_json(path.read_bytes())
        path = folder / "verdicts.json"
        # Of another tool's report there are none.
        raw = b"[]" if report.imported and not path.is_file() else path.read_bytes()
        verdicts = TypeAdapter(tuple[Verdict, ...]).validate_json(raw)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there: name the folder of an evaluation, as `dabt eval` printed it") from None
    except ValidationError as error:
        raise Corrupt(f"{path} is no evaluation of this release; run `dabt eval` again") from error
    policy = next((verdict.policy_digest for verdict in verdicts), "")
    return StoredEvaluation(report=report, verdicts=verdicts, policy=policy).at(folder)


def schemas() -> dict[str, dict[str, Any]]:
    """File's name → JSON schema (2020-12) of what is written."""
    models: dict[str, type[Frozen]] = {"evaluation.schema.json": StoredEvaluation, "item.schema.json": StoredItem}
    return {name: {"$schema": _DIALECT, **model.model_json_schema()} for name, model in models.items()}


def schema_text(name: str) -> str:
    """As `docs/schemas/` has it."""
    return json.dumps(schemas()[name], ensure_ascii=False, indent=2) + "\n"
