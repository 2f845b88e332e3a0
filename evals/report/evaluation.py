"""What an evaluation leaves behind: the report, the verdicts on it, which version to ship, and where it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from evals.people.in_report import VotesNow
from evals.statistics.thin import THIN
from lifecycle.people import PeopleComparison
from lifecycle.report import ArmResult, Comparison, Interval, Report, Slice
from lifecycle.text.counting import counted
from lifecycle.verdict import Ruling, Verdict

RULINGS = {Ruling.PASSED: "passed", Ruling.FAILED: "rejected", Ruling.UNDECIDED: "undecided"}
"""As a reader sees them beside an arm."""
MARKS = {Ruling.PASSED: "✓", Ruling.FAILED: "✗", Ruling.UNDECIDED: "?"}
"""As a reader sees them before a check."""

OF_SLICES = (
    "Each interval is of 95 % for its slice alone: of twenty, one misses the truth by chance. A thin slice has under "
    f"{THIN} items, or clusters of them: it decides nothing."
)
"""What a reader of slices must know."""


def size_of(part: Slice) -> str:
    """`84 items in 31 clusters, thin`"""
    clusters = f" in {counted(part.clusters, 'cluster')}" if part.clusters else ""
    return f"{counted(part.n, 'item')}{clusters}{', thin' if part.thin else ''}"


def columns_of(table: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Of a table of the report: its rows' names first, then what else was said; "" is no answer of a known kind."""
    return list(dict.fromkeys([*table, *(column for row in table.values() for column in row)]))


@dataclass(frozen=True)
class Evaluation:
    """`report/` writes it, `table.py` prints it."""

    report: Report
    verdicts: tuple[Verdict, ...]
    """One for every arm but the baseline; none on another tool's report."""
    policy: str
    """The policy's name."""
    recommended: str | None
    """The version that the advice says to ship; None when no arm that passed is good enough."""
    folder: Path
    opens: Mapping[str, str] = field(default_factory=dict)
    """Of each arm that was judged: which aliases its verdict opens, or why none."""
    alerts: tuple[str, ...] = ()
    """What somebody should look at now: a version that serves and is doubted."""
    notes: tuple[str, ...] = ()
    """What a reader of the suite's figures must know."""
    votes: VotesNow | None = None
    """People's votes as they are now, of an evaluation that is shown again; the verdicts stand on the report's."""

    @property
    def people(self) -> tuple[PeopleComparison, ...]:
        """What people say: now, or else when the report was made."""
        return self.votes.told if self.votes else self.report.people

    def verdict(self, arm: ArmResult) -> Verdict | None:
        """The verdict on the arm's version; None for the baseline."""
        return next((verdict for verdict in self.verdicts if verdict.version_digest == arm.version_digest), None)

    @property
    def own(self) -> bool:
        """Whether we measured it: other tools' files have no times, tokens, noise floor or verdicts."""
        return self.report.imported is None

    @property
    def history(self) -> str:
        """How often these items have been used before, in words."""
        tries = self.report.tries
        try_ = "a look at these items" if self.report.provisional else f"try {tries.number} on these items"
        return f"{try_}, {counted(tries.looks, 'look')} so far"

    @property
    def baseline(self) -> ArmResult:
        """The arm that was not judged: that of the suite, or the first one in reports from before suites.

        Where the registry has a verdict of each arm, it is any of them.
        """
        named = self.report.suite.baseline if self.report.suite else ""
        unjudged = [arm for arm in self.report.arms if self.verdict(arm) is None] or self.report.arms
        return next((arm for arm in unjudged if arm.arm == named), unjudged[0])

    def against_baseline(self, arm: ArmResult) -> Comparison | None:
        """The arm's difference to the baseline on the deciding metric; None for the baseline itself."""
        return self.report.difference(arm.arm, self.baseline.arm)

    def sees(self, arm: ArmResult) -> float | None:
        """The smallest true difference that its first comparison would have seen (80 % power); None for none."""
        verdict = self.verdict(arm)
        checks = verdict.checks if verdict else ()
        return next((check.sees for check in checks if check.sees is not None and check.slice is None), None)

    def figure_in(self, part: Slice, arm: ArmResult) -> Interval | None:
        """The arm's deciding figure on the slice; None where no item there has one."""
        return self.report.within(part).result(arm.arm).metrics.get(self.report.metric)

    def difference_in(self, part: Slice, arm: ArmResult) -> Comparison | None:
        """The arm's difference to the baseline on the slice's items; None for the baseline itself."""
        return self.report.within(part).difference(arm.arm, self.baseline.arm)

    @property
    def item_metrics(self) -> list[str]:
        """The same, with the one first by which single items are told apart."""
        return list(dict.fromkeys([self.report.of_items, *self.metrics]))

    @property
    def metrics(self) -> list[str]:
        """Every figure of any arm: the deciding one, the safety figure, then the rest as the task has them."""
        first = [self.report.metric, *([self.report.safety_metric] if self.report.safety_metric else [])]
        return list(dict.fromkeys([*first, *(name for arm in self.report.arms for name in arm.metrics)]))
