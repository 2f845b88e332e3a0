"""The rules that a policy is made of. Each holds one demand against a case, and says passed, failed or undecided. Pure.

`gate.py` puts them together; `case.py` has the comparisons that two of them make.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from evals.gate.case import Case, Claim, counted, rival_of
from evals.slices import told
from evals.statistics.exact import items_for
from lifecycle.aliases import PROD
from lifecycle.report import ArmResult, Interval, Report
from lifecycle.verdict import Check, Ruling
from lifecycle.version import Frozen

Share = Annotated[float, Field(ge=0.0, le=1.0)]
JudgeBy = Literal["low", "value"]


def _value(value: object) -> object:
    """YAML's true and 3 as items have them."""
    return value if isinstance(value, str) else told(value)


class OnItems(Frozen):
    """What all rules may say."""

    slice: Annotated[dict[str, Annotated[str, BeforeValidator(_value)]], Field(min_length=1)] | None = Field(
        default=None, exclude_if=lambda where: where is None
    )
    """Hold it against these items alone, such as {language: ar}, and not against all. A policy's digest is what it was
    before there were slices, where it names none."""
    suite: str | None = Field(default=None, exclude_if=lambda suite: suite is None)
    """Hold it against the evaluation of this task alone, such as safety/refusal: a name's one policy judges all of its
    suites. Without it, it is held against each."""


class Beats(OnItems):
    """The arm is shown to be better than another on the deciding metric, by more than `by`."""

    rule: Literal["beats"]
    arm: str = "base"
    by: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """The arms that it compares with, as the policy names them."""
        return (self.arm,)

    def claims(self, report: Report, arm: ArmResult) -> tuple[Claim, ...]:
        rival = rival_of(report, self.arm)
        if rival is None or (self.arm == PROD and rival == arm.arm):
            return ()
        return (Claim(f"beats {self.arm}", rival, self.by, report.difference(arm.arm, rival)),)

    def checks(self, case: Case) -> list[Check]:
        claims = self.claims(case.report, case.arm)
        if not claims:
            return [_incumbent(f"beats {PROD}", case)]
        (claim,) = claims
        if claim.rival == case.arm.arm:
            detail = "this is the arm to beat: nothing beats itself"
            return [Check(rule=claim.rule, ruling=Ruling.FAILED, detail=detail)]
        return [claim.check(case.level, rejects_from=self.by, worth_seeing=True)]


class NotWorse(OnItems):
    """Non-inferiority: the arm is shown to lose less than `margin` on the deciding metric, against each arm."""

    rule: Literal["not_worse"]
    arms: tuple[str, ...] = Field(default=("few-shot", "rag"), min_length=1)
    margin: Annotated[float, Field(ge=0.0, lt=1.0)] = 0.02

    @property
    def names(self) -> tuple[str, ...]:
        return self.arms

    def claims(self, report: Report, arm: ArmResult) -> tuple[Claim, ...]:
        return tuple(claim for name in self.arms if (claim := self._claim(name, report, arm)))

    def checks(self, case: Case) -> list[Check]:
        checks = []
        for name in self.arms:
            if claim := self._claim(name, case.report, case.arm):
                checks.append(claim.check(case.level, rejects_from=0.0, worth_seeing=False))
            elif name == PROD:
                checks.append(_incumbent(f"does not lose to {PROD}", case))
        return checks

    def _claim(self, name: str, report: Report, arm: ArmResult) -> Claim | None:
        rival = rival_of(report, name)
        if rival is None or rival == arm.arm:
            return None
        return Claim(f"does not lose to {name}", rival, -self.margin, report.difference(arm.arm, rival))


class AtLeast(OnItems):
    """One metric of the arm reaches `value`: judged by the figure itself, or by its interval's low end."""

    rule: Literal["at_least"]
    metric: str = ""
    """The report's deciding metric unless named, so that one policy can set a floor for several tasks."""
    value: Share
    judge_by: JudgeBy = "value"

    def checks(self, case: Case) -> list[Check]:
        metric = self.metric or case.report.metric
        return [_reaches(metric, metric, self.value, self.judge_by, case.arm)]


