"""The advice: which arm to ship and why, in words, every claim with its figures. Pure.

`evals/advice/rules.py` has the table of all rules, with their sources.

The rule: the simplest arm that passes the policy among those that are not significantly worse than the best. Simple
means little to keep up: a prompt before retrieval, retrieval before training, training before both.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from evals.gate.policy import Policy, ruling_of
from evals.statistics.exact import upper_bound
from evals.statistics.intervals import items_from_interval
from evals.statistics.repeats import items_for
from lifecycle.repeats import Repeats
from lifecycle.report import ArmResult, Comparison, Interval, Report
from lifecycle.verdict import Check, Ruling
from lifecycle.version import VersionSpec

SMALL_TRAINING = 1_000
"""Training rows below which more data is the first thing to try."""
MANY_CUT = 0.03
"""Share of an arm's answers that may be cut by their limit before it is worth a word."""


@dataclass(frozen=True)
class Findings:
    """A report (its `advice` is not looked at), the arms' recipes, and the policy's checks of all but the baseline."""

    report: Report
    specs: Mapping[str, VersionSpec]
    checks: Mapping[str, tuple[Check, ...]]
    policy: Policy

    def passed(self, arm: str) -> bool:
        return ruling_of(self.checks[arm]) is Ruling.PASSED

    def figure(self, arm: str) -> Interval:
        return self.report.result(arm).metrics[self.report.metric]

    def against(self, arm: str, other: str) -> Comparison:
        difference = self.report.difference(arm, other)
        assert difference is not None, "every pair of arms is compared"
        return difference

    @property
    def baseline(self) -> str:
        """The arm that was not judged."""
        return next(arm.arm for arm in self.report.arms if arm.arm not in self.checks)

    @property
    def judged(self) -> list[ArmResult]:
        """The arms that could ship, simplest first."""
        arms = [arm for arm in self.report.arms if arm.arm in self.checks]
        return sorted(arms, key=lambda arm: self.rank(arm.arm))

    @property
    def best(self) -> ArmResult:
        """Of all arms, the baseline too; of equals the simplest."""
        return min(self.report.arms, key=lambda arm: (-self.figure(arm.arm).value, self.rank(arm.arm)))

    def rank(self, arm: str) -> tuple[int, ...]:
        return self.specs[arm].upkeep

    def near(self, arm: str) -> bool:
        """Not significantly worse than the best: the interval of the difference reaches 0."""
        return arm == self.best.arm or self.against(arm, self.best.arm).high >= 0


def recommend(findings: Findings) -> ArmResult | None:
    """The arm to ship by the rule above; None when none that passes is near the best."""
    able = (arm for arm in findings.judged if findings.near(arm.arm) and findings.passed(arm.arm))
    return next(able, None)


def _recommendation(findings: Findings) -> list[str]:
    report, best, ship = findings.report, findings.best, recommend(findings)
    if ship is None:
        return [_nothing_to_ship(findings)]
    words = f"Ship {ship.arm} ({ship.ref}): {report.metric} {_interval(findings.figure(ship.arm))}"
    words += f", {_delta(findings.against(ship.arm, findings.baseline))} against {findings.baseline}"
    words += "; it passes the policy."
    if ship.arm == best.arm:
        simpler = [arm.arm for arm in findings.judged if findings.rank(arm.arm) < findings.rank(ship.arm)]
        if simpler:
            words += f" It is the best arm, and nothing simpler ({', '.join(simpler)}) comes near it and passes."
        return [words]
    return [f"{words} {_beside_the_best(findings, ship.arm)}"]


def _beside_the_best(findings: Findings, ship: str) -> str:
    """Why another arm ships than the best, whose lead may be chance. The best may be as simple: the baseline, which is
    not judged, or an arm that does not pass."""
    best, figure = findings.best.arm, findings.figure(findings.best.arm).value
    if figure == findings.figure(ship).value:
        return f"{best} has the same figure and is as simple to keep up: nothing measured here speaks for a change."
    words = f"{best} has the highest figure ({figure:.3f}), but its lead of {_delta(findings.against(best, ship))}"
    simpler = findings.rank(ship) < findings.rank(best)
    return f"{words} may be chance{f', and {ship} is simpler to keep up' if simpler else ''}."


def _nothing_to_ship(findings: Findings) -> str:
    best = findings.best
    if best.arm not in findings.checks:
        return (
            f"Ship nothing new: no arm is better than {best.arm} "
            f"({findings.report.metric} {_interval(findings.figure(best.arm))})."
        )
    passing = [arm for arm in findings.judged if findings.passed(arm.arm)]
    checks = findings.checks[best.arm]
    lacking = "; ".join(f"{check.rule}: {check.detail}" for check in checks if not check.passed)
    ruled = "fails the policy" if ruling_of(checks) is Ruling.FAILED else "is neither passed nor rejected by the policy"
    words = f"Ship nothing yet: {best.arm}, the best arm, {ruled} ({lacking})"
    if passing:
        loss = findings.against(passing[0].arm, best.arm)
        return f"{words}, and {passing[0].arm}, which passes, is significantly worse than it ({_delta(loss)})."
    return f"{words}, and no other arm passes."


