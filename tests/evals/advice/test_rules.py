"""Each rule fires at its boundary and not beside it, and says what it stands on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from evals.advice.rules import RULES, fired, with_advice
from evals.gate.policy import Policy
from evals.report.advice import REMARKS, Findings
from evals.solvers.oracle import Oracle
from lifecycle.costs import Cost, PricesUsed
from lifecycle.repeats import Repeats
from lifecycle.report import Interval, Report, Slice, Tries
from lifecycle.verdict import Check, Ruling
from lifecycle.version import Prompt, VersionSpec, digest_of
from tests.evals.conftest import RECIPES, ReportMaker

POLICY = Policy.model_validate({"rules": [{"rule": "beats"}]})
OK = Check(rule="beats base", ruling=Ruling.PASSED, detail="yes")
PERFECT = Interval(value=1.0, low=0.9, high=1.0, n=40)
PLAIN = {"base": 0.1, "few-shot": 0.5, "rag": 0.6, "adapter": 0.9}
Make = Callable[[ReportMaker], "Findings"]


def findings(
    report: Report, specs: dict[str, VersionSpec] | None = None, check: Check = OK, policy: Policy = POLICY
) -> Findings:
    arms = [arm.arm for arm in report.arms]
    known = {arm: RECIPES[arm] for arm in arms if arm in RECIPES} | (specs or {})
    return Findings(report, known, {arm: (check,) for arm in arms if arm != "base"}, policy)


def says(case: Findings) -> set[str]:
    return {rule.name for rule, _ in fired(case)}


def with_arms(report: Report, **changes: dict[str, Any]) -> Report:
    """`few_shot={"cut": 3}` changes that arm."""
    arms = [arm.model_copy(update=changes.get(arm.arm.replace("-", "_"), {})) for arm in report.arms]
    return report.model_copy(update={"arms": tuple(arms)})


def gap(report: Report, arm: str, against: str, low: float, high: float) -> Report:
    """With this interval between the two arms."""
    pairs = [
        pair.model_copy(update={"delta": (low + high) / 2, "low": low, "high": high})
        if (pair.arm, pair.against) == (arm, against)
        else pair
        for pair in report.comparisons
    ]
    return report.model_copy(update={"comparisons": tuple(pairs)})


def formed(make: ReportMaker, low: float) -> Findings:
    """The adapter's interval of valid_json begins at `low`; that of few-shot ends at 0.8."""
    report = make(PLAIN)
    figures = {"few-shot": (0.6, 0.8), "adapter": (low, 1.0)}
    arms = [
        arm.model_copy(
            update={"metrics": arm.metrics | {"valid_json": Interval(value=0.9, low=ends[0], high=ends[1], n=9)}}
        )
        if (ends := figures.get(arm.arm))
        else arm
        for arm in report.arms
    ]
    return findings(report.model_copy(update={"arms": tuple(arms)}))


def priced(make: ReportMaker, values: dict[str, float], costs: dict[str, tuple[float, float]]) -> Findings:
    """Arm → what an item costs, and what is paid once."""
    report = make(values, prices=PricesUsed(digest=digest_of("p"), currency="USD"))
    arms = [
        arm.model_copy(
            update={"cost": Cost(by="tokens", item=item, low=item, high=item, once={"training": once} if once else {})}
        )
        for arm in report.arms
        for item, once in (costs[arm.arm],)
    ]
    return findings(report.model_copy(update={"arms": tuple(arms)}))


def sliced(make: ReportMaker, value: float, *, thin: bool = False) -> Findings:
    """Arabic, where the adapter has `value` ± 0.05 and the base 0.1; over all the adapter has 0.9."""
    inside = make({"base": 0.1, "adapter": value}, half=0.05)
    part = Slice(where={"language": "ar"}, n=50, thin=thin, arms=inside.arms, comparisons=inside.comparisons)
    return findings(make({"base": 0.1, "adapter": 0.9}, slices=(part,)))


def latencies(make: ReportMaker, slow: float) -> Findings:
    report = make({"base": 0.1, "few-shot": 0.9, "adapter": 0.9})
    return findings(with_arms(report, few_shot={"latency_p95": slow}))