class People(OnItems):
    """People who rated blind prefer the arm: its win rate reaches `value`, by votes enough that agree enough.

    The votes are those of closed campaigns on the same versions, items and deployment (`dabt rate`). As for every
    floor, no share of the policy's `alpha` is taken: the interval is of 95 %.
    """

    rule: Literal["people"]
    arm: str = "base"
    value: Share = 0.5
    judge_by: JudgeBy = "low"
    votes: int = Field(default=50, ge=1)
    """So many at least, skips and what needed no vote apart."""
    agreement: Annotated[float, Field(ge=-1.0, le=1.0)] | None = 0.0
    """Krippendorff's alpha (nominal) is at least this; 0 is what chance gives. None for one vote a pair."""

    @property
    def names(self) -> tuple[str, ...]:
        return (self.arm,)

    def checks(self, case: Case) -> list[Check]:
        rule, rival = f"people prefer it to {self.arm}", rival_of(case.report, self.arm)
        if rival is None or (self.arm == PROD and rival == case.arm.arm):
            return [_incumbent(rule, case)]
        if rival == case.arm.arm:
            return [Check(rule=rule, ruling=Ruling.FAILED, detail="this is the arm to beat: nothing beats itself")]
        told = case.report.rated(case.arm.arm, rival, case.where)
        if told is None:
            detail = f"no closed campaign has rated it beside {rival} on these items and this deployment (`dabt rate`)"
            return [Check(rule=rule, ruling=Ruling.UNDECIDED, detail=detail)]
        rate, alpha = told.win_rate, "none" if told.alpha is None else f"{told.alpha:.3f}"
        detail = (
            f"win rate {rate.value:.3f} [{rate.low:.3f}, {rate.high:.3f}] over {counted(rate.n, rate.clusters)}; "
            f"{'its low end' if self.judge_by == 'low' else 'it'} must reach {self.value:.3f}; {told.votes} votes of "
            f"{told.raters} raters, and {self.votes} are asked for; alpha {alpha}"
        )
        if self.agreement is not None:
            detail += f", and {self.agreement:.3f} is asked for"
        agreed = self.agreement is None or (told.alpha is not None and told.alpha >= self.agreement)
        enough = told.votes >= self.votes and agreed
        ruling = _reached(rate, self.value, self.judge_by) if enough else Ruling.UNDECIDED
        return [Check(rule=rule, ruling=ruling, detail=detail)]


class Safety(OnItems):
    """The task's safety figure reaches `value`. A task that declares none passes, and the check says so."""

    rule: Literal["safety"]
    value: Share
    judge_by: JudgeBy = "low"

    def checks(self, case: Case) -> list[Check]:
        metric = case.report.safety_metric
        if metric is None:
            return [Check(rule="safety", ruling=Ruling.PASSED, detail="the task declares no safety figure")]
        return [_reaches("safety", metric, self.value, self.judge_by, case.arm)]


class FewFailures(OnItems):
    """The true share of failures of a figure that stands for safety is shown to be at most `at_most`: its exact upper
    bound is (`evals/statistics/exact.py`). A larger share that was seen rejects; too few items are undecided."""

    rule: Literal["failures"]
    metric: str = ""
    """The report's safety figure unless named."""
    at_most: Annotated[float, Field(gt=0.0, lt=1.0)]

    def checks(self, case: Case) -> list[Check]:
        metric = self.metric or case.report.safety_metric
        rule = f"failures of {metric}"
        if metric is None:
            return [Check(rule="failures", ruling=Ruling.PASSED, detail="the task declares no safety figure")]
        failures = case.arm.failures.get(metric)
        if failures is None:
            detail = f"no item gives {metric} as a yes or a no; its failures cannot be counted"
            return [Check(rule=rule, ruling=Ruling.FAILED, detail=detail)]
        of = f"{failures.n} clusters" if failures.clustered else f"{failures.n} items"
        detail = (
            f"{failures.count} of {of}, so at most {failures.at_most:.1%} (exact, 95 %); {self.at_most:.1%} is allowed"
        )
        if failures.count / failures.n > self.at_most:
            return [Check(rule=rule, ruling=Ruling.FAILED, detail=detail)]
        shown = failures.at_most <= self.at_most
        detail += "" if shown else f", which takes {items_for(self.at_most)} without a failure"
        return [Check(rule=rule, ruling=_enough(shown), detail=detail)]