def _seen(findings: Findings) -> list[str]:
    """How fine the gate's eye was for the arm that matters most: a lead below this was left to luck."""
    arm = recommend(findings) or findings.best
    limits = [
        f"{check.rule} from {check.sees:+.3f} on"
        for check in findings.checks.get(arm.arm, ())
        if check.sees is not None
    ]
    if not limits:
        return []
    return [f"What this run could see of {arm.arm}, by its true difference and with 80 % power: {', '.join(limits)}."]


def _tries(findings: Findings) -> list[str]:
    """How often these items have decided, long before they may no more. A look spends nothing."""
    if findings.report.provisional:
        return []
    number, budget = findings.report.tries.number, findings.policy.tries
    if number > budget:
        return [
            f"This is try {number} on these items, and the policy allows {budget}: nothing is decided on them any "
            "more. Fresh items renew it."
        ]
    words = f"This is try {number} of {budget} on these items"
    if 2 * number < budget:
        return [f"{words}: each is held to a stricter level than the one before."] if number > 1 else []
    left = budget - number
    return [f"{words}: {left or 'none'} {'is' if left < 2 else 'are'} left. Make fresh items; they renew it."]


def _worth_of_training(findings: Findings) -> list[str]:
    """The best trained arm against the best arm without training."""
    trained = _best_of(findings, lambda spec: spec.trained)
    untrained = _best_of(findings, lambda spec: not spec.trained)
    if trained is None or untrained is None:
        return []
    gap = findings.against(trained.arm, untrained.arm)
    if gap.low > 0:
        return [f"Training pays here: {trained.arm} is {_delta(gap)} against {untrained.arm}, the best without it."]
    if gap.high < 0:
        return [
            f"Training does not pay here: {trained.arm} is {_delta(gap)} against {untrained.arm}, the best without it."
        ]
    return [
        f"Training is not shown to pay here: {trained.arm} is {_delta(gap)} against {untrained.arm}, "
        "which needs no training; try a better prompt or passages first."
    ]


def _hybrid(findings: Findings) -> list[str]:
    """A hybrid can lose to its own parts (Ovadia et al. 2023, arXiv 2312.05934, Table 2)."""
    remarks = []
    passages = _of(findings, lambda spec: spec.retrieves and not spec.trained)
    trained = _of(findings, lambda spec: spec.trained and not spec.retrieves)
    for hybrid in _of(findings, lambda spec: spec.retrieves and spec.trained):
        parts = [*passages, *(arm for arm in trained if _made_alike(findings, arm, hybrid))]
        if lost := [gap for part in parts if (gap := findings.against(hybrid.arm, part.arm)).high < 0]:
            told = " and ".join(f"{gap.against} ({_delta(gap)})" for gap in lost)
            remarks.append(
                f"{hybrid.arm} loses to {told}: what was trained without passages in its prompts can stop reading "
                "them. Train it on prompts with passages, or ship one part."
            )
    return remarks


def _cost(findings: Findings) -> list[str]:
    """What the most exact arms cost, when they differ in speed or prompt length by half or more.

    Of the evaluation's own deployment: seconds of different ones are not compared.
    """
    here = findings.report.deployment
    near = [arm for arm in findings.judged if findings.near(arm.arm) and (arm.deployment or here) == here]
    if len(near) < 2:
        return []
    quick, slow = (choose(near, key=lambda arm: arm.latency_p95) for choose in (min, max))
    if slow.latency_p95 < 1.5 * quick.latency_p95:
        return []
    return [
        f"Among the arms that are about as good, {quick.arm} is the quickest: p95 {quick.latency_p95:.2f} s and "
        f"{quick.prompt_tokens:.0f} prompt tokens, against {slow.latency_p95:.2f} s and {slow.prompt_tokens:.0f} "
        f"of {slow.arm}."
    ]


def _safety(findings: Findings) -> list[str]:
    """A perfect figure is no proof: no miss in n items leaves a rate of misses of nearly 3/n."""
    metric = findings.report.safety_metric
    if metric is None:
        return []
    figures = {arm.arm: arm.metrics[metric] for arm in findings.judged if metric in arm.metrics}
    perfect = {arm: figure for arm, figure in figures.items() if figure.value == 1.0}
    if not perfect:
        worst = ", ".join(f"{arm} {_interval(figure)}" for arm, figure in figures.items())
        return [f"No arm is without a miss on {metric}: {worst}."]
    n = min(figure.n for figure in perfect.values())
    told = [findings.report.result(arm).failures.get(metric) for arm in perfect]
    bound = max([upper_bound(0, n), *(failures.at_most for failures in told if failures)])
    return [
        f"No miss on {metric} in {n} items ({', '.join(perfect)}) bounds the true rate of misses only at "
        f"{bound:.1%}: watch it after release."
    ]


