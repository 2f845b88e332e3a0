"""Is this data good enough to learn from, and is the test data unseen? Rows pass by once; the findings are graded.

    error     the training or the evaluation would be wrong: leaked rows, unreadable rows, certain personal data
    warning   look at it: duplicates, contradictions, imbalance, likely personal data, toxic words, few rows
    note      a fact worth knowing

`commands/check.py` prints the result, `page.py` draws it. `repeats.py`, `leaks.py`, `balance.py`, `toxicity.py`,
`advice.py` and `personal/` do the looking, each at one `Content` after the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from lifecycle.errors import Problem
from lifecycle.rows.faults import RowProblem
from lifecycle.rows.kinds import Row
from lifecycle.text.counting import counted
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.text.toxicity import Rules
from training.data import advice
from training.data.balance import Spread
from training.data.content import Normal, content, normal
from training.data.findings import DataReport, Finding, Places, Severity, finding
from training.data.leaks import Leaks, NearLeaks
from training.data.personal import kinds_in
from training.data.repeats import Repeats
from training.data.row_places import RowPlaces
from training.data.toxicity import Toxicity
from training.data.unseen import Unseen

__all__ = ["Checks", "DataReport", "Finding", "Severity", "check"]

PROMISING = advice.PROMISING
SIMILARITY = 0.85
"""Jaccard of character 5-shingles from which two questions are near duplicates."""


class Checks:
    """All checks of rows that come one at a time. The memory does not grow with them, but by a few bytes of each."""

    def __init__(
        self,
        against: Mapping[str, Iterable[Row]] | None = None,
        *,
        similarity: float | None = SIMILARITY,
        look_for_personal: bool = True,
        rules: Rules | None = None,
    ) -> None:
        """`against` has the sets that must be unseen. Without `similarity` nothing nearly equal is looked for."""
        self._places, self._unseen = RowPlaces(), Unseen()
        self._repeats = Repeats(similarity, self._places)
        for name, rows in (against or {}).items():
            self._unseen.begin(name)
            for seen in map(content, rows):
                question = LIGHT_1.normal(seen.question)
                self._unseen.add(seen.place, question)
                self._repeats.must_be_unseen(question)
        self._leaks = Leaks(self._unseen, self._places)
        self._spread = Spread()
        self._toxicity = Toxicity(rules or Rules.load())
        self._facts = advice.Facts()
        self._personal = _Personal() if look_for_personal else None

    def see(self, row: Row) -> None:
        seen = content(row)
        question = LIGHT_1.normal(seen.question)
        texts = [
            Normal(question, frozenset(question.split())) if text is seen.question else normal(text)
            for text in seen.texts
        ]
        number = self._places.add(seen.place)
        self._repeats.see(number, seen, question)
        self._leaks.see(number, question, texts)
        self._spread.see(seen)
        self._toxicity.see(seen, texts)
        self._facts.see(seen)
        if self._personal is not None:
            self._personal.see(row)

    def report(self, bad: Sequence[Problem] = ()) -> DataReport:
        """What was found. `bad` are the unreadable rows that reading found."""
        rows = self._facts.rows
        leaked = self._leaks.leaked()
        near = NearLeaks(self._unseen, self._places, leaked)
        said: list[Finding] = [
            *_unreadable(bad),
            *self._repeats.findings(near),
            *self._leaks.findings(leaked),
        ]
        if self._personal is not None:
            said += self._personal.findings()
        said += self._toxicity.findings()
        balance = self._spread.balance() if rows else None
        if balance:
            said += [*advice.spread(balance, rows), *self._facts.findings(), *advice.size(rows, self._repeats.good)]
        return DataReport(
            rows=rows,
            against={name: len(rows) for name, rows in self._unseen.sets.items()},
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
            message=f"{counted(count, 'fault')} in rows",
            places=tuple(map(str, bad)),
            count=count,
            cure="training would refuse the file until they are mended",
        )


class _Personal:
    """Rows as they come, and then which of them hold personal data, by its kind."""

    def __init__(self) -> None:
        self._places: dict[tuple[bool, str], Places] = {}

    def see(self, row: Row) -> None:
        for key in kinds_in(row):
            self._places.setdefault(key, Places()).add(row.place)

    def findings(self) -> Iterator[Finding]:
        for (sure, kind), places in sorted(self._places.items(), key=lambda item: item[0][1]):
            label = kind.lower().replace("_", " ")
            message = f"rows with {'an' if label[0] in 'aeio' else 'a'} {label}" + ("" if sure else ", by its look")
            cure = "write a cleaned copy with dabt data redact"
            yield from finding("error" if sure else "warning", "personal data", message, places, cure)
