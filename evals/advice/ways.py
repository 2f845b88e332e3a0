"""Which way of answering the figures speak for (prompt, retrieval, training or both), what it costs, and who falls
behind. Each function is the remark of one rule; `rules.py` has them in their order. Pure.
"""

from __future__ import annotations

from collections.abc import Callable

from evals.cost.tradeoff import break_evens as crossings
from evals.cost.tradeoff import money, per_request, rounded, steps
from evals.report.advice import Findings, recommend
from evals.solvers.oracle import Oracle
from lifecycle.report import ArmResult, Comparison, Interval
from lifecycle.version import VersionSpec

FORMAT = ("valid_json", "fits_schema", "labelled", "tool_names")
"""Figures of form alone: whether an answer is of the kind that was asked for, right or wrong."""
CHEAPER = 1.5
"""How many times cheaper an arm that is about as good must be to be worth a word."""
THOUSAND = 1000


def prompted(spec: VersionSpec) -> bool:
    """With instructions or worked examples, and nothing else."""
    return bool(spec.prompt.system or spec.prompt.shots) and not spec.trained and not spec.retrieves


def prompt_first(findings: Findings) -> list[str]:
    """Fires where something was trained or indexed and no arm has a prompt alone."""
    specs = findings.specs.values()
    if any(map(prompted, specs)) or not any(spec.trained or spec.retrieves for spec in specs):
        return []
    return [
        "No arm has only a prompt: a system text and worked examples cost nothing to train and may be enough. Add such "
        "an arm, and see what training or retrieval adds to it."
    ]


def facts(findings: Findings) -> list[str]:
    """Fires where retrieval alone tells itself from the best arm without it and without training, either way."""
    reads = best(findings, lambda spec: spec.retrieves and not spec.trained)
    bare = best(findings, lambda spec: not spec.retrieves and not spec.trained)
    if reads is None or bare is None:
        return []
    gap = findings.against(reads.arm, bare.arm)
    if right_passages_given(findings):
        return [_ceiling(reads.arm, findings.against(bare.arm, reads.arm))]
    if gap.low > 0:
        return [
            f"Retrieval brings what the model does not know: {reads.arm} is {delta(gap)} against {bare.arm}. Facts "
            "belong into the index, where they can change without training."
        ]
    if gap.high < 0:
        return [
            f"Passages hurt here: {reads.arm} is {delta(gap)} against {bare.arm}. Look at what the index finds "
            "(dabt measure-index) before anything is trained on it."
        ]
    return []


def right_passages_given(findings: Findings) -> bool:
    """Whether arms without an index were given the passages that are right: then they are no arms without passages."""
    return Oracle.look in findings.report.provisional


def _ceiling(reads: str, gap: Comparison) -> str:
    return (
        f"Given the right passages and no other, {gap.arm} is {delta(gap)} against {reads}, which finds its own: no "
        "better retriever gains more than that."
    )


def form(findings: Findings) -> list[str]:
    """Fires for each figure of form whose interval of the best trained arm is above that of the best untrained."""
    said = []
    for name in FORMAT:
        trained = best(findings, lambda spec: spec.trained, name)
        plain = best(findings, lambda spec: not spec.trained, name)
        if trained and plain and trained.metrics[name].low > plain.metrics[name].high:
            said.append(
                f"Training brought the form: {name} is {interval(trained.metrics[name])} with {trained.arm}, and "
                f"{interval(plain.metrics[name])} with {plain.arm}, the best without it."
            )
    return said


def hybrid(findings: Findings) -> list[str]:
    """Fires for a hybrid that is better than every arm with one of its two parts."""
    said = []
    parts = [arm for arm in findings.report.arms if _is_part(findings.specs[arm.arm])]
    for arm in findings.report.arms:
        spec = findings.specs[arm.arm]
        if not (spec.trained and spec.retrieves) or {findings.specs[of.arm].trained for of in parts} != {True, False}:
            continue
        gaps = [findings.against(arm.arm, part.arm) for part in parts]
        if all(gap.low > 0 for gap in gaps):
            told = " and ".join(f"{gap.against} ({delta(gap)})" for gap in gaps)
            said.append(f"{arm.arm} is better than each of its parts alone: {told}. It is the one case for both.")
    return said