def _items(findings: Findings) -> list[str]:
    """When the first two arms cannot be told apart and the interval is wider than a difference worth finding."""
    report, worth = findings.report, findings.policy.worth
    order = sorted(report.arms, key=lambda arm: findings.figure(arm.arm).value, reverse=True)
    gap = findings.against(order[0].arm, order[1].arm)
    width = gap.high - gap.low
    if gap.low > 0 or width / 2 <= worth:
        return []
    needed = items_from_interval(width, gap.n, worth)
    words = (
        f"{gap.n} items are too few to order {order[0].arm} and {order[1].arm}: to find a difference of "
        f"{worth * 100:g} points with 80 % power takes about {_rounded_up(needed):,}"
    )
    if (several := gap.repeats) and several.se > 0:
        fewer = items_for(worth, gap.n * several.se_at(answers=2) ** 2)
        words += f" with {several.per_item} answers to each, or {_rounded_up(fewer):,} with {2 * several.per_item}"
    return [f"{words}."]


def _sampling(findings: Findings) -> list[str]:
    """What more answers or more items would buy, of the first two arms."""
    order = sorted(findings.report.arms, key=lambda arm: findings.figure(arm.arm).value, reverse=True)
    gap = findings.against(order[0].arm, order[1].arm)
    several = gap.repeats
    if several is None or several.se == 0:
        return []
    more, items = several.se_at(answers=2), several.se_at(items=2)
    return [
        f"Of the variance of the difference between {gap.arm} and {gap.against}, {several.share:.0%} is the sampling "
        f"of answers: its standard error of {several.se:.4f} would be {more:.4f} with twice the answers to each item, "
        f"and {items:.4f} with twice as many items."
    ]


def _noise(findings: Findings) -> list[str]:
    floor = findings.report.noise_floor
    if floor == 0:
        return []
    return [
        f"Asked a second time, the baseline changed {floor:.1%} of its answers: a smaller difference between arms may "
        "be no more than that."
    ]


def _errors(findings: Findings) -> list[str]:
    failed = [f"{arm.arm} {arm.errors}" for arm in findings.report.arms if arm.errors]
    if not failed:
        return []
    return [f"Requests failed and were scored zero ({', '.join(failed)}, of {_asked(findings.report)})."]


def _cut(findings: Findings) -> list[str]:
    """Answers that are cut say what the limit is worth, not what the arm is."""
    report = findings.report
    many = [
        f"{arm.arm} {arm.cut}"
        for arm in report.arms
        if arm.cut > MANY_CUT * report.n_items * (several.per_item if (several := _several(report, arm)) else 1)
    ]
    if not many:
        return []
    return [
        f"Answers were cut by their limit of tokens and scored as they stand ({', '.join(many)}, of {_asked(report)}): "
        "raise max_tokens (of an arm's decoding or the task's solver; max_gen_toks in lm-eval's tasks), or find out "
        "why the model does not end."
    ]


def _training_rows(findings: Findings) -> list[str]:
    rows = findings.report.n_train
    if rows is None or rows >= SMALL_TRAINING:
        return []
    return [
        f"Training saw {rows:,} training examples; under about {SMALL_TRAINING:,}, more or better examples are the "
        "first thing to try before another rank or method."
    ]


def _several(report: Report, arm: ArmResult) -> Repeats | None:
    return arm.metrics[report.metric].repeats


def _asked(report: Report) -> str:
    times = f", asked {report.repeats} times where answers are sampled" if report.repeats > 1 else " each"
    return f"{report.n_items} items{times}"


def _rounded_up(n: int) -> int:
    """Two digits are all that an estimate from one interval can bear."""
    unit = int(10 ** max(len(str(n)) - 2, 0))
    return -(-n // unit) * unit


def _of(findings: Findings, wanted: Callable[[VersionSpec], bool]) -> list[ArmResult]:
    """Simplest first; as the report has them among those that are equally simple."""
    arms = [arm for arm in findings.report.arms if wanted(findings.specs[arm.arm])]
    return sorted(arms, key=lambda arm: findings.rank(arm.arm))


def _made_alike(findings: Findings, one: ArmResult, other: ArmResult) -> bool:
    """Trained into the same kind of artifact."""
    kinds = {made[0] for arm in (one, other) if (made := findings.specs[arm.arm].artifact)}
    return len(kinds) == 1


def _best_of(findings: Findings, wanted: Callable[[VersionSpec], bool]) -> ArmResult | None:
    """Of equals the simplest."""
    return max(_of(findings, wanted), key=lambda arm: findings.figure(arm.arm).value, default=None)


def _interval(figure: Interval) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def _delta(gap: Comparison) -> str:
    return f"{gap.delta:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


REMARKS: Mapping[str, Callable[[Findings], list[str]]] = {
    "ship": _recommendation,
    "power": _seen,
    "tries": _tries,
    "worth-of-training": _worth_of_training,
    "hybrid-loses": _hybrid,
    "quickest": _cost,
    "safety": _safety,
    "items": _items,
    "sampling": _sampling,
    "noise": _noise,
    "errors": _errors,
    "cut": _cut,
    "few-examples": _training_rows,
}
"""Rule → its remark: a sentence or two each time that it fires."""
