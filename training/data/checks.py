"""Is this data good enough to learn from, and is the test data unseen? Rows pass by once; the findings are graded.

    error     the training or the evaluation would be wrong: leaked rows, unreadable rows, certain personal data
    warning   look at it: duplicates, contradictions, imbalance, likely personal data, toxic words, few rows
    note      a fact worth knowing

`commands/check.py` prints the result, `page.py` draws it. `repeats.py`, `leaks.py`, `balance.py`, `toxicity.py`,
`advice.py` and `personal` do the looking, each at one `Content` after the other.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from lifecycle.conversation import Conversation, Message
from lifecycle.errors import Problem
from lifecycle.rows.faults import RowProblem
from lifecycle.rows.kinds import Row
from lifecycle.text.normaliser import LIGHT_1
from training.data import advice, personal
from training.data.balance import Spread
from training.data.content import Content, content
from training.data.findings import DataReport, Finding, Places, Severity, finding
from training.data.leaks import Leaks
from training.data.repeats import Repeats
from training.data.toxicity import Rules, Toxicity

__all__ = ["Checks", "DataReport", "Finding", "Severity", "check", "cleaned"]

PROMISING = advice.PROMISING
SIMILARITY = 0.85
"""Jaccard of character 5-shingles from which two questions are near duplicates."""


class Checks:
    """All checks of rows that come one at a time. The memory does not grow with them, but as `repeats.py` says."""

    def __init__(
        self,
        against: Mapping[str, Iterable[Row]] | None = None,
        *,
        similarity: float | None = SIMILARITY,
        look_for_personal: bool = True,
        rules: Rules | None = None,
    ) -> None:
        """`against` has the sets that must be unseen. Without `similarity` nothing nearly equal is looked for."""
        self._leaks = Leaks(against or {})
        self._repeats = Repeats(similarity, self._leaks.asked)
        self._spread = Spread()
        self._toxicity = Toxicity(rules or Rules.load())
        self._facts = advice.Facts()
        self._personal = _Personal() if look_for_personal else None

    def see(self, row: Row) -> None:
        seen = content(row)
        question = LIGHT_1.normal(seen.question)
        normal = tuple(question if text is seen.question else LIGHT_1.normal(text) for text in seen.texts)
        self._repeats.see(seen, question)
        self._leaks.see(seen, question, normal)
        self._spread.see(seen)
        self._toxicity.see(seen, normal)
        self._facts.see(seen)
        if self._personal is not None:
            self._personal.see(seen)

    def report(self, bad: Sequence[Problem] = ()) -> DataReport:
        """What was found. `bad` are the unreadable rows that reading found."""
        rows = self._facts.rows
        said: list[Finding] = [*_unreadable(bad), *self._repeats.findings(), *self._leaks.findings()]
        if self._personal is not None:
            said += self._personal.findings()
        said += self._toxicity.findings()
        balance = self._spread.balance() if rows else None
        if balance:
            said += [*advice.spread(balance, rows), *self._facts.findings(), *advice.size(rows, self._repeats.good)]
        return DataReport(
            rows=rows,
            against={name: len(asked) for name, asked in self._leaks.asked.items()},
            findings=graded(said),
            balance=balance,
        )


def graded(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """The gravest first."""
    return tuple(sorted(findings, key=lambda found: ("error", "warning", "note").index(found.level)))


def check(
    rows: Iterable[Row],
    against: Mapping[str, Iterable[Row]] | None = None,
    *,
    bad: Sequence[Problem] = (),
    similarity: float = SIMILARITY,
) -> DataReport:
    """All checks of `rows`, and their leakage into each named set of `against`."""
    checks = Checks(against, similarity=similarity)
    for row in rows:
        checks.see(row)
    return checks.report(bad)


def _unreadable(bad: Sequence[Problem]) -> Iterator[Finding]:
    if bad:
        count = sum(problem.count if isinstance(problem, RowProblem) else 1 for problem in bad)
        yield Finding(
            level="error",
            check="readable",
            message=f"{count:,} fault{'s' * (count != 1)} in rows",
            places=tuple(map(str, bad)),
            count=count,
            cure="training would refuse the file until they are mended",
        )


class _Personal:
    """Rows as they come, and then which of them hold personal data, by its kind."""

    def __init__(self) -> None:
        self._places: dict[tuple[bool, str], Places] = {}

    def see(self, row: Content) -> None:
        for key in {(hit.sure, hit.kind) for text in row.texts for hit in personal.find(text)}:
            self._places.setdefault(key, Places()).add(row.place)

    def findings(self) -> Iterator[Finding]:
        for (sure, kind), places in sorted(self._places.items(), key=lambda item: (not item[0][0], item[0][1])):
            label = kind.lower().replace("_", " ")
            message = f"rows with {'an' if label[0] in 'aeio' else 'a'} {label}" + ("" if sure else ", by its look")
            cure = "write a cleaned copy with --redact"
            yield from finding("error" if sure else "warning", "personal data", message, places, cure)


def cleaned(rows: Sequence[Conversation]) -> tuple[list[Conversation], int]:
    """Copies of the rows with typed placeholders for personal data, and how many values were replaced.

    In the arguments of a tool call each value is looked at by itself, so that they stay JSON.
    """
    copies, total = [], 0
    for row in rows:
        said = [text for message in row.messages for text in _said(message)]
        clean, count = personal.redact(said)
        texts = iter(clean)
        copies.append(replace(row, messages=tuple(_with(message, texts) for message in row.messages)))
        total += count
    return copies, total


def _said(message: Message) -> Iterator[str]:
    """What `_with` puts back, in its order."""
    yield from (message.content, message.reasoning, message.name)
    for call in message.tool_calls:
        yield from _leaves(json.loads(call.arguments))


def _with(message: Message, texts: Iterator[str]) -> Message:
    content, reasoning, name = next(texts), next(texts), next(texts)
    calls = []
    for call in message.tool_calls:
        before = json.loads(call.arguments)
        after = _put(before, texts)
        # Untouched arguments stay as they were written.
        calls.append(call if after == before else replace(call, arguments=json.dumps(after, ensure_ascii=False)))
    return replace(message, content=content, reasoning=reasoning, name=name, tool_calls=tuple(calls))


def _leaves(value: Any) -> Iterator[str]:
    if isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _leaves(part)
    else:
        yield value if isinstance(value, str) else json.dumps(value)


def _put(value: Any, texts: Iterator[str]) -> Any:
    if isinstance(value, dict):
        return {key: _put(part, texts) for key, part in value.items()}
    if isinstance(value, list):
        return [_put(part, texts) for part in value]
    text = next(texts)
    return text if isinstance(value, str) or text != json.dumps(value) else value
