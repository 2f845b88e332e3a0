"""The gate: a policy's rules held against a report. Pure: the same report and policy give the same checks.

The registry takes the verdict's word and nothing else, so every figure and bound is written into it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import Field

from lifecycle.errors import NotFound
from lifecycle.report import ArmResult, Check, Comparison, Report, Ruling, Verdict
from lifecycle.version import Frozen, digest_of

Share = Annotated[float, Field(ge=0.0, le=1.0)]
JudgeBy = Literal["low", "value"]


class Beats(Frozen):
    """The whole interval of the difference on the deciding metric lies above `by`, and Holm's p is small enough."""

    rule: Literal["beats"]
    arm: str = "base"
    by: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0
    max_p: Annotated[float, Field(gt=0.0, le=1.0)] = 0.05
    """Largest p after Holm's correction over all comparisons of the report."""

    def held(self, report: Report, arm: ArmResult) -> list[Check]:
        name = f"beats {self.arm}"
        if self.arm == arm.arm:
            return [Check(rule=name, ruling=Ruling.FAILED, detail="this is the arm to beat: nothing beats itself")]
        if (one := difference(report, arm.arm, self.arm)) is None:
            return [_missing(name, self.arm)]
        bound = f"the interval must lie above {self.by:+.3f} with an adjusted p of at most {self.max_p:g}"
        detail = f"{_words(one)}, adjusted p {one.p_adjusted:.2g}; {bound}"
        return [
            Check(rule=name, ruling=_ruling(one.low > self.by and (one.p_adjusted or 0.0) <= self.max_p), detail=detail)
        ]


class NotWorse(Frozen):
    """Non-inferiority: the interval of the difference excludes a loss of more than `margin`, against each arm."""

    rule: Literal["not_worse"]
    arms: tuple[str, ...] = Field(default=("few-shot", "rag"), min_length=1)
    margin: Share = 0.02

    def held(self, report: Report, arm: ArmResult) -> list[Check]:
        return [self._against(other, report, arm) for other in self.arms if other != arm.arm]

    def _against(self, other: str, report: Report, arm: ArmResult) -> Check:
        name = f"does not lose to {other}"
        if (one := difference(report, arm.arm, other)) is None:
            return _missing(name, other)
        detail = f"{_words(one)}; the interval must not reach below {-self.margin:+.3f}"
        return Check(rule=name, ruling=_ruling(one.low >= -self.margin), detail=detail)


class AtLeast(Frozen):
    """One metric of the arm reaches `value`: judged by the figure itself, or by its interval's low end."""

    rule: Literal["at_least"]
    metric: str = ""
    """The report's deciding metric unless named, so that one policy can set a floor for several tasks."""
    value: Share
    judge_by: JudgeBy = "value"

    def held(self, report: Report, arm: ArmResult) -> list[Check]:
        metric = self.metric or report.metric
        return [_reaches(metric, metric, self.value, self.judge_by, arm)]


class Safety(Frozen):
    """The task's safety figure reaches `value`. A task that declares none passes, and the check says so."""

    rule: Literal["safety"]
    value: Share
    judge_by: JudgeBy = "low"

    def held(self, report: Report, arm: ArmResult) -> list[Check]:
        if report.safety_metric is None:
            return [Check(rule="safety", ruling=Ruling.PASSED, detail="the task declares no safety figure")]
        return [_reaches("safety", report.safety_metric, self.value, self.judge_by, arm)]


class Latency(Frozen):
    """p95 latency is at most `times` that of `arm`."""

    rule: Literal["latency"]
    times: float = Field(gt=0.0)
    arm: str = "base"

    def held(self, report: Report, arm: ArmResult) -> list[Check]:
        base = next((one for one in report.arms if one.arm == self.arm), None)
        if base is None:
            return [_missing("latency", self.arm)]
        bound = self.times * base.latency_p95
        most = f"{self.times:g} x {self.arm} ({base.latency_p95:.3f} s) = {bound:.3f} s"
        detail = f"p95 {arm.latency_p95:.3f} s; at most {most}"
        return [Check(rule="latency", ruling=_ruling(arm.latency_p95 <= bound), detail=detail)]


