"""One candidate before the gate: its figures, what has to be shown of it, and the level that this is held to. Pure.

`gate.py` makes a case of each candidate of a run, `rules.py` decides it rule by rule.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from evals.statistics.evidence import p_above, p_below, smallest_seen
from lifecycle.aliases import PROD
from lifecycle.report import ArmResult, Comparison, Report, Slice, Where
from lifecycle.verdict import Check, Ruling


@dataclass(frozen=True)
class Level:
    """What the whole run holds one candidate's comparisons to."""

    p: float
    """The largest p that passes."""
    words: str
    """Where it comes from."""
    worth: float | None
    """A lead that is worth finding: a run that could have seen it, and did not, rejects. With None it does not."""
    slices: int = 1
    """How many claims on slices share the level at which what is shown to be worse rejects."""

    @property
    def rejects(self) -> float:
        """The largest p that rejects."""
        return self.p / self.slices

    def of_slices(self, claims: int) -> Level:
        """For so many claims on slices.

        To pass, a candidate must have all of them shown, and each is held to the whole level: the chance that all are
        shown while one is untrue is at most that of the one (intersection-union, Berger 1982), so that no share is
        taken. To be rejected, one is enough: there the chance of luck adds up, and the level is shared (Bonferroni).
        A lead that a run could have seen, and did not, would be missed in one of five slices that have it; so that
        alone rejects nobody.
        """
        return replace(self, worth=None, slices=max(claims, 1))


@dataclass(frozen=True)
class Claim:
    """One thing that a rule wants shown: the arm's true difference to `rival` is more than `bound`."""

    rule: str
    rival: str
    bound: float
    comparison: Comparison | None
    """None when the two were not compared."""

    @property
    def p(self) -> float:
        return p_above(self.comparison, self.bound) if self.comparison else 1.0

    def check(self, level: Level, *, rejects_from: float, worth_seeing: bool) -> Check:
        """Passed when it is shown; failed when the difference is shown to be below `rejects_from`, or, where a lead is
        `worth_seeing`, was not seen though it could have been; else undecided."""
        comparison = self.comparison
        if comparison is None:
            detail = f"'{self.rival}' was not measured: add that arm, or take it out of the policy"
            return Check(rule=self.rule, ruling=Ruling.UNDECIDED, detail=detail)
        sees = smallest_seen(comparison, self.bound, level.p)
        power = f"80 % power from {sees:+.3f} on" if math.isfinite(sees) else "no difference has 80 % power"
        detail = (
            f"{comparison.delta:+.3f} [{comparison.low:+.3f}, {comparison.high:+.3f}] on {comparison.metric} "
            f"over {counted(comparison.n, comparison.clusters)}; "
            f"p {self.p:.2g} for {self.bound:+.3f} or less, and {level.p:.2g} is allowed ({level.words}); {power}"
        )
        if self.p <= level.p:
            ruling = Ruling.PASSED
        elif p_below(comparison, rejects_from) <= level.rejects or (
            worth_seeing and level.worth is not None and sees <= self.bound + level.worth
        ):
            ruling = Ruling.FAILED
        else:
            ruling = Ruling.UNDECIDED
        return Check(rule=self.rule, ruling=ruling, detail=detail, sees=sees if math.isfinite(sees) else None)


@dataclass(frozen=True)
class Case:
    """What a rule is held against."""

    report: Report
    arm: ArmResult
    claims: tuple[Claim, ...]
    """All that the policy's comparisons want shown of the arm, on these items."""
    rivals: tuple[ArmResult, ...]
    """The arms that any rule of the policy compares with, besides this one."""
    level: Level
    where: Where | None = None
    """Of which items the figures are; None for all."""
    slice: Slice | None = None
    """The report's word on those; None where it has none."""


def rival_of(report: Report, name: str) -> str | None:
    """The arm that a policy's `name` means. `prod` is the one that it serves: None when it serves nothing."""
    if name == PROD and all(arm.arm != PROD for arm in report.arms):
        return report.prod
    return name


def counted(n: int, clusters: int | None) -> str:
    return f"{n} items" if clusters is None else f"{n} items in {clusters} clusters"
