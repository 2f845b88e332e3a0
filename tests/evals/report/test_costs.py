"""Times and costs as they are shown: cells, sentences and the plot's geometry."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest

from evals.report.costs import NO_PRICES, CostPlot, rows, sentences
from lifecycle.costs import Cost, Percentiles, PricesUsed, Timing
from lifecycle.report import Report
from lifecycle.version import digest_of

USD = PricesUsed(digest=digest_of("p"), currency="USD", requests=1000, unused=("adpter",))


def report(make_report: Any, costs: dict[str, Cost | None], prices: PricesUsed | None = USD) -> Report:
    values = {arm: 0.2 + 0.3 * place for place, arm in enumerate(costs)}
    plain = make_report(values, prices=prices)
    return plain.model_copy(
        update={"arms": tuple(arm.model_copy(update={"cost": costs[arm.arm]}) for arm in plain.arms)}
    )


def of(item: float, once: float = 0.0, **more: Any) -> Cost:
    given = {"by": "tokens", "item": item, "low": 0.9 * item, "high": 1.1 * item, "once": {"training": once}}
    return Cost.model_validate(given | more)


def test_a_cell_has_the_cost_its_interval_and_how_many_times_the_baselines(make_report) -> None:
    table = rows(report(make_report, {"base": of(0.001), "adapter": of(0.002, once=1.0)}))
    assert table["USD / 1,000"] == ["1\n0.9…1.1", "3\n2.8…3.2\n3 x base"]
    assert table["USD once"] == ["0.00", "1.00"]


def test_rows_that_no_arm_has_are_left_out_and_without_prices_the_way_to_them_is_told(make_report) -> None:
    plain = report(make_report, {"base": None, "adapter": None}, prices=None)
    assert list(rows(plain)) == ["p50 seconds", "p95 seconds", "prompt tokens", "answer tokens"]
    assert sentences(plain) == [NO_PRICES]
    assert CostPlot.of(plain) is None


def test_a_first_token_that_not_all_answers_have_says_how_many(make_report) -> None:
    plain = report(make_report, {"base": None, "adapter": None}, prices=None)
    whole = Percentiles(p50=1, p95=2, p99=3, n=200)
    timing = Timing(concurrency=8, latency=whole, busy=10, items_per_second=20, tokens_per_second=400,
                    first_token=Percentiles(p50=0.1, p95=0.2, p99=0.3, n=30))  # fmt: skip
    arms = (plain.arms[0].model_copy(update={"timing": timing}), plain.arms[1])
    table = rows(plain.model_copy(update={"arms": arms}))
    assert table["TTFT p50"] == ["0.100\nn=30", ""]
    assert table["p99 seconds"] == ["3.00", ""]


def test_sentences_say_what_the_costs_leave_out_and_which_labels_are_no_arms(make_report) -> None:
    costs = {"base": of(0.002), "adapter": of(0.001, once=5.0, unknown=("labelling: no price",))}
    told = " ".join(sentences(report(make_report, costs)))
    assert "No arm is better at the same cost or less than: base (2.00 USD), adapter (6.00 USD)" in told
    assert "adapter begins dearer than base and is the cheaper from about 5,100 requests on." in told
    assert "Not in the costs: adapter: labelling: no price." in told
    assert "The prices also name what is no arm here: adpter." in told
    assert "shared out over 1,000 requests" in told


@pytest.mark.parametrize(("dear", "logarithmic"), [(0.0163, False), (0.0164, True)])
def test_everything_is_drawn_inside_the_box_on_an_axis_that_fits(make_report, dear: float, logarithmic: bool) -> None:
    costs = {"base": of(0.001), "rag": of(0.004), "hybrid": of(dear)}
    plot = CostPlot.of(report(make_report, costs))
    assert plot is not None
    assert plot.logarithmic is logarithmic, "from 20 times the lowest end on"
    for dot in plot.dots:
        assert plot.left <= dot.left <= dot.x <= dot.right <= plot.right
        assert plot.top <= dot.top <= dot.y <= dot.bottom <= plot.bottom
    assert [dot.arm for dot in sorted(plot.dots, key=lambda dot: dot.x)] == ["base", "rag", "hybrid"]
    assert len(plot.line.split()) == 3
    assert len(plot.across) >= 3
    assert all(
        float(text).as_integer_ratio() and text.strip("0.")[:1] in "125" for _, text in plot.across if text != "0"
    )


def test_names_of_arms_that_cost_and_do_alike_stand_clear_of_each_other(make_report) -> None:
    alike = report(make_report, {"base": of(0.001), "few-shot": of(0.001), "hybrid": of(0.0011)})
    arms = tuple(arm.model_copy(update={"metrics": alike.arms[0].metrics}) for arm in alike.arms)
    plot = CostPlot.of(alike.model_copy(update={"arms": arms}))
    assert plot is not None
    heights = sorted(dot.label for dot in plot.dots)
    assert all(later - earlier >= 14 for earlier, later in pairwise(heights))
    assert all(plot.top <= height <= plot.bottom + 40 for height in heights)


def test_an_arm_that_costs_nothing_is_drawn_too(make_report) -> None:
    plot = CostPlot.of(report(make_report, {"base": of(0.0), "adapter": of(0.0)}))
    assert plot is not None
    assert {dot.x for dot in plot.dots} == {60}
