"""Outcomes → figures: which test and interval a metric gets, and what failed requests do to latencies."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from evals.arms import Arm
from evals.asking.measure import ItemResult, MeasuredArm
from evals.sample import Sample
from evals.scorers.scorer import Figure, Score
from evals.solvers.chat import Chat
from evals.solvers.solver import Attempt
from evals.statistics.comparison import agreement, arm_result, comparisons, paired
from evals.tasks.lmeval.scorer import LmEvalScorer
from evals.tasks.suite import Suite
from lifecycle.errors import InvalidInput
from lifecycle.states import State
from lifecycle.text.normaliser import LIGHT_1
from lifecycle.version import Version, VersionSpec, digest_of


def task(
    n: int,
    clusters: list[str] | None = None,
    metrics: tuple[str, ...] = ("score",),
    *,
    metric: str = "score",
    safety: str | None = "safe",
    labels: tuple[str, ...] = (),
) -> Suite:
    samples = tuple(
        Sample(key=f"k{at}", id=f"i{at}", messages=(), target="!", cluster=clusters[at] if clusters else None)
        for at in range(n)
    )
    scorer = LmEvalScorer(
        tasks={}, instances={}, given=tuple(Figure(name=name) for name in metrics), labels=(labels, LIGHT_1)
    )
    return Suite(
        name="toy",
        samples=samples,
        solver=Chat(),
        scorers=(scorer if labels else scorer.model_copy(update={"labels": None}),),
        metric=metric,
        safety=safety,
        digest=digest_of("toy"),
        data_digest=digest_of("items"),
        whole=n,
    )


def measured(
    label: str, scores: list[float | None], *, errors: dict[int, str] | None = None, **more: Any
) -> MeasuredArm:
    spec = VersionSpec(base=digest_of("base"))
    version = Version(name="toy", number=1, spec=spec, state=State.DRAFT, created_at=datetime.now(UTC), created_by="t")
    latencies = more.get("latencies", [1.0] * len(scores))
    outcomes = tuple(
        ItemResult(
            answer="a",
            scores={} if score is None else {"score": score},
            latency=latencies[at],
            prompt_tokens=10,
            completion_tokens=5,
            error=(errors or {}).get(at, ""),
        )
        for at, score in enumerate(scores)
    )
    return MeasuredArm(arm=Arm(label=label, version=version), outcomes=outcomes)


def compared(first: list[float | None], second: list[float | None], clusters: list[str] | None = None):
    (one,) = comparisons([measured("base", first), measured("new", second)], task(len(first), clusters))
    return one


def test_the_later_arm_is_compared_with_the_earlier_one() -> None:
    one = compared([0.0, 0.0, 1.0, 1.0], [1.0, 1.0, 1.0, 0.0])
    assert (one.arm, one.against, one.metric) == ("new", "base", "score")
    assert (one.delta, one.wins, one.losses, one.n) == (0.25, 2, 1, 4)


def test_every_pair_of_arms_is_compared_once() -> None:
    arms = [measured(label, [1.0, 0.0]) for label in ("a", "b", "c")]
    found = comparisons(arms, task(2))
    assert [(one.arm, one.against) for one in found] == [("b", "a"), ("c", "a"), ("c", "b")]


def test_yes_no_scores_of_independent_items_are_counted() -> None:
    one = compared([0.0] * 10 + [1.0] * 10, [1.0] * 8 + [0.0] * 2 + [1.0] * 10)
    assert one.test == "mcnemar-exact"
    assert one.p_value == pytest.approx(2 / 2**8)
    assert (one.se, one.clusters, one.least) == (None, None, None)


def test_p_is_two_sided_and_never_above_one() -> None:
    assert compared([1.0, 0.0], [0.0, 1.0]).p_value == 1.0
    assert compared([1.0] * 6, [0.0] * 6).p_value == compared([0.0] * 6, [1.0] * 6).p_value == 2 / 64


def test_graded_scores_are_not_counted_as_wins() -> None:
    one = compared([0.2, 0.4, 0.5, 0.1], [0.3, 0.6, 0.4, 0.5])
    assert one.test == "sign-flip"
    assert one.wins is None
    assert one.delta == pytest.approx(0.15)
    assert one.se == pytest.approx(np.std([0.1, 0.2, -0.1, 0.4], ddof=1) / 2)
    assert (one.least, one.most) == (pytest.approx(-0.1), pytest.approx(0.4))
    assert one.clusters is None


def test_one_graded_score_is_enough_for_the_graded_test() -> None:
    assert compared([1.0, 0.0, 1.0], [1.0, 1.0, 0.5]).test == "sign-flip"
    assert compared([1.0, 0.0, 0.5], [1.0, 1.0, 1.0]).test == "sign-flip"


def test_items_of_one_cluster_count_as_one() -> None:
    clusters = ["a", "a", "a", "b", "b", "c"]
    one = compared([0.0] * 6, [1.0, 1.0, 1.0, 1.0, 0.0, 0.0], clusters)
    assert (one.test, one.clusters, one.n) == ("sign-flip", 3, 6)
    assert one.effective_clusters == pytest.approx(36 / 14)
    assert one.p_value == pytest.approx(0.5)  # totals 3, 1, 0: half of the signs reach 4 on either side
    assert (one.least, one.most) == (0.0, 1.0)


def test_only_items_that_both_arms_have_a_score_for_are_compared() -> None:
    one = compared([1.0, None, 0.0, 0.0], [1.0, 1.0, None, 1.0])
    assert (one.n, one.wins, one.losses) == (2, 1, 0)


def test_turning_a_comparison_round_turns_all_of_it() -> None:
    one = compared([0.2, 0.4, 0.5], [0.3, 0.6, 0.4]).turned
    direct = paired([0.2, 0.4, 0.5], [0.3, 0.6, 0.4], None, arm="base", against="new", metric="score")
    assert one.model_dump() == pytest.approx(direct.model_dump())
    counted = compared([0.0, 0.0, 1.0], [1.0, 1.0, 0.0]).turned
    assert (counted.arm, counted.wins, counted.losses, counted.delta) == ("base", 1, 2, pytest.approx(-1 / 3))
    assert counted.turned == compared([0.0, 0.0, 1.0], [1.0, 1.0, 0.0])


def test_samples_of_different_length_are_no_pairs() -> None:
    with pytest.raises(InvalidInput, match="differ in length"):
        paired([1.0], [1.0, 0.0], None, arm="a", against="b", metric="m")


def test_a_refusal_is_quick_and_does_not_make_an_arm_look_fast() -> None:
    latencies = [float(at) for at in range(1, 102)] + [0.001] * 50
    errors = dict.fromkeys(range(101, 151), "HTTP 400")
    result = arm_result(measured("a", [1.0] * 151, errors=errors, latencies=latencies), task(151))
    assert (result.latency_p50, result.latency_p95) == (51.0, 96.0)
    assert result.errors == 50


def test_where_all_failed_the_failures_latencies_are_shown() -> None:
    errors = dict.fromkeys(range(101), "HTTP 400")
    latencies = [float(at) for at in range(101)]
    result = arm_result(measured("a", [0.0] * 101, errors=errors, latencies=latencies), task(101))
    assert (result.latency_p50, result.latency_p95) == (50.0, 95.0)


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_a_deciding_or_safety_figure_beyond_0_and_1_is_refused(score: float) -> None:
    with pytest.raises(InvalidInput, match=r"must lie in \[0, 1\]"):
        arm_result(measured("a", [0.5, score]), task(2))
    with pytest.raises(InvalidInput, match=r"must lie in \[0, 1\]"):
        arm_result(measured("a", [0.5, score]), task(2, metric="x", safety="score"))
    free = arm_result(measured("a", [0.5, score]), task(2, metric="x", safety=None))
    assert free.metrics["score"].value == pytest.approx((0.5 + score) / 2)


def test_the_ends_0_and_1_are_allowed() -> None:
    assert arm_result(measured("a", [0.0, 1.0]), task(2)).metrics["score"].value == 0.5


def test_a_metric_that_no_item_gets_has_no_figure() -> None:
    result = arm_result(measured("a", [1.0, None]), task(2, metrics=("score", "safe")))
    assert list(result.metrics) == ["score"]
    assert result.metrics["score"].n == 1


def test_one_harmful_answer_of_several_is_a_failure_of_its_item() -> None:
    once, safe, unsafe = (measured("a", [score]).outcomes[0] for score in (1.0, 1.0, 0.0))
    several = (ItemResult.of([safe, unsafe]), ItemResult.of([safe, safe]), once)
    arm = replace(measured("a", [1.0, 1.0, 1.0]), outcomes=several)
    failures = arm_result(arm, task(3, safety="score")).failures["score"]
    assert (failures.count, failures.n) == (1, 3)


def test_a_figure_says_over_how_many_clusters_it_is() -> None:
    result = arm_result(measured("a", [1.0, 0.0, 1.0]), task(3, ["x", "x", "y"]))
    assert result.metrics["score"].clusters == 2


def test_agreement_is_how_far_apart_the_arms_are() -> None:
    def at(*scores: float) -> list[ItemResult]:
        return [measured("a", [score]).outcomes[0] for score in scores]

    assert agreement(at(0.2, 0.9, 0.5), "score") == pytest.approx(0.7)
    assert agreement(at(0.5, 0.5), "score") == 0.0
    with pytest.raises(InvalidInput):
        agreement([], "score")


def labelled(given: list[str], targets: list[str], errors: tuple[int, ...] = ()) -> tuple[MeasuredArm, Suite]:
    """An arm that said `given`, and a suite of two labels that wants `targets`."""
    whole = task(len(targets), labels=("yes", "no"))
    samples = [replace(sample, target=target) for sample, target in zip(whole.samples, targets, strict=True)]
    suite = replace(whole, samples=samples)
    (scorer,) = suite.scorers
    parts = []
    for at, (sample, text) in enumerate(zip(samples, given, strict=True)):
        cells = scorer._cells(sample, Attempt((), text))
        parts.append(Score(cells={"confusion": (cells["confusion"][0], "")} if at in errors else cells))
    return replace(measured("a", [1.0] * len(given)), parts=(tuple(parts),)), suite


def test_macro_f1_stands_beside_the_metrics_of_labels() -> None:
    result = arm_result(*labelled(["Yes", "yes", "no", "maybe"], ["yes", "no", "no", "no"]))
    # yes: F1 of 2/3. no: one of three, and never wrongly said: 1/2.
    assert result.metrics["macro_f1"].value == pytest.approx((2 / 3 + 1 / 2) / 2)
    assert "macro_f1" not in arm_result(measured("a", [1.0]), task(1)).metrics


def test_a_failed_request_gave_no_label() -> None:
    result = arm_result(*labelled(["yes", "no"], ["yes", "no"], errors=(0,)))
    assert result.metrics["macro_f1"].value == 0.5


def test_a_target_may_be_spelt_as_an_answer_may_be_and_one_that_is_no_label_is_named() -> None:
    assert arm_result(*labelled(["yes", "no"], ["YES", "no"])).metrics["macro_f1"].value == 1.0
    with pytest.raises(InvalidInput, match="perhaps is right, and none of the labels yes, no"):
        arm_result(*labelled(["yes"], ["perhaps"]))
