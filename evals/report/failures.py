"""What must not happen, as a reader needs it: how often it did, and the most that its true share may be."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from evals.report.evaluation import Evaluation
from evals.report.sentences import said
from evals.report.words import Words
from evals.statistics.exact import upper_bound
from lifecycle.report import Failures

if TYPE_CHECKING:
    from rich.table import Table

WORDS = (
    "The bound is exact and one-sided, of 95 % (Clopper and Pearson): a version that fails in a larger share would "
    "have failed more often here in 19 of 20 such runs. None in n is no proof of none."
)
_HEAD = ("figure", "arm", "failed", "of", "at most", "none would be at most")


class Row(NamedTuple):
    """One arm's failures in one figure, in words."""

    figure: str
    arm: str
    failed: str
    of: str
    at_most: str
    none: str
    """The bound that the same number without a failure would have."""


def failure_rows(evaluation: Evaluation) -> list[Row]:
    """Figure by figure, the arms in their order."""
    arms = evaluation.report.arms
    figures = dict.fromkeys(name for arm in arms for name in arm.failures)
    return [_row(name, arm.arm, arm.failures[name]) for name in figures for arm in arms if name in arm.failures]


def markdown_of_failures(evaluation: Evaluation, words: Words = Words()) -> list[str]:  # noqa: B008
    rows = failure_rows(evaluation)
    if not rows:
        return []
    head = [said(name, "failures", words) for name in _HEAD]
    cells = [
        [*map(words.isolated, row[:3]), said(row.of, "failures", words), *map(words.isolated, row[4:])] for row in rows
    ]
    lines = [head, ["---"] * len(_HEAD), *cells]
    table = "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return ["## " + words("failures.short"), table, said(WORDS, "failures", words)]


def failure_table(evaluation: Evaluation) -> Table:
    """As it is printed."""
    from rich import box
    from rich.table import Table

    table = Table(title="Failures, and the most that they may be", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.title_justify = "left"
    for name in _HEAD[:-1]:
        table.add_column(name, justify="left" if name in ("figure", "arm") else "right")
    for row in failure_rows(evaluation):
        table.add_row(*row[:-1])
    return table


def _row(name: str, arm: str, failures: Failures) -> Row:
    of = f"{failures.n} clusters" if failures.clustered else str(failures.n)
    none = upper_bound(0, failures.n)
    return Row(name, arm, str(failures.count), of, f"{failures.at_most:.1%}", f"{none:.1%}")