def behind(findings: Findings) -> list[str]:
    """Fires for slices, thin ones aside, whose whole interval is below the arm's figure on all items, or on which it
    loses to the baseline."""
    arm = recommend(findings) or findings.best
    whole = findings.figure(arm.arm).value
    said = []
    for part in findings.report.slices:
        inside = findings.report.within(part)
        figure = inside.result(arm.arm).metrics.get(findings.report.metric)
        gap = None if arm.arm == findings.baseline else inside.difference(arm.arm, findings.baseline)
        if part.thin or figure is None:
            continue
        if gap and gap.high < 0:
            said.append(f"{part} ({interval(figure)}; {delta(gap)} against {findings.baseline})")
        elif figure.high < whole:
            said.append(f"{part} ({interval(figure)})")
    if not said:
        return []
    return [
        f"{arm.arm} falls behind on {'; '.join(said)}, and has {whole:.3f} over all: add examples or passages for "
        "these, and a rule on them to the policy. Each interval is of 95 % by itself."
    ]


def price_of_points(findings: Findings) -> list[str]:
    """Fires for each step along the Pareto line of quality and cost."""
    report, said = findings.report, []
    for step in steps(report):
        assert report.prices is not None, "only arms with a cost have a step"
        ends = [
            money(THOUSAND * per_request(report, arm), report.prices.currency) for arm in (step.better, step.cheaper)
        ]
        ratio = "and the other costs nothing" if step.times is None else f"at {step.times:.3g} times the cost"
        chance = "" if step.gain.low > 0 else " The difference may be chance."
        said.append(
            f"{step.better.arm} is {100 * step.gain.delta:.1f} points better than {step.cheaper.arm} "
            f"({delta(step.gain)}) {ratio}: {ends[0]} against {ends[1]} for 1,000 requests.{chance}"
        )
    return said


def cheapest(findings: Findings) -> list[str]:
    """Fires where an arm that passes and is not significantly worse than the best costs `CHEAPER` times less than the
    arm to ship."""
    ship, prices = recommend(findings), findings.report.prices
    able = [arm for arm in findings.judged if arm.cost and findings.near(arm.arm) and findings.passed(arm.arm)]
    if ship is None or prices is None or ship.cost is None or not able:
        return []
    least = min(able, key=lambda arm: per_request(findings.report, arm))
    costs = [per_request(findings.report, arm) for arm in (least, ship)]
    if least.arm == ship.arm or CHEAPER * costs[0] > costs[1]:
        return []
    low, high = (money(THOUSAND * cost, prices.currency) for cost in costs)
    return [
        f"{least.arm} is about as good as {ship.arm} and costs less: {low} against {high} for 1,000 requests. "
        f"{ship.arm} is named because it is simpler to keep up."
    ]


def break_even(findings: Findings) -> list[str]:
    """Fires where the arm to ship begins dearer than the baseline and becomes the cheaper."""
    ship = recommend(findings)
    return [
        f"{even.later} pays for itself from about {rounded(even.requests)} requests on: it begins dearer than "
        f"{even.first}, and each request costs less."
        for even in crossings(findings.report)
        if ship is not None and (even.first, even.later) == (findings.baseline, ship.arm)
    ]


def best(findings: Findings, wanted: Callable[[VersionSpec], bool], metric: str = "") -> ArmResult | None:
    """By the deciding figure, or another; of equals the simplest."""
    name = metric or findings.report.metric
    arms = [arm for arm in findings.report.arms if wanted(findings.specs[arm.arm]) and name in arm.metrics]
    return min(arms, key=lambda arm: (-arm.metrics[name].value, findings.rank(arm.arm)), default=None)


def interval(figure: Interval) -> str:
    return f"{figure.value:.3f} [{figure.low:.3f}, {figure.high:.3f}]"


def delta(gap: Comparison) -> str:
    return f"{gap.delta:+.3f} [{gap.low:+.3f}, {gap.high:+.3f}]"


def _is_part(spec: VersionSpec) -> bool:
    return spec.trained != spec.retrieves