class Items(Frozen):
    """The evaluation has at least so many items: fewer can hide a difference that matters."""

    rule: Literal["items"]
    at_least: int = Field(ge=1)

    def held(self, report: Report, arm: ArmResult) -> list[Check]:
        detail = f"{report.n_items} items; at least {self.at_least} are asked for"
        return [Check(rule="items", ruling=_ruling(report.n_items >= self.at_least), detail=detail)]


class Errors(Frozen):
    """At most this share of the items failed at the endpoint (they are scored zero as well)."""

    rule: Literal["errors"]
    at_most: Share = 0.0

    def held(self, report: Report, arm: ArmResult) -> list[Check]:
        detail = f"{arm.errors} of {report.n_items} items failed; at most {self.at_most:.1%} may"
        return [Check(rule="errors", ruling=_ruling(arm.errors / report.n_items <= self.at_most), detail=detail)]


Rule = Annotated[Beats | NotWorse | AtLeast | Safety | Latency | Items | Errors, Field(discriminator="rule")]


class Policy(Frozen):
    """What a version must show before it may take `prod`. All rules must pass."""

    name: str = "policy"
    rules: tuple[Rule, ...] = Field(min_length=1)

    @property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json"))


def judge(report: Report, policy: Policy, arm: str, *, at: datetime) -> Verdict:
    """The verdict on one arm, bound to the version, the evaluation and the policy by their digests.

    Raises `NotFound` when the report has no such arm.
    """
    result, checks = result_of(report, arm), check(report, policy, arm)
    return Verdict(
        ref=result.ref,
        version_digest=result.version_digest,
        evaluation_digest=report.digest,
        policy_digest=policy.digest,
        suite_digest=report.suite.digest if report.suite else None,
        deployment=report.deployment.digest if report.deployment else None,
        provisional=report.provisional,
        ruling=_ruling(all(one.passed for one in checks)),
        checks=checks,
        created_at=at,
    )


def check(report: Report, policy: Policy, arm: str) -> tuple[Check, ...]:
    """Each rule held against the arm, in the policy's order; several checks for a rule that names several arms."""
    result = result_of(report, arm)
    return tuple(one for rule in policy.rules for one in rule.held(report, result))


def result_of(report: Report, arm: str) -> ArmResult:
    """The arm's figures. Raises `NotFound`, naming the arms that there are."""
    for result in report.arms:
        if result.arm == arm:
            return result
    raise NotFound(f"the report has no arm '{arm}'; its arms are {', '.join(one.arm for one in report.arms)}")


def difference(report: Report, arm: str, against: str) -> Comparison | None:
    """`arm` against `against` on the deciding metric, turned round when it was compared the other way; or None."""
    for one in report.comparisons:
        if one.metric != report.metric:
            continue
        if (one.arm, one.against) == (arm, against):
            return one
        if (one.arm, one.against) == (against, arm):
            turned = {"arm": arm, "against": against, "delta": -one.delta, "low": -one.high, "high": -one.low}
            return one.model_copy(update=turned)
    return None


def _reaches(name: str, metric: str, value: float, judge_by: JudgeBy, arm: ArmResult) -> Check:
    figure = arm.metrics.get(metric)
    if figure is None:
        return Check(
            rule=name, ruling=Ruling.FAILED, detail=f"no item gives {metric}; it cannot be shown to reach {value:.3f}"
        )
    held, by = (figure.low, "its low end") if judge_by == "low" else (figure.value, "it")
    figures = f"{metric} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}] over {figure.n}"
    return Check(rule=name, ruling=_ruling(held >= value), detail=f"{figures}; {by} must reach {value:.3f}")


def _missing(rule: str, arm: str) -> Check:
    """A rival that was not measured is not beaten."""
    return Check(
        rule=rule, ruling=Ruling.FAILED, detail=f"'{arm}' was not measured: add that arm, or take it out of the policy"
    )


def _words(one: Comparison) -> str:
    return f"{one.delta:+.3f} [{one.low:+.3f}, {one.high:+.3f}] on {one.metric} over {one.n} items"


def _ruling(passed: bool) -> Ruling:
    return Ruling.PASSED if passed else Ruling.FAILED
