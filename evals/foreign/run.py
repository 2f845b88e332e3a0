"""One task of one run by another tool, and the report that is made of it: our own intervals over its scores.

`lm_eval.py` and `nemo.py` read their tools' files into it.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from evals.archive.items import Item
from lifecycle.errors import InvalidData, InvalidInput, Problem
from lifecycle.intervals import Z_TWO_SIDED
from lifecycle.report import ArmResult, Imported, Interval, Report
from lifecycle.version import Digest, digest_of

T = TypeVar("T")

_TITLE = "nothing is taken in:"
_CLOSE = 5e-4
"""Tools round what they report to three or four places."""


@dataclass(frozen=True)
class Told:
    """What a tool says of a whole task."""

    value: float
    low: float | None = None
    high: float | None = None
    """Of its 95 % interval; None where it says none."""

    @classmethod
    def by_error(cls, value: float, error: float | None) -> Told:
        """By a standard error (normal approximation)."""
        return cls(value) if error is None else cls(value, value - Z_TWO_SIDED * error, value + Z_TWO_SIDED * error)


@dataclass(frozen=True)
class ForeignRun:
    tool: str
    """With its version."""
    file: Path
    file_digest: Digest
    task: str
    model: str
    """What the tool calls it: the arm's label."""
    created_at: datetime
    scoring: Any
    """What decides a score besides the item and the model, as JSON: two runs with the same scored alike."""
    settings: Mapping[str, str]
    items: Sequence[Item] = ()
    """With one arm each, `model`."""
    metrics: Sequence[str] = ()
    """Figures of items, the tool's first one first."""
    told: Mapping[str, Told] = field(default_factory=dict)
    """Figure → what the tool says of the whole task."""
    n: int = 0
    """Items, as the tool counts them."""
    notes: tuple[str, ...] = ()

    def report(self, metric: str = "") -> Report:
        """Raises `InvalidData` where it has no figure with an interval, or not the one that is asked for."""
        figures, notes = self._figures()
        metric = metric or next(iter(figures), "")
        if metric not in figures:
            cure = f"name one of {', '.join(figures)}" if figures else "let the tool write its samples too"
            fault = f"has no {metric}" if metric else "has no figure with an interval"
            raise InvalidData(_TITLE, [Problem(f"{self.file}: {self.task}", fault, cure)])
        scoring = digest_of([self.tool, self.scoring])
        keys = sorted(item.key for item in self.items)
        arm = ArmResult(
            arm=self.model,
            ref=self.model,
            version_digest=digest_of([self.tool, self.model, dict(self.settings)]),
            metrics={metric: figures[metric], **figures},
            latency_p50=0.0,
            latency_p95=0.0,
            prompt_tokens=0.0,
            completion_tokens=0.0,
            unscored=self._unscored(),
        )
        return Report(
            task=self.task,
            task_digest=digest_of([scoring, keys or self.n]),
            base=self.model,
            metric=metric,
            arms=(arm,),
            n_items=len(self.items) or self.n or figures[metric].n,
            scoring=scoring,
            imported=Imported(
                tool=self.tool,
                file=self.file.name,
                file_digest=self.file_digest,
                settings=dict(self.settings),
                notes=(*self.notes, *notes),
            ),
            seed=0,
            created_at=self.created_at,
        )

    def _figures(self) -> tuple[dict[str, Interval], list[str]]:
        """By the items' scores, and where there are none by the tool's word and its standard error."""
        from evals.statistics.intervals import mean_interval

        figures: dict[str, Interval] = {}
        notes = []
        answers = [item.arms[self.model] for item in self.items]
        for name in self.metrics:
            scores = [answer.scores[name] for answer in answers if name in answer.scores]
            if scores:
                figures[name] = mean_interval(scores)
        for name, told in self.told.items():
            if name in figures:
                if abs(figures[name].value - told.value) > _CLOSE:
                    notes.append(f"{name} is {told.value:.4f} by the tool and {figures[name].value:.4f} by its items")
            elif told.low is None or told.high is None or not self.n:
                notes.append(f"{name} = {told.value:.4f} is left out: nothing says how sure it is")
            else:
                figures[name] = Interval(value=told.value, low=told.low, high=told.high, n=self.n)
        return figures, notes

    def _unscored(self) -> dict[str, dict[str, int]]:
        counts: dict[str, dict[str, int]] = {}
        for item in self.items:
            for name, reason in item.arms[self.model].unscored.items():
                reasons = counts.setdefault(name, {})
                reasons[reason] = reasons.get(reason, 0) + 1
        return counts


def score_of(value: object) -> float | None:
    """A number as a score; None for what is none."""
    if isinstance(value, bool | int | float):
        try:
            number = float(value)
        except OverflowError:
            return None
        return number if math.isfinite(number) else None
    return None


def settings_of(values: Mapping[str, Any], allowed: Sequence[str]) -> dict[str, str]:
    """Those that may be shown: what else a tool keeps of its run may be a key or a password."""
    return {
        key: value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
        for key in allowed
        if (value := values.get(key)) not in (None, "", {}, [])
    }


def loaded(path: Path) -> Any:
    """The JSON in the file; NaN is no value. Raises `InvalidData`."""
    return _parsed(path.read_bytes(), str(path))


def lines(path: Path, fault_of: Callable[[dict[str, Any]], str]) -> Iterator[dict[str, Any]]:
    """The objects of a JSONL file. At its end raises `InvalidData` with every line that is none or has a fault."""
    faults = FaultList()
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                row = faults.without(partial(_row, line, f"{path}:{number}", fault_of))
                if row is not None:
                    yield row
    faults.tell()


def _row(line: bytes, place: str, fault_of: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    row = _parsed(line, place)
    if not isinstance(row, dict):
        raise unreadable(place, "is no JSON object")
    if fault := fault_of(row):
        raise unreadable(place, fault)
    return row


class FaultList:
    """Of many files and lines, so that all of them are told at once."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []

    def without(self, work: Callable[[], T]) -> T | None:
        """What `work` gives; None where it raises `InvalidInput`, whose problems `tell` tells."""
        try:
            return work()
        except InvalidInput as error:
            self._problems += error.problems
            return None

    def tell(self) -> None:
        """Raises `InvalidData` with all problems, where there are some."""
        if self._problems:
            raise InvalidData(_TITLE, self._problems)


def unreadable(place: str, fault: str, cure: str = "let the tool write it again") -> InvalidData:
    return InvalidData(_TITLE, [Problem(place, fault, cure)])


def _parsed(raw: bytes, place: str) -> Any:
    try:
        value = json.loads(raw, parse_constant=lambda _: None)
    except json.JSONDecodeError as error:
        raise unreadable(place, f"is no JSON: {error.msg} in line {error.lineno}, column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise unreadable(place, f"is no UTF-8 from byte {error.start} on") from error
    except (ValueError, RecursionError) as error:
        fault = "a number is too long" if isinstance(error, ValueError) else "nested too deeply"
        raise unreadable(place, f"is no JSON that can be read: {fault}") from error
    return _whole(value) if b"\\ud" in raw.lower() else value


def _whole(value: Any) -> Any:
    """Without halves of surrogate pairs, of which no digest can be taken."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        return {_whole(key): _whole(part) for key, part in value.items()}
    return [_whole(part) for part in value] if isinstance(value, list) else value