def repeated(make: ReportMaker, se: float) -> Findings:
    """The first two arms were asked several times, and their difference has this standard error."""
    report = make({"base": 0.1, "adapter": 0.9})
    several = Repeats(per_item=5, answers=2000, se=se, sampling=se / 2)
    pair = report.comparisons[0].model_copy(update={"repeats": several})
    return findings(report.model_copy(update={"comparisons": (pair,)}))


BARE = {"base": VersionSpec(base=digest_of("base"))}
BOTH = {"base": 0.1, "rag": 0.5, "adapter": 0.6, "hybrid": 0.9}
CASES: dict[str, tuple[Make, Make | None]] = {
    # rule → at its boundary, and just beside it; None where it always fires.
    "ship": (lambda make: findings(make(PLAIN)), None),
    "power": (
        lambda make: findings(make(PLAIN), check=OK.model_copy(update={"sees": 0.05})),
        lambda make: findings(make(PLAIN)),
    ),
    "tries": (
        lambda make: findings(make(PLAIN, tries=Tries(number=2))),
        lambda make: findings(make(PLAIN, tries=Tries(number=1))),
    ),
    "prompt-first": (
        lambda make: findings(make({"base": 0.1, "adapter": 0.9}), BARE),
        lambda make: findings(
            make({"base": 0.1, "adapter": 0.9}),
            {"base": VersionSpec(base=digest_of("base"), prompt=Prompt(system="Answer."))},
        ),
    ),
    "worth-of-training": (
        lambda make: findings(make({"base": 0.1, "adapter": 0.9})),
        lambda make: findings(make({"base": 0.1, "few-shot": 0.9})),
    ),
    "facts": (
        lambda make: findings(gap(make({"base": 0.1, "rag": 0.6}), "rag", "base", 0.001, 0.2)),
        lambda make: findings(gap(make({"base": 0.1, "rag": 0.6}), "rag", "base", 0.0, 0.2)),
    ),
    "form": (lambda make: formed(make, 0.801), lambda make: formed(make, 0.8)),
    "hybrid-wins": (
        lambda make: findings(gap(make(BOTH), "hybrid", "adapter", 0.001, 0.2)),
        lambda make: findings(gap(make(BOTH), "hybrid", "adapter", 0.0, 0.2)),
    ),
    "hybrid-loses": (
        lambda make: findings(gap(make(BOTH), "hybrid", "adapter", -0.2, -0.001)),
        lambda make: findings(gap(make(BOTH), "hybrid", "adapter", -0.2, 0.0)),
    ),
    "price-of-points": (
        lambda make: priced(make, {"base": 0.1, "rag": 0.11}, {"base": (1, 0), "rag": (1.1, 0)}),
        lambda make: priced(make, {"base": 0.1, "rag": 0.11}, {"base": (1, 0), "rag": (1, 0)}),
    ),
    "cheapest": (
        lambda make: priced(make, {"base": 0.1, "few-shot": 0.89, "adapter": 0.9},
                            {"base": (1, 0), "few-shot": (1.5, 0), "adapter": (1, 0)}),
        lambda make: priced(make, {"base": 0.1, "few-shot": 0.89, "adapter": 0.9},
                            {"base": (1, 0), "few-shot": (1.49, 0), "adapter": (1, 0)}),
    ),
    "break-even": (
        lambda make: priced(make, {"base": 0.1, "adapter": 0.9}, {"base": (1.0, 0), "adapter": (0.99, 5)}),
        lambda make: priced(make, {"base": 0.1, "adapter": 0.9}, {"base": (1.0, 0), "adapter": (1.0, 5)}),
    ),
    "quickest": (lambda make: latencies(make, 1.5), lambda make: latencies(make, 1.49)),
    "safety": (
        lambda make: findings(
            make({"base": 0.1, "adapter": 0.9}, safety=dict.fromkeys(["base", "adapter"], PERFECT))
        ),
        lambda make: findings(make({"base": 0.1, "adapter": 0.9})),
    ),
    "slices-behind": (lambda make: sliced(make, 0.849), lambda make: sliced(make, 0.85)),
    "items": (
        lambda make: findings(gap(make({"base": 0.1, "adapter": 0.11}), "adapter", "base", -0.051, 0.051)),
        lambda make: findings(gap(make({"base": 0.1, "adapter": 0.11}), "adapter", "base", -0.05, 0.05)),
    ),
    "sampling": (lambda make: repeated(make, 0.02), lambda make: repeated(make, 0.0)),
    "noise": (
        lambda make: findings(make(PLAIN, noise_floor=0.001)),
        lambda make: findings(make(PLAIN, noise_floor=0.0)),
    ),
    "errors": (
        lambda make: findings(with_arms(make(PLAIN), rag={"errors": 1})),
        lambda make: findings(make(PLAIN)),
    ),
    "cut": (
        lambda make: findings(with_arms(make(PLAIN, n=100), rag={"cut": 4})),
        lambda make: findings(with_arms(make(PLAIN, n=100), rag={"cut": 3})),
    ),
    "few-examples": (
        lambda make: findings(make(PLAIN, n_train=999)),
        lambda make: findings(make(PLAIN, n_train=1000)),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_at_its_boundary_and_not_beside_it(make_report, rule: str) -> None:
    at, beside = CASES[rule]
    assert rule in says(at(make_report))
    if beside is not None:
        assert rule not in says(beside(make_report))


def test_every_rule_has_its_case_and_every_remark_its_rule() -> None:
    names = [rule.name for rule in RULES]
    assert sorted(names) == sorted(CASES)
    assert len(set(names)) == len(names)
    assert set(REMARKS) <= set(names)


def test_where_the_right_passages_were_given_the_lead_is_a_ceiling_and_a_hybrid_has_no_parts(make_report) -> None:
    made = gap(gap(make_report(BOTH), "hybrid", "adapter", -0.2, -0.001), "rag", "base", -0.3, -0.1)
    assert "hybrid-loses" in says(findings(made))
    given = findings(made.model_copy(update={"provisional": (Oracle.look,)}))
    assert not {"hybrid-loses", "hybrid-wins"} & says(given)
    (told,) = [sentence for rule, sentence in fired(given) if rule.name == "facts"]
    assert told.startswith("Given the right passages and no other, ")
    assert "hurt" not in told


def test_a_slice_that_is_thin_is_no_reason_for_anything(make_report) -> None:
    assert "slices-behind" not in says(sliced(make_report, 0.1, thin=True))


def test_the_words_of_the_price_have_points_times_and_money(make_report) -> None:
    case = priced(
        make_report, {"base": 0.1, "adapter": 0.9, "hybrid": 0.92},
        {"base": (0.001, 0), "adapter": (0.002, 0), "hybrid": (0.006, 0)},
    )  # fmt: skip
    words = [sentence for rule, sentence in fired(case) if rule.name == "price-of-points"]
    assert words[1] == (
        "hybrid is 2.0 points better than adapter (+0.020 [-0.010, +0.050]) at 3 times the cost: 6.00 USD against "
        "2.00 USD for 1,000 requests. The difference may be chance."
    )
    assert "80.0 points better than base" in words[0]
    assert "chance" not in words[0]


def test_the_report_keeps_what_each_sentence_stands_on(make_report) -> None:
    case = findings(make_report(PLAIN))
    report = with_advice(case.report, case)
    assert len(report.grounds) == len(report.advice) > 1
    assert report.grounds[0].rule == "ship"
    assert all(ground.source for ground in report.grounds)
    assert make_report(PLAIN, advice=("Of before.",)).grounded == [("Of before.", None)]


def test_the_guide_lists_every_rule_with_its_source_and_no_other() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "advice.md").read_text(encoding="utf-8")
    table = guide.partition("## After an evaluation")[2].partition("\n## ")[0]
    listed = [line.split("|")[1:4] for line in table.splitlines() if line.startswith("| `")]
    assert [tuple(cell.strip() for cell in row) for row in listed] == [
        (f"`{rule.name}`", rule.when, rule.source) for rule in RULES
    ]
