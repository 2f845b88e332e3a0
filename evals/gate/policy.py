"""The gate: a policy held against a report, all candidates at once. Pure: the same two give the same checks.

The registry takes the verdict's word and nothing else, so every figure and bound is written into it. `rules.py` has
the rules; why the levels are what they are: `docs/decisions/0012-levels-of-the-gate.md`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated

from pydantic import Field

from evals.gate.case import Case, Claim, Level, rival_of
from evals.gate.rules import Beats, Clusters, CostRatio, Errors, Latency, NotWorse, People, Rule, Unscored
from evals.gate.slices import figures_in, on_slice
from evals.statistics.evidence import holm_levels, spent
from lifecycle.errors import InvalidConfig, Problem
from lifecycle.report import ArmResult, Report, Tries, Where
from lifecycle.text.counting import counted
from lifecycle.verdict import Check, Ruling, Verdict
from lifecycle.version import Frozen, digest_of


class Policy(Frozen):
    """What a version must show before it may take `prod`. All rules must pass."""

    name: str = "policy"
    rules: tuple[Rule, ...] = Field(min_length=1)
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.01
    """Bound on the chance that any candidate passes a comparison by luck: over all candidates of a run, and over all
    tries on the same items."""
    tries: int = Field(default=20, ge=1)
    """How often the same items may decide. After that every run on them is undecided: fresh items renew it."""
    worth: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.05
    """A lead that is worth finding. A run that could have seen it (80 % power), and did not, rejects; one that could
    not is undecided."""

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json"))

    @property
    def names(self) -> tuple[str, ...]:
        """The arms that its rules compare with, as it names them."""
        compare = (
            rule.names for rule in self.rules if isinstance(rule, Beats | NotWorse | Latency | People | CostRatio)
        )
        return tuple(dict.fromkeys(name for names in compare for name in names))

    @property
    def asks_prices(self) -> bool:
        """Whether a rule of it is on costs."""
        return any(isinstance(rule, CostRatio) for rule in self.rules)

    @property
    def slices(self) -> tuple[Where, ...]:
        """Those that its rules name, each once."""
        named = (rule.slice for rule in self.rules if rule.slice)
        return tuple({tuple(sorted(where.items())): where for where in named}.values())

    def on(self, suite: str) -> Policy:
        """Its rules for the suite. Raises `InvalidConfig` where there is none."""
        rules = tuple(rule for rule in self.rules if rule.suite in (None, suite))
        if not rules:
            named = ", ".join(dict.fromkeys(str(rule.suite) for rule in self.rules))
            problem = Problem(
                "rules", f"none is for '{suite}': they are for {named}", "write one, or one without a suite"
            )
            raise InvalidConfig(f"the policy {self.name} cannot judge '{suite}'", [problem])
        return self.model_copy(update={"rules": rules})

    def claims(self, report: Report, arm: ArmResult, where: Where | None = None) -> tuple[Claim, ...]:
        """All that its comparisons want shown of the arm, on all items or on a slice, whose figures `report` has."""
        compare = (rule for rule in self.rules if isinstance(rule, Beats | NotWorse) and rule.slice == where)
        return tuple(claim for rule in compare for claim in rule.claims(report, arm))

    @property
    def all_rules(self) -> tuple[Rule, ...]:
        """Those that are written, and three that every policy has unless it says more: no failed answer, none that
        could not be scored, and clusters enough. A slice that a rule names may have no larger shares of failed and of
        unscored answers than the whole: they could all be in it."""
        whole = {rule.rule: rule for rule in self.rules if rule.slice is None}
        errors = whole.get("errors", Errors(rule="errors"))
        unscored = whole.get("unscored", Unscored(rule="unscored"))
        implied: tuple[Rule, ...] = (Clusters(rule="clusters"), errors, unscored)
        of_slices = (
            rule.model_copy(update={"slice": where}) for where in self.slices for rule in (errors, unscored)
            if (rule.rule, where) not in [(written.rule, written.slice) for written in self.rules]
        )  # fmt: skip
        return (*self.rules, *(rule for rule in implied if rule.rule not in whole), *of_slices)


def judge(report: Report, policy: Policy, candidates: Sequence[str], *, at: datetime) -> tuple[Verdict, ...]:
    """A verdict on each candidate, bound to the version, the evaluation and the policy by their digests.

    `candidates` are all arms that the run judges: they share one bound. Raises `NotFound` for one that is no arm.
    """
    checks = check(report, policy, candidates)
    return tuple(_verdict(report, policy, report.result(arm), checks[arm], at) for arm in candidates)


def check(report: Report, policy: Policy, candidates: Sequence[str]) -> dict[str, tuple[Check, ...]]:
    """Each rule held against each candidate, in the policy's order; a rule that names several arms gives several."""
    policy = policy.on(report.task)
    budget = _within_budget(report.tries, policy)
    return {
        arm: (*(check for rule in policy.all_rules for check in _checks(rule, cases)), *budget)
        for arm, cases in _cases(report, policy, [report.result(arm) for arm in candidates]).items()
    }


