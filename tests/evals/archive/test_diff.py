"""Two reports: paired by item, what has no partner counted, what cannot be compared refused with its reason."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import pytest

from evals.archive.diff import compare, differences
from evals.archive.items import anchor
from evals.archive.library import Kept
from evals.statistics.comparison import paired
from lifecycle.costs import Cost, PricesUsed
from lifecycle.errors import InvalidInput, NotFound
from lifecycle.report import Imported
from lifecycle.version import digest_of

BASE = {f"i{number:02}": 0.0 for number in range(30)}


def scores(right: set[int], n: int = 30) -> dict[str, float]:
    return {f"i{number:02}": float(number in right) for number in range(n)}


def test_an_arm_is_compared_on_the_items_that_both_have_by_the_exact_test(keep) -> None:
    before = keep({"base": BASE, "new": scores(set(range(10)))})
    after = keep({"base": BASE, "new": scores(set(range(5, 20)))}, day=1, systems={"new": "newer"})
    diff = compare(before, after)
    assert (diff.comparable, diff.both, diff.only_before, diff.only_after) == (True, 30, 0, 0)
    base, new = diff.arms
    expected = paired([*scores(set(range(5, 20))).values()], [*scores(set(range(10))).values()], None,
                      arm="new, after", against="new, before", metric="exact")  # fmt: skip
    assert new.paired == expected
    assert (expected.wins, expected.losses, expected.test) == (10, 5, "mcnemar-exact")
    assert (new.better, new.worse) == (10, 5)
    assert [flip.name for flip in new.flips] == [f"i{n:02}" for n in (*range(5), *range(10, 20))]
    assert new.flips[0].anchor == anchor("i00/abc")
    assert (base.paired.delta, base.flips) == (0.0, ())
    assert (new.before_ref, new.after_ref) == ("toy:2", "toy:3")


def test_items_without_a_partner_are_counted_and_the_figures_are_of_the_pairs(keep) -> None:
    old = {**scores({0, 1}, 4), "gone": 1.0, "edited/one": 1.0}
    new = {**scores({0, 1, 2}, 4), "fresh": 0.0, "edited/two": 0.0}
    same = {"task_digest": digest_of("before"), "scoring": digest_of("how")}
    before = keep({"base": old, "new": old}, **same)
    after = keep({"base": new, "new": new}, day=1, **(same | {"task_digest": digest_of("after")}))
    diff = compare(before, after)
    assert (diff.both, diff.only_before, diff.only_after, diff.changed) == (4, 2, 2, 1)
    arm = diff.arms[1]
    assert (arm.before.value, arm.after.value) == (pytest.approx(4 / 6), 0.5)
    assert (arm.before_paired, arm.after_paired, arm.paired.delta, arm.paired.n) == (0.5, 0.75, 0.25, 4)


def test_what_could_not_be_scored_is_in_no_pair_and_counted_on_its_side(keep) -> None:
    before = keep({"base": BASE, "new": {**scores({1}), "i00": None, "i02": None}})
    after = keep({"base": BASE, "new": {**scores({1}), "i02": None, "i03": None, "i04": None}}, day=1)
    arm = compare(before, after).arms[1]
    assert (arm.paired.n, arm.unscored_before, arm.unscored_after) == (26, 2, 3)


def test_clusters_of_the_items_are_heeded(keep) -> None:
    clusters = {f"i{number:02}": f"patient {number // 10}" for number in range(30)}
    before = keep({"base": BASE, "new": scores(set())})
    after = keep({"base": BASE, "new": scores(set(range(10)))}, day=1, clusters=clusters)
    comparison = compare(before, after).arms[1].paired
    assert (comparison.test, comparison.clusters, comparison.wins) == ("sign-flip", 3, None)


@pytest.mark.parametrize(
    ("was", "now", "reason"),
    [
        ({}, {"scoring": digest_of("another"), "task_digest": digest_of("x")}, "asked or scored in another way"),
        ({"scoring": None}, {"task_digest": digest_of("x")}, "does not say how its items were scored"),
        ({}, {"scoring": None, "task_digest": digest_of("x")}, "does not say how its items were scored"),
        ({}, {"metric": "other"}, "no arm of the report before has the figure other"),
    ],
)
def test_reports_that_were_scored_in_another_way_stand_side_by_side_with_the_reason(keep, was, now, reason) -> None:
    before = keep({"base": BASE, "new": scores({1})}, **was)
    if "metric" in now:
        after = keep({"base": BASE, "new": scores({2})}, day=1)
        diff = compare(before, after, metric="other")
        assert "no arm of the report after has the figure other" in diff.reasons
    else:
        diff = compare(before, keep({"base": BASE, "new": scores({2})}, day=1, **now))
        assert diff.arms[1].after.value == pytest.approx(1 / 30)
    assert not diff.comparable
    assert reason in diff.reasons[0]
    assert all(arm.paired is None and reason in arm.why_not and not arm.flips for arm in diff.arms)


def test_the_same_task_digest_is_enough_where_nobody_said_how_it_was_scored(keep) -> None:
    before = keep({"base": BASE, "new": scores({1})}, scoring=None)
    assert compare(before, keep({"base": BASE, "new": scores({2})}, day=1, scoring=None)).comparable


def test_a_report_of_another_tool_is_not_set_against_our_own(keep) -> None:
    own = keep({"base": BASE, "new": scores({1})})
    tool = Imported(tool="lm-eval 0.4.13", file="results.json", file_digest=digest_of("f"))
    other = replace(own, report=own.report.model_copy(update={"imported": tool}))
    assert compare(other, own).reasons == (
        "lm-eval 0.4.13 measured before and dabt after: their scorers are not known to be one",
    )


def test_items_that_are_elsewhere_leave_the_figures_and_say_where_they_were(keep) -> None:
    before = keep({"base": BASE, "new": scores({1})})
    after = keep({"base": BASE, "new": scores({2})}, day=1)
    shutil.rmtree(before.folder)
    diff = compare(before, after)
    assert not diff.comparable
    assert f"copy {before.folder}" in diff.reasons[0]
    assert diff.arms[1].before.value == pytest.approx(1 / 30)


def test_no_common_item_is_said(keep) -> None:
    before = keep({"base": {"a": 1.0}, "new": {"a": 1.0}}, task_digest=digest_of("1"))
    after = keep({"base": {"b": 1.0}, "new": {"b": 1.0}}, task_digest=digest_of("2"), day=1)
    assert compare(before, after).reasons == ("no item is in both",)


def test_arms_of_one_label_are_pairs_and_others_are_named_or_told(keep) -> None:
    before = keep({"base": BASE, "adapter": scores({1})})
    after = keep({"base": BASE, "hybrid": scores({1, 2})}, day=1)
    diff = compare(before, after)
    assert (diff.arms_only_before, diff.arms_only_after) == (("adapter",), ("hybrid",))
    (pair,) = compare(before, after, pairs=[("adapter", "hybrid")]).arms
    assert (pair.before_arm, pair.after_arm, pair.paired.delta) == ("adapter", "hybrid", pytest.approx(1 / 30))
    within = compare(before, before, pairs=[("base", "adapter")])
    assert (within.arms_only_before, within.arms_only_after) == ((), ()), "both have both"
    with pytest.raises(NotFound, match="its arms are"):
        compare(before, after, pairs=[("nobody", "hybrid")])
    alone = keep({"x": BASE}, day=2, judged=False)
    with pytest.raises(InvalidInput, match="--arm adapter=hybrid"):
        compare(before, alone)


def test_what_differs_between_the_runs_is_told_with_both_values(keep, registry) -> None:
    long = "You are a nurse. " * 10
    before = keep({"base": BASE, "new": scores({1})}, systems={"new": long + "Be brief."})
    after = keep({"base": BASE, "new": scores({1})}, day=1, systems={"new": long + "Be kind."}, seed=2,
                 provisional=("a dry run",))  # fmt: skip
    diff = compare(before, after, spec_of=lambda arm: registry.version(arm.ref).spec)
    changes = {change.what: (change.before, change.after) for change in diff.changes}
    assert changes["seed"] == ("1", "2")
    assert changes["provisional"] == ("", "a dry run")
    assert changes["arms.new"] == ("toy:2", "toy:3")
    told = changes["recipe of new.prompt.system"]
    assert told[0].endswith("Be brief.")
    assert told[1].endswith("Be kind.")
    assert "task" not in changes


def priced(kept: Kept, item: float, currency: str, requests: int | None = None) -> Kept:
    """The same at prices at which each of its arms costs `item` for a request, and 50 once."""
    cost = Cost(by="tokens", item=item, low=item, high=item, once={"training": 50.0})
    prices = PricesUsed(digest=digest_of([currency, requests]), currency=currency, requests=requests)
    arms = tuple(arm.model_copy(update={"cost": cost}) for arm in kept.report.arms)
    return replace(kept, report=kept.report.model_copy(update={"arms": arms, "prices": prices}))


def test_costs_of_1000_requests_are_set_side_by_side_and_other_prices_are_named(keep) -> None:
    before, after = keep({"base": BASE, "new": BASE}), keep({"base": BASE, "new": BASE}, day=1)

    def said(was: Kept, now: Kept) -> str:
        cost = compare(was, now).arms[1].cost
        return cost.said if cost else ""

    cheap, dear = priced(before, 0.001, "USD"), priced(after, 0.0025, "USD")
    assert said(cheap, dear) == "1 → 2.5 USD for 1,000 requests (2.5 times)"
    shared = priced(after, 0.0025, "USD", requests=100_000)
    assert said(cheap, shared) == "1 → 3 USD for 1,000 requests (3 times), at other prices"
    assert said(cheap, priced(after, 0.004, "EUR")) == "1 USD → 4 EUR for 1,000 requests, at other prices"
    assert said(priced(before, 0.0, "USD"), dear) == "0 → 2.5 USD for 1,000 requests"
    assert said(before, dear) == said(cheap, after) == ""
    changes = {change.what: (change.before, change.after) for change in compare(cheap, shared).changes}
    assert changes["prices.requests"] == ("", "100000")
    assert not any(change.what.startswith("prices") for change in compare(cheap, dear).changes)


def test_differences_are_told_by_place() -> None:
    was, now = {"a": {"x": 1, "y": [1]}, "b": 1}, {"a": {"x": 2, "y": [1]}, "c": "sha256:" + "ab" * 32}
    told = {(change.what, change.before, change.after) for change in differences("s", was, now)}
    assert told == {("s.a.x", "1", "2"), ("s.b", "1", ""), ("s.c", "", "abababababab")}


def test_figures_beyond_0_and_1_have_intervals_without_ends(keep) -> None:
    before = keep({"base": BASE, "new": scores({1})})
    after = keep({"base": BASE, "new": scores({1})}, day=1)
    for kept, factor in ((before, 10.0), (after, 30.0)):
        path = kept.folder / "items.jsonl"
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        for number, row in enumerate(rows):
            row["arms"]["new"]["scores"]["exact"] = factor + number % 3
        path.write_text("\n".join(json.dumps(row) for row in rows))
    comparison = compare(before, after).arms[1].paired
    assert comparison.delta == 20.0
    assert comparison.low == comparison.high == 20.0
