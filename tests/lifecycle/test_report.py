"""What a report and a verdict say of themselves: each default, each way that a report can contradict itself."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import ValidationError

from lifecycle.errors import NotFound
from lifecycle.report import ArmResult, Comparison, Interval, Report, Tries
from lifecycle.verdict import Check, Ruling, Verdict

ZERO, ONE = "sha256:" + "0" * 64, "sha256:" + "1" * 64
NOW = datetime(2026, 11, 26, tzinfo=UTC)


def arm(label: str, *metrics: str) -> ArmResult:
    figures = {metric: Interval(value=0.5, low=0.4, high=0.6, n=10) for metric in metrics or ("exact",)}
    return ArmResult(
        arm=label, ref="t:1", version_digest=ZERO, metrics=figures, latency_p50=1, latency_p95=2, prompt_tokens=3,
        completion_tokens=4,
    )  # fmt: skip


def comparison(left: str, right: str, metric: str = "exact", **more) -> Comparison:
    figures = {"delta": 0.1, "low": -0.2, "high": 0.4, "p_value": 0.3, "test": "mcnemar-exact", "n": 10}
    return Comparison(arm=left, against=right, metric=metric, **{**figures, **more})


def report(**changes) -> Report:
    whole = {"task": "t", "task_digest": ZERO, "base": "tiny", "metric": "exact", "n_items": 10, "seed": 0}
    return Report(**{"arms": (arm("base"), arm("rag")), "created_at": NOW, **whole, **changes})


# -- a comparison -----------------------------------------------------------------------------------------------------


def test_a_comparison_turned_is_the_same_seen_from_the_other_arm():
    one = comparison("rag", "base", wins=5, losses=2, least=-0.5, most=0.25, se=0.1, clusters=4, effective_clusters=3.5)
    turned = one.turned
    assert (turned.arm, turned.against, turned.metric) == ("base", "rag", "exact")
    assert (turned.delta, turned.low, turned.high) == (-0.1, -0.4, 0.2)
    assert (turned.wins, turned.losses) == (2, 5)
    assert (turned.least, turned.most) == (-0.25, 0.5)
    assert (turned.se, turned.clusters, turned.effective_clusters, turned.p_value) == (0.1, 4, 3.5, 0.3)
    assert turned.turned == one


def test_what_a_comparison_does_not_have_it_does_not_have_turned_either():
    one = comparison("rag", "base")
    assert (one.wins, one.losses, one.se, one.clusters, one.effective_clusters) == (None,) * 5
    assert (one.turned.least, one.turned.most, one.p_adjusted) == (None, None, None)


# -- a report ---------------------------------------------------------------------------------------------------------


def test_what_a_report_does_not_say():
    one = report()
    assert (one.safety_metric, one.suite, one.deployment, one.prod, one.n_train) == (None,) * 5
    assert (one.comparisons, one.provisional, one.advice, one.examples) == ((), (), (), ())
    assert (one.noise_floor, one.tries) == (0.0, Tries(number=1, looks=0))
    assert (one.arms[0].errors, one.arms[0].cut, one.arms[0].metrics["exact"].clusters) == (0, 0, None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"arms": (arm("base"), arm("base"))}, "two arms share a label: base, base"),
        ({"arms": (arm("base"), arm("rag", "f1"))}, r"the deciding metric exact is missing from rag \["),
        ({"comparisons": (comparison("rag", "none"),)}, "a comparison names none, which is no arm"),
        ({"comparisons": (comparison("none", "base"),)}, "a comparison names none, which is no arm"),
        (
            {"comparisons": (comparison("z", "y"), comparison("x", "base"))},
            "a comparison names x, y, z, which is no arm",
        ),
        ({"prod": "none"}, "prod is said to be none, which is no arm"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(changes, says):
    with pytest.raises(ValidationError, match=says):
        report(**changes)


def test_an_arm_may_be_what_prod_serves():
    assert report(prod="rag").prod == "rag"


def test_the_figures_of_an_arm_are_found_by_its_label():
    assert report().result("rag") == arm("rag")
    with pytest.raises(NotFound, match="no arm 'x'; its arms are base, rag"):
        report().result("x")


def test_a_difference_is_found_whichever_way_it_was_compared_and_on_the_deciding_metric_alone():
    arms = tuple(arm(label, "exact", "f1") for label in ("base", "rag", "adapter"))
    others = (comparison("adapter", "base"), comparison("rag", "base", "f1"), comparison("base", "rag", "f1"))
    wanted = comparison("rag", "base")
    one = report(arms=arms, comparisons=(*others, wanted))
    assert one.difference("rag", "base") == wanted
    assert one.difference("base", "rag") == wanted.turned
    assert one.difference("base", "adapter") == others[0].turned
    assert one.difference("rag", "adapter") is None
    assert report(arms=arms, comparisons=others[1:]).difference("rag", "base") is None


def test_tries_count_from_1_and_looks_from_0():
    for wrong in ({"number": 0}, {"looks": -1}):
        with pytest.raises(ValidationError):
            Tries.model_validate(wrong)


def test_a_report_is_another_by_what_it_says_and_not_by_what_is_at_its_default():
    assert report(noise_floor=0.0, tries=Tries(number=1)).digest == report().digest
    assert report(noise_floor=0.1).digest != report().digest


# -- a verdict --------------------------------------------------------------------------------------------------------


def verdict(ruling: Ruling = Ruling.PASSED, **changes) -> Verdict:
    whole = {"ref": "t:1", "version_digest": ZERO, "evaluation_digest": ZERO, "policy_digest": ZERO, "created_at": NOW}
    return Verdict(**{**whole, "suite_digest": ONE, "deployment": ONE, "ruling": ruling, "checks": (), **changes})


@pytest.mark.parametrize(
    ("changes", "decides"),
    [
        ({}, True), ({"ruling": Ruling.FAILED}, True), ({"ruling": Ruling.UNDECIDED}, False),
        ({"suite_digest": None}, False), ({"deployment": None}, False), ({"provisional": ("a part",)}, False),
    ],
)  # fmt: skip
def test_a_verdict_decides_when_it_is_whole_bound_and_decided(changes, decides):
    assert verdict(**changes).decides is decides


@pytest.mark.parametrize("ruling", Ruling)
def test_only_a_pass_passes(ruling):
    assert verdict(ruling).passed is (ruling is Ruling.PASSED)
    assert Check(rule="r", ruling=ruling, detail="d").passed is (ruling is Ruling.PASSED)
    assert Check(rule="r", ruling=ruling, detail="d").sees is None


def test_why_names_the_checks_that_failed_and_without_one_those_that_are_open():
    checks = tuple(Check(rule=f"r{at}", ruling=ruling, detail=f"d{at}") for at, ruling in enumerate(Ruling))
    assert verdict(checks=checks).why == "r1: d1", "what is open did not reject it"
    assert verdict(checks=(checks[0], checks[2])).why == "r2: d2"
    assert verdict(checks=checks[:1]).why == verdict().why == "no reason given"


def test_a_verdict_that_says_no_more_opens_nothing():
    one = verdict()
    bare = Verdict.model_validate(one.model_dump(exclude={"suite_digest", "deployment"}))
    assert (bare.suite_digest, bare.deployment, bare.provisional) == (None, None, ())
    assert bare.digest == Verdict.model_validate({**bare.model_dump(), "provisional": ()}).digest != one.digest


def test_one_item_gives_a_figure_and_no_item_gives_none():
    assert Interval(value=1.0, low=0.2, high=1.0, n=1).clusters is None
    with pytest.raises(ValidationError, match="n"):
        Interval(value=1.0, low=0.0, high=1.0, n=0)


def test_the_digest_of_a_verdict_stays_what_it_was() -> None:
    """Aliases and the trail name verdicts by it: a field that is added later is left out where it says nothing."""
    assert verdict().digest == "sha256:dacb2284751636f3c0ef8547b87462f8286ca125b2091669d83fd2687ec83300"
