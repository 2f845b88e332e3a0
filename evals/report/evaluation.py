"""What an evaluation leaves behind: the report, the verdicts on it, which version to ship, and where it is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from lifecycle.report import ArmResult, Comparison, Report, Ruling, Verdict

RULINGS = {Ruling.PASSED: "passed", Ruling.FAILED: "rejected", Ruling.UNDECIDED: "undecided"}
"""As a reader sees them beside an arm."""
MARKS = {Ruling.PASSED: "✓", Ruling.FAILED: "✗", Ruling.UNDECIDED: "?"}
"""As a reader sees them before a check."""


def columns_of(table: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Of a table of the report: its rows' names first, then what else was said; "" is no answer of a known kind."""
    return list(dict.fromkeys([*table, *(column for row in table.values() for column in row)]))


@dataclass(frozen=True)
class Evaluation:
    """`report/` writes it, `table.py` prints it."""

    report: Report
    verdicts: tuple[Verdict, ...]
    """One for every arm but the baseline."""
    policy: str
    """The policy's name."""
    recommended: str | None
    """The version that the advice says to ship; None when no arm that passed is good enough."""
    folder: Path
    opens: Mapping[str, str] = field(default_factory=dict)
    """Of each arm that was judged: which aliases its verdict opens, or why none."""
    alerts: tuple[str, ...] = ()
    """What somebody should look at now: a version that serves and is doubted."""

    def verdict(self, arm: ArmResult) -> Verdict | None:
        """The verdict on the arm's version; None for the baseline."""
        return next((verdict for verdict in self.verdicts if verdict.version_digest == arm.version_digest), None)

    @property
    def history(self) -> str:
        """How often these items have been used before, in words."""
        tries = self.report.tries
        try_ = "a look at these items" if self.report.provisional else f"try {tries.number} on these items"
        return f"{try_}, {tries.looks} look{'' if tries.looks == 1 else 's'} so far"

    @property
    def baseline(self) -> ArmResult:
        """The arm that was not judged."""
        return next(arm for arm in self.report.arms if self.verdict(arm) is None)

    def against_baseline(self, arm: ArmResult) -> Comparison | None:
        """The arm's difference to the baseline on the deciding metric; None for the baseline itself."""
        return self.report.difference(arm.arm, self.baseline.arm)

    def sees(self, arm: ArmResult) -> float | None:
        """The smallest true difference that its first comparison would have seen (80 % power); None for none."""
        verdict = self.verdict(arm)
        return next((check.sees for check in verdict.checks if check.sees is not None), None) if verdict else None

    @property
    def metrics(self) -> list[str]:
        """Every figure of any arm: the deciding one, the safety figure, then the rest as the task has them."""
        first = [self.report.metric, *([self.report.safety_metric] if self.report.safety_metric else [])]
        return list(dict.fromkeys([*first, *(name for arm in self.report.arms for name in arm.metrics)]))
