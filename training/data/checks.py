"""Is this data good enough to learn from, and is the test data unseen? Findings, graded; pure functions.

    error     the training or the evaluation would be wrong: leaked rows, unreadable rows, certain personal data
    warning   look at it: duplicates, contradictions, imbalance, likely personal data, few rows
    note      a fact worth knowing

`commands/check.py` prints the result; `personal.py`, `duplicates.py` and `balance.py` do the looking.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from lifecycle.conversation import Conversation, Message
from lifecycle.errors import Problem
from lifecycle.rows.faults import RowProblem
from lifecycle.rows.files import Reading
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Frozen
from training.data import duplicates, personal
from training.data.balance import Balance, balance

PROMISING = 1000
"""Examples from which a fine-tune is promising; fewer often do no better than the same examples in the prompt."""

_RARE = 10
"""Rows below which a class is hardly learnt."""

_DOMINANT = 0.9
"""Share of the rows from which one class drowns the others."""

Severity = Literal["error", "warning", "note"]


class Finding(Frozen):
    """One thing found: which check, how grave, in words, and every place that shows it."""

    level: Severity
    check: str
    message: str
    places: tuple[str, ...] = ()
    """`file:line`; a pair or group is written `file:line = file:line`."""
    cure: str = ""


class DataReport(Frozen):
    """Everything about one set of training rows."""

    rows: int
    file: str = ""
    """What the file is: JSON, CSV, Parquet, gzip, …"""
    forms: tuple[str, ...] = ()
    """The forms that its rows have, and how sure that is."""
    against: dict[str, int]
    """Rows of each set that it was held against."""
    findings: tuple[Finding, ...]
    balance: Balance | None

    def of(self, level: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.level == level)

    def read_as(self, reading: Reading) -> DataReport:
        """With what the reader says of the file; a note where its rows are no conversations."""
        said: tuple[Finding, ...] = ()
        if reading.kind and reading.kind.method != "LoRA":
            text = f"these are {reading.kind.name}: {reading.kind.method} learns from them, which `dabt train` lacks"
            said = (
                Finding(level="note", check="form", message=text, cure="`dabt data convert` shows what they can be"),
            )
        update = {"rows": reading.rows, "file": reading.words, "forms": tuple(reading.summary)}
        return self.model_copy(update={**update, "findings": (*self.findings, *said)})


def check(
    rows: Sequence[Conversation],
    against: Mapping[str, Sequence[Conversation]] | None = None,
    *,
    bad: Sequence[Problem] = (),
    similarity: float = 0.85,
) -> DataReport:
    """All checks of `rows`, and their leakage into each named set of `against`.

    `bad` are the unreadable rows that reading found; `similarity` is the Jaccard of character 5-shingles from which
    two questions are near duplicates.
    """
    against = against or {}
    findings: list[Finding] = []
    if bad:
        cure = "training would refuse the file until they are mended"
        count = sum(problem.count if isinstance(problem, RowProblem) else 1 for problem in bad)
        said = f"{count:,} fault{'s' * (count != 1)} in rows"
        places = tuple(map(str, bad))
        findings.append(Finding(level="error", check="readable", message=said, places=places, cure=cure))
    questions = [LIGHT_1.normal(row.question) for row in rows]
    findings += _repeated(rows, questions, similarity)
    for name, others in against.items():
        findings += _leaked(rows, questions, name, others, similarity)
    findings += _personal(rows)
    found = balance(rows) if rows else None
    if found:
        findings += _spread(found, len(rows))
        findings += _systems(rows)
        findings += _size(len(rows))
    return DataReport(
        rows=len(rows),
        against={name: len(others) for name, others in against.items()},
        findings=tuple(sorted(findings, key=lambda f: ("error", "warning", "note").index(f.level))),
        balance=found,
    )


def _finding(level: Severity, check: str, message: str, places: Iterable[str], cure: str) -> Iterable[Finding]:
    """One finding, or none when there are no places. `message` says what there are several of: `rows that …`."""
    shown = tuple(places)
    noun, _, rest = message.partition(" ")
    text = f"1 {noun.removesuffix('s')} {rest}" if len(shown) == 1 else f"{len(shown)} {message}"
    return [Finding(level=level, check=check, message=text, places=shown, cure=cure)][: len(shown)]


def _repeated(rows: Sequence[Conversation], questions: Sequence[str], similarity: float) -> list[Finding]:
    repeated, contradicting = [], []
    # The same words after other earlier answers are another question.
    contexts = [LIGHT_1.normal("\n".join(text for m in row.messages[:-1] for text in m.texts)) for row in rows]
    for group in duplicates.same(contexts):
        answers: dict[str, list[str]] = defaultdict(list)
        for position in group:
            answers[LIGHT_1.normal(rows[position].answer)].append(rows[position].place)
        repeated += [" = ".join(places) for places in answers.values() if len(places) > 1]
        if len(answers) > 1:
            contradicting.append(" ≠ ".join(places[0] for places in answers.values()))
    close = [
        f"{rows[pair.left].place} ≈ {rows[pair.right].place} ({pair.similarity:.2f})"
        for pair in duplicates.near(questions, similarity)
    ]
    return [
        *_finding(
            "warning", "duplicates", "groups of equal rows", repeated, "keep one of each: the rest weighs double"
        ),
        *_finding(
            "warning", "contradictions", "questions with several answers", contradicting, "decide which is right"
        ),
        *_finding(
            "warning", "near duplicates", "pairs of nearly equal questions", close, "make sure that they are meant"
        ),
    ]


def _leaked(
    rows: Sequence[Conversation],
    questions: Sequence[str],
    name: str,
    others: Sequence[Conversation],
    similarity: float,
) -> list[Finding]:
    asked = [LIGHT_1.normal(other.question) for other in others]
    first = dict(zip(reversed(questions), (row.place for row in reversed(rows)), strict=True))
    exact = [f"{other.place} = {first[text]}" for other, text in zip(others, asked, strict=True) if text in first]
    close = [
        f"{others[pair.right].place} ≈ {rows[pair.left].place} ({pair.similarity:.2f})"
        for pair in duplicates.near(questions, similarity, asked)
        if asked[pair.right] not in first
    ]
    cure = "remove them from one side: a figure measured on rows that were trained on says nothing"
    return [
        *_finding("error", "leakage", f"rows of {name} asked in the training rows too", exact, cure),
        *_finding("warning", "near leakage", f"rows of {name} nearly asked in the training rows", close, cure),
    ]


def _personal(rows: Sequence[Conversation]) -> list[Finding]:
    places: dict[tuple[bool, str], list[str]] = defaultdict(list)
    for row in rows:
        kinds = {
            (hit.sure, hit.kind) for message in row.messages for text in message.texts for hit in personal.find(text)
        }
        for key in kinds:
            places[key].append(row.place)
    findings: list[Finding] = []
    for (sure, kind), found in sorted(places.items(), key=lambda item: (not item[0][0], item[0][1])):
        label = kind.lower().replace("_", " ")
        message = f"rows with {'an' if label[0] in 'aeio' else 'a'} {label}" + ("" if sure else ", by its look")
        cure = "write a cleaned copy with --redact"
        findings += _finding("error" if sure else "warning", "personal data", message, found, cure)
    return findings


def _spread(found: Balance, rows: int) -> list[Finding]:
    said: list[tuple[str, str]] = []
    for name, counts in (("language", found.languages), *found.fields.items()):
        if len(counts) == 1:
            continue
        biggest = max(counts, key=lambda key: counts[key])
        share = counts[biggest] / sum(counts.values())
        rare = [f"{value} ({count})" for value, count in counts.items() if count < min(_RARE, rows / 20)]
        if share > _DOMINANT:
            said.append((f"{name}: {share:.0%} of the rows are {biggest}", "a model may learn to say only that"))
        if rare:
            said.append((f"{name}: few rows for {', '.join(rare)}", f"aim at {_RARE} or more of each"))
    if 0 < found.json_answers < rows:
        text = f"{found.json_answers} of {rows} answers are JSON objects and the others are not"
        said.append((text, "use one form of answer"))
    return [Finding(level="warning", check="balance", message=text, cure=cure) for text, cure in said]


def _systems(rows: Sequence[Conversation]) -> list[Finding]:
    systems = Counter(row.system for row in rows)
    system, count = systems.most_common(1)[0]
    if system and count == len(rows) > 1:
        return [
            Finding(
                level="note",
                check="system text",
                message="every row has the same system text",
                cure="name it in prompt.system, so that the service puts it before every request",
            )
        ]
    return []


def _size(rows: int) -> list[Finding]:
    if rows >= PROMISING:
        return []
    message = f"{rows} examples; a fine-tune is promising from about {PROMISING:,}"
    cure = "gather more, or compare with the same examples as few-shot prompt first"
    return [Finding(level="warning", check="size", message=message, cure=cure)]


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