def _checks(rule: Rule, cases: Sequence[Case]) -> list[Check]:
    """The rule held against the case of its own items."""
    if rule.slice is None:
        return rule.checks(cases[0])
    case = next(case for case in cases if case.where == rule.slice)
    return on_slice(rule, case)


def ruling_of(checks: Sequence[Check]) -> Ruling:
    """A failed check rejects; without one, an undecided check leaves it open."""
    rulings = {check.ruling for check in checks}
    return next((ruling for ruling in (Ruling.FAILED, Ruling.UNDECIDED) if ruling in rulings), Ruling.PASSED)


def _cases(report: Report, policy: Policy, arms: Sequence[ArmResult]) -> dict[str, list[Case]]:
    """Each candidate with its level: what this try may spend, shared by Holm over the candidates that are compared. Its
    first case is of all items, the others of the slices that rules name.

    All rules must pass, so a candidate's p is that of its weakest claim, and several claims need no correction, whether
    they are on all items or on slices (`Level.of_slices`).
    """
    places = (None, *policy.slices)
    figures = [figures_in(report, where) for where in places]
    claims = {
        arm.arm: [policy.claims(part, part.result(arm.arm), where) for part, where in zip(figures, places, strict=True)]
        for arm in arms
    }
    weakest = {arm: max(claim.p for part in own for claim in part) for arm, own in claims.items() if any(own)}
    levels = holm_levels(list(weakest.values()), spent(policy.alpha, report.tries.number))
    allowed = {arm: float(level) for arm, level in zip(weakest, levels, strict=True)}
    shared = counted(len(weakest), "candidate")
    words = f"alpha {policy.alpha:g}, try {report.tries.number} of {policy.tries}, {shared}"
    compared = {rival_of(report, name) for name in policy.names}
    cases = {}
    for arm, own in claims.items():
        level = Level(allowed.get(arm, 0.0), words, policy.worth)
        of_slices = level.of_slices(sum(map(len, own[1:])))
        cases[arm] = [
            Case(
                report=part,
                arm=part.result(arm),
                claims=shown,
                rivals=tuple(rival for rival in part.arms if rival.arm in compared and rival.arm != arm),
                level=of_slices if where else level,
                where=where,
                slice=report.slice(where) if where else None,
            )
            for part, shown, where in zip(figures, own, places, strict=True)
        ]
    return cases


def _within_budget(tries: Tries, policy: Policy) -> list[Check]:
    if tries.number <= policy.tries:
        return []
    detail = f"this is try {tries.number} on these items, and the policy allows {policy.tries}: evaluate on fresh items"
    return [Check(rule="tries", ruling=Ruling.UNDECIDED, detail=detail)]


def _verdict(report: Report, policy: Policy, arm: ArmResult, checks: tuple[Check, ...], at: datetime) -> Verdict:
    return Verdict(
        ref=arm.ref,
        version_digest=arm.version_digest,
        evaluation_digest=report.digest,
        policy_digest=policy.digest,
        suite_digest=report.suite.digest if report.suite else None,
        deployment=answered.digest if (answered := arm.deployment or report.deployment) else None,
        provisional=report.provisional,
        ruling=ruling_of(checks),
        checks=checks,
        created_at=at,
    )
