"""A stored evaluation into a campaign: the answers of its folder, as they were kept, and what is asked about them."""

from __future__ import annotations

import json
import random
import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from evals.archive.items import FILE
from evals.archive.library import Library
from lifecycle.errors import InvalidData, InvalidInput, NotFound, Problem
from lifecycle.home import Home
from lifecycle.rating import QUESTION, Campaign, RatedArm, RatedItem
from lifecycle.report import Report
from lifecycle.validation import fault_of
from lifecycle.version import digest_of

if TYPE_CHECKING:
    from lifecycle.registry import Registry

_TOLD = 20


@dataclass(frozen=True)
class Wish:
    """What is to be rated, and how."""

    arms: tuple[str, ...] = ()
    """All of the evaluation's without any."""
    against: str | None = None
    """The arm that each of the others is compared with; without it, every two are compared."""
    items: int | None = None
    """A seeded sample of so many; all without it."""
    votes: int = 2
    question: str = QUESTION
    show_target: bool = False
    reveal: bool = False
    seed: int | None = None
    """Drawn where none is given, so that no rater can know it."""


def stored(evaluation: str, registry: Registry, home: Home) -> tuple[Report, list[RatedItem]]:
    """What `evaluation` names, as `dabt reports` takes names: a folder, the beginning of a digest, `latest` or
    `TASK:latest`.

    Raises what `Library.find` raises, `NotFound` where the answers are not here, and `InvalidData` with every line that
    cannot be read.
    """
    kept = Library(registry, home).find(evaluation)
    if not kept.has_items:
        raise NotFound(f"the answers of the evaluation {kept.name} are not here: {kept.folder} has no {FILE}")
    return kept.report, _items(kept.folder / FILE, kept.report)


def campaign_of(name: str, report: Report, items: Sequence[RatedItem], wish: Wish, *, actor: str) -> tuple[
    Campaign, list[RatedItem]
]:  # fmt: skip
    """The campaign, and the items that are rated in it. Raises `InvalidInput` with everything that is wrong."""
    labels = wish.arms or tuple(arm.arm for arm in report.arms)
    there = {arm.arm: arm for arm in report.arms}
    known = f"the evaluation's arms are {', '.join(there)}"
    problems = [Problem("--arms", f"{label} is no arm", known) for label in labels if label not in there]
    if len(set(labels)) < 2 or len(set(labels)) < len(labels):
        problems.append(Problem("--arms", f"{', '.join(labels)} are no two arms, each named once", known))
    if wish.against is not None and wish.against not in labels:
        problems.append(Problem("--against", f"{wish.against} is none of {', '.join(labels)}", known))
    if problems:
        raise InvalidInput(f"no campaign can be made of the evaluation of {report.task}", problems)
    pairs = [pair for pair in combinations(labels, 2) if wish.against is None or wish.against in pair]
    seed = secrets.randbelow(2**32) if wish.seed is None else wish.seed
    try:
        campaign = Campaign(
            name=name,
            task=report.task,
            evaluation=report.digest,
            data_digest=report.suite.data_digest if report.suite else None,
            arms={label: _arm(report, label) for label in labels},
            pairs=tuple(pairs),
            votes=wish.votes,
            question=wish.question,
            show_target=wish.show_target,
            reveal=wish.reveal,
            seed=seed,
            created_at=datetime.now(UTC),
            created_by=actor,
        )
    except ValidationError as error:
        faults = [Problem(".".join(map(str, fault["loc"])) or "campaign", fault_of(fault)) for fault in error.errors()]
        raise InvalidInput("no campaign can be made so", faults) from None
    chosen = list(items)
    if wish.items is not None and wish.items < len(chosen):
        places = sorted(random.Random(digest_of([seed, "items"])).sample(range(len(chosen)), wish.items))
        chosen = [chosen[at] for at in places]
    return campaign, chosen


def _arm(report: Report, label: str) -> RatedArm:
    arm = report.result(label)
    answered = arm.deployment or report.deployment
    return RatedArm(ref=arm.ref, version_digest=arm.version_digest, deployment=answered.digest if answered else None)


def _items(path: Path, report: Report) -> list[RatedItem]:
    labels = [arm.arm for arm in report.arms]
    items: list[RatedItem] = []
    problems: list[Problem] = []
    for number, row in _rows(path, problems):
        try:
            items.append(_item(row, labels))
        except (KeyError, TypeError, AttributeError, ValidationError) as error:
            said = f"lacks {error}" if isinstance(error, KeyError) else "is no item of an evaluation"
            problems.append(Problem(f"{path}:{number}", said))
    if not items and not problems:
        problems.append(Problem(str(path), "has no items"))
    if problems:
        raise InvalidData("the answers of the evaluation cannot be read", problems[:_TOLD])
    return items


def _rows(path: Path, problems: list[Problem]) -> Iterator[tuple[int, Any]]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            try:
                yield number, json.loads(line)
            except (ValueError, RecursionError):
                problems.append(Problem(f"{path}:{number}", "is no JSON object", "run the evaluation again"))


def _item(row: dict[str, Any], labels: Sequence[str]) -> RatedItem:
    arms = {label: row["arms"][label] for label in labels}
    messages = row.get("messages") or [{"role": "user", "content": row["question"]}]
    plain = {
        "key": row["key"],
        "name": row["name"],
        "messages": messages,
        "target": row["target"],
        "cluster": row.get("cluster"),
        "slices": row.get("slices", {}),
        "answers": {label: None if arm.get("error") else arm["answer"] for label, arm in arms.items()},
        "calls_tools": bool(row.get("tools")),
        "scores": {label: arm.get("scores", {}) for label, arm in arms.items()},
    }
    return RatedItem.model_validate(_storable(plain))


def _storable(value: Any) -> Any:
    """Without what no database takes: half of a surrogate pair is shown as the replacement character."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_storable(part) for part in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(part) for key, part in value.items()}
    return value
