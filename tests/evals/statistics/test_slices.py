"""The figures of a slice are those of its items alone, and thin slices are marked."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from evals.arms import Arm
from evals.asking.measure import ItemResult, MeasuredArm
from evals.sample import Sample
from evals.scorers.texts import Exact
from evals.solvers.chat import Chat
from evals.statistics.comparison import arm_result, compared
from evals.statistics.slices import slices
from evals.tasks.suite import Suite
from lifecycle.report import Slice, Where
from lifecycle.states import State
from lifecycle.version import Version, VersionSpec, digest_of


def suite(*where: Where, clusters: int | None = None) -> Suite:
    samples = tuple(
        Sample(key=f"{at}", id=f"{at}", messages=(), slices=own, cluster=f"{at % clusters}" if clusters else None)
        for at, own in enumerate(where)
    )
    return Suite("toy", samples, Chat(), (Exact(),), "exact", digest_of("toy"), digest_of("items"), len(samples))


def arm(label: str, *scores: float | None) -> MeasuredArm:
    spec = VersionSpec(base=digest_of(label))
    version = Version(name="toy", number=1, spec=spec, state=State.DRAFT, created_at=datetime.now(UTC), created_by="t")
    took = {"latency": 1.0, "prompt_tokens": 1, "completion_tokens": 1}
    outcomes = (ItemResult(answer="", scores={} if score is None else {"exact": score}, **took) for score in scores)
    return MeasuredArm(Arm(label=label, version=version), tuple(outcomes))


def found(measured: list[MeasuredArm], items: Suite, *asked: Where) -> dict[str, Slice]:
    return {str(part): part for part in slices(measured, items, "base", asked)}


AR, EN = {"language": "ar"}, {"language": "latin"}


def test_figures_and_differences_are_those_of_the_slices_items_alone() -> None:
    items = suite(AR, EN, AR, EN, AR)
    base, better = arm("base", 0, 1, 0, 1, 1), arm("better", 1, 0, 1, 1, 1)
    part = found([base, better], items)["language ar"]
    alone = replace(items, samples=items.samples[::2])
    halves = [replace(measured, outcomes=measured.outcomes[::2]) for measured in (base, better)]
    assert (part.n, part.clusters, part.thin) == (3, None, True)
    assert part.arms == tuple(arm_result(half, alone) for half in halves)
    assert part.comparisons == (compared(halves[1], halves[0], alone),)
    assert part.comparisons[0].delta == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("n", "clusters", "thin"), [(29, None, True), (30, None, False), (90, 29, True), (90, 30, False)]
)
def test_a_slice_is_thin_under_thirty_items_or_clusters(n: int, clusters: int | None, thin: bool) -> None:
    items = suite(*[AR] * n, *[EN] * 40, clusters=clusters)
    part = found([arm("base", *[1.0] * (n + 40)), arm("x", *[1.0] * (n + 40))], items)["language ar"]
    assert (part.n, part.clusters, part.thin) == (n, clusters, thin)


def test_a_field_of_one_value_or_of_more_than_twenty_is_no_slice_unless_a_rule_asks() -> None:
    names = [{"who": f"p{at}", "length": "short", "ward": f"{at % 20}"} for at in range(21)]
    items = suite(*names)
    measured = [arm("base", *[1.0] * 21), arm("x", *[0.0] * 21)]
    assert set(found(measured, items)) == {f"ward {at}" for at in range(20)}
    asked = found(measured, items, {"who": "p3"}, {"length": "short"}, {"ward": "0", "who": "p20"}, {"who": "nobody"})
    assert {name: part.n for name, part in asked.items() if "ward" not in name} == {"who p3": 1, "length short": 21}
    assert asked["ward 0, who p20"].n == 1


def test_only_a_slice_that_a_rule_names_has_all_pairs() -> None:
    measured = [arm(name, 1, 0) for name in ("base", "rag", "adapter")]
    by = found(measured, suite(AR, EN), AR)
    assert [(one.arm, one.against) for one in by["language latin"].comparisons] == [
        ("rag", "base"),
        ("adapter", "base"),
    ]
    assert len(by["language ar"].comparisons) == 3


def test_an_arm_without_a_figure_in_a_slice_has_none_there_and_no_pair() -> None:
    part = found([arm("base", 1, 1), arm("x", None, 1)], suite(AR, EN))["language ar"]
    assert (part.arms[1].metrics, part.comparisons) == ({}, ())