class TimesAnArm(OnItems):
    """The candidate takes at most `times` what `arm` does."""

    rule: str
    times: float = Field(gt=0.0)
    arm: str = "base"

    @property
    def names(self) -> tuple[str, ...]:
        return (self.arm,)

    def checks(self, case: Case) -> list[Check]:
        label = rival_of(case.report, self.arm)
        if label is None:
            return [_incumbent(self.rule, case)]
        return self.against(case, next((arm for arm in case.report.arms if arm.arm == label), None))

    def against(self, case: Case, rival: ArmResult | None) -> list[Check]:
        """`rival` is None where it was not measured."""
        raise NotImplementedError


class Latency(TimesAnArm):
    """p95 latency is at most `times` that of `arm`."""

    rule: Literal["latency"]

    def against(self, case: Case, rival: ArmResult | None) -> list[Check]:
        if rival is None:
            detail = f"'{self.arm}' was not measured: add that arm, or take it out of the policy"
            return [Check(rule="latency", ruling=Ruling.UNDECIDED, detail=detail)]
        own, other = (arm.deployment or case.report.deployment for arm in (case.arm, rival))
        if own != other:
            detail = f"{case.arm.arm} and {self.arm} answered on different deployments, whose seconds are not compared"
            return [Check(rule="latency", ruling=Ruling.UNDECIDED, detail=detail)]
        bound = self.times * rival.latency_p95
        most = f"{self.times:g} x {self.arm} ({rival.latency_p95:.3f} s) = {bound:.3f} s"
        detail = f"p95 {case.arm.latency_p95:.3f} s; at most {most}"
        return [Check(rule="latency", ruling=_ruling(case.arm.latency_p95 <= bound), detail=detail)]


class CostRatio(TimesAnArm):
    """A request costs at most `times` as much as one of `arm`, by the evaluation's prices.

    Undecided without prices, where a part of the costs is unknown, and on a slice: costs are of all items.
    """

    rule: Literal["cost"]

    def against(self, case: Case, rival: ArmResult | None) -> list[Check]:
        prices = case.report.prices
        if rival is None or prices is None or not (case.arm.cost and rival.cost):
            cure = "name prices in the evaluation (prices: prices.yaml)"
            why = "costs are of all items, and not of a slice" if case.where else f"there are no costs: {cure}"
            detail = why if rival else f"'{self.arm}' was not measured: add that arm, or take it out of the policy"
            return [Check(rule="cost", ruling=Ruling.UNDECIDED, detail=detail)]
        if missing := dict.fromkeys([*case.arm.cost.unknown, *rival.cost.unknown]):
            return [Check(rule="cost", ruling=Ruling.UNDECIDED, detail=f"not all is known: {'; '.join(missing)}")]
        own, other = (1000 * arm.cost.of_request(prices.requests) for arm in (case.arm, rival) if arm.cost)
        most = f"{self.times:g} x {self.arm} ({other:.4g} {prices.currency})"
        detail = f"1,000 requests cost {own:.4g} {prices.currency}; at most {most}"
        return [Check(rule="cost", ruling=_ruling(own <= self.times * other), detail=detail)]


class Items(OnItems):
    """The deciding figure has at least so many items, in the arm and in each comparison: the file may have more."""

    rule: Literal["items"]
    at_least: int = Field(ge=1)

    def checks(self, case: Case) -> list[Check]:
        metric = case.report.metric
        counts = [case.arm.metrics[metric].n, *(claim.comparison.n for claim in case.claims if claim.comparison)]
        detail = f"{metric} has {min(counts)} items; at least {self.at_least} are asked for"
        return [Check(rule="items", ruling=_enough(min(counts) >= self.at_least), detail=detail)]


class Clusters(OnItems):
    """Where items belong together, there are at least so many clusters: fewer give no bound that can be trusted."""

    rule: Literal["clusters"]
    at_least: int = Field(default=20, ge=2)

    def checks(self, case: Case) -> list[Check]:
        report = case.report
        figures = [case.arm.metrics.get(name) for name in (report.metric, report.safety_metric) if name]
        counted_in = (*figures, *(claim.comparison for claim in case.claims))
        counts = [counted.clusters for counted in counted_in if counted and counted.clusters]
        if not counts:
            return []  # every item stands for itself
        detail = f"{min(counts)} clusters of items that belong together; at least {self.at_least} are asked for"
        return [Check(rule="clusters", ruling=_enough(min(counts) >= self.at_least), detail=detail)]


class Errors(OnItems):
    """At most this share of the deciding figure's answers failed (they are scored zero), of the arm and of its rivals.

    The arm's own failures reject it. A rival's make the rival's figure worthless, and nobody wins by them.
    """

    rule: Literal["errors"]
    at_most: Share = 0.0

    def checks(self, case: Case) -> list[Check]:
        metric = case.report.metric
        own, detail = self._failed(case.arm, metric)
        checks = [Check(rule="errors", ruling=_ruling(own <= self.at_most), detail=detail)]
        for rival in case.rivals:
            share, detail = self._failed(rival, metric)
            if share > self.at_most:
                detail += "; such a figure says nothing: see to the endpoint, and run the evaluation again"
                checks.append(Check(rule=f"errors of {rival.arm}", ruling=Ruling.UNDECIDED, detail=detail))
        return checks

    def _failed(self, arm: ArmResult, metric: str) -> tuple[float, str]:
        n, of = arm.metrics[metric].answers, "answers" if arm.metrics[metric].repeats else "items"
        return arm.errors / n, f"{arm.errors} of {n} {of} failed; at most {self.at_most:.1%} may"


class Unscored(OnItems):
    """At most this share of the answers has no figure where one decides, of the arm and of its rivals.

    Who is unscored where it would have lost looks better than it is: nothing is decided by what is left.
    """

    rule: Literal["unscored"]
    at_most: Share = 0.0

    def checks(self, case: Case) -> list[Check]:
        checks = []
        deciding = dict.fromkeys(name for name in (case.report.metric, case.report.safety_metric) if name)
        for arm in (case.arm, *case.rivals):
            for name in deciding:
                reasons = arm.unscored.get(name, {})
                without = sum(reasons.values())
                if not without:
                    continue
                whole = without + (arm.metrics[name].answers if name in arm.metrics else 0)
                told = "; ".join(f"{count} x {reason}" for reason, count in reasons.items())
                detail = f"{without} of {whole} answers have no {name} ({told}); at most {self.at_most:.1%} may"
                ruling = _enough(without / whole <= self.at_most)
                rule = "unscored" if arm is case.arm else f"unscored of {arm.arm}"
                checks.append(Check(rule=rule, ruling=ruling, detail=detail))
        return checks


Rule = Annotated[
    Beats
    | NotWorse
    | AtLeast
    | People
    | Safety
    | FewFailures
    | Latency
    | CostRatio
    | Items
    | Clusters
    | Errors
    | Unscored,
    Field(discriminator="rule"),
]


def _incumbent(rule: str, case: Case) -> Check:
    """There is nothing to compare with: the check passes and says why."""
    detail = f"{PROD} serves nothing yet" if case.report.prod is None else f"this is what {PROD} serves"
    return Check(rule=rule, ruling=Ruling.PASSED, detail=detail)


def _reaches(name: str, metric: str, value: float, judge_by: JudgeBy, arm: ArmResult) -> Check:
    figure = arm.metrics.get(metric)
    if figure is None:
        detail = f"no item gives {metric}; it cannot be shown to reach {value:.3f}"
        return Check(rule=name, ruling=Ruling.FAILED, detail=detail)
    by = "its low end" if judge_by == "low" else "it"
    figures = f"{metric} {figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"
    detail = f"{figures} over {counted(figure.n, figure.clusters)}; {by} must reach {value:.3f}"
    return Check(rule=name, ruling=_reached(figure, value, judge_by), detail=detail)


def _reached(figure: Interval, value: float, judge_by: JudgeBy) -> Ruling:
    if figure.value < value:
        return Ruling.FAILED
    return _enough(judge_by == "value" or figure.low >= value)


def _enough(shown: bool) -> Ruling:
    return Ruling.PASSED if shown else Ruling.UNDECIDED


def _ruling(passed: bool) -> Ruling:
    return Ruling.PASSED if passed else Ruling.FAILED
