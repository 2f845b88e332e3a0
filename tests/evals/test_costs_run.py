"""Costs in a whole evaluation: measured, in the report's three forms, in the terminal, and before the gate."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from rich.console import Console

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.gate.suites import make_gate
from evals.report.costs import NO_PRICES
from evals.report.table import print_evaluation
from evals.run import evaluate
from lifecycle.errors import InvalidConfig
from lifecycle.report import Report
from lifecycle.verdict import Ruling

QUICK = Endpoint(url="http://models.test/v1", retries=2, pause=0.0, patience=0.0)
PRICES = """
currency: USD
requests: 1000
tokens: {prompt: 1.0, completion: 2.0}
training: {hour: 2.0}
retrieval: {index: 0.5, search: 0.0001}
once: {adapter: 3.0}
"""


@pytest.fixture
def priced(workplace: Path, trained: str) -> EvalConfig:
    (workplace / "prices.yaml").write_text(PRICES)
    return EvalConfig.load(workplace / "toy.yaml", prices=workplace / "prices.yaml")


def test_times_are_measured_with_no_prices_and_the_report_says_how_to_name_them(config, registry, home, models) -> None:
    models.timing = "cache;desc=none, ttft;dur=250.5, retrieval;dur=40"
    evaluation = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    for arm in evaluation.report.arms:
        assert arm.cost is None
        assert arm.timing is not None
        assert arm.timing.concurrency == config.concurrency
        assert arm.timing.first_token is not None
        assert (arm.timing.first_token.p99, arm.timing.first_token.n) == (0.2505, 40)
        assert arm.timing.searched == pytest.approx(0.04)
        assert arm.timing.items_per_second > 0.0
    for name in ("report.md", "report.html"):
        text = (evaluation.folder / name).read_text("utf-8")
        assert NO_PRICES[:60] in text
        assert "TTFT p95" in text
    assert "<polyline" not in (evaluation.folder / "report.html").read_text("utf-8")


def test_an_endpoint_that_does_not_time_its_first_token_gives_none(config, registry, home, models) -> None:
    evaluation = evaluate(config, registry, home, transport=models.transport, endpoint=QUICK)
    assert all(arm.timing is not None and arm.timing.first_token is None for arm in evaluation.report.arms)
    assert "TTFT p50" not in (evaluation.folder / "report.md").read_text("utf-8")


def test_with_prices_every_form_has_costs_and_the_page_a_plot(priced, registry, home, models) -> None:
    evaluation = evaluate(priced, registry, home, transport=models.transport, endpoint=QUICK)
    report = evaluation.report
    costs = {arm.arm: arm.cost for arm in report.arms if arm.cost}
    base, rag, adapter = costs["base"], costs["rag"], costs["adapter"]
    assert base.item == pytest.approx((3.5 * 1.0 + 4 * 2.0) / 1_000_000), "3 or 4 words asked, 4 answered"
    assert rag.search == pytest.approx(1e-4)
    assert rag.once == {"index": 0.5}
    assert adapter.once == {"other": 3.0}
    assert adapter.unknown == ("training: how long it took is not recorded",)
    page = (evaluation.folder / "report.html").read_text("utf-8")
    assert page.count("<polyline") == 1
    assert len(re.findall(r"<title>[a-z-]+: 0\.\d{3} \[.* USD for 1,000 requests", page)) >= 2
    for text in (page, (evaluation.folder / "report.md").read_text("utf-8")):
        assert "Not in the costs: adapter: training: how long it took is not recorded." in text
        assert "USD / 1,000" in text
    written = Report.model_validate_json((evaluation.folder / "report.json").read_text("utf-8"))
    assert written.digest == report.digest


def test_the_terminals_table_of_four_arms_is_80_characters_wide(priced, registry, home, models) -> None:
    models.timing = "ttft;dur=250.5"
    console = Console(record=True, width=80)
    print_evaluation(evaluate(priced, registry, home, transport=models.transport, endpoint=QUICK), console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for row in ("TTFT p50", "items / s", "USD / 1,000", "x base"):
        assert row in text


def test_faults_of_the_prices_are_told_with_those_of_the_policy_before_anything_is_asked(workplace, trained) -> None:
    (workplace / "prices.yaml").write_text("currency: USD\ntoken: {prompt: 1}\n")
    (workplace / "policy.yaml").write_text("rules: []\n")
    with pytest.raises(InvalidConfig) as refused:
        EvalConfig.load(workplace / "toy.yaml", prices=workplace / "prices.yaml")
    assert "prices.yaml: token" in str(refused.value)
    assert "policy.yaml: rules" in str(refused.value)


@pytest.mark.parametrize(("times", "ruling"), [(1000.0, Ruling.PASSED), (0.5, Ruling.FAILED)])
def test_the_gate_holds_an_arm_to_a_ratio_of_costs(workplace, registry, home, models, priced, times, ruling) -> None:
    rule = f"rules:\n  - {{rule: cost, times: {times}, arm: base}}\n"
    (workplace / "policy.yaml").write_text(rule)
    evaluation = evaluate(priced, registry, home, transport=models.transport, endpoint=QUICK)
    checks = {arm.arm: evaluation.verdict(arm).checks[0] for arm in evaluation.report.arms if evaluation.verdict(arm)}
    assert checks["few-shot"].ruling is Ruling.PASSED or times < 1
    assert checks["rag"].ruling is ruling
    assert checks["rag"].detail.startswith("1,000 requests cost ")
    assert checks["adapter"].ruling is Ruling.UNDECIDED
    assert "not all is known: training" in checks["adapter"].detail


def test_other_prices_are_another_suite_where_a_rule_is_on_costs_and_nowhere_else(
    workplace, registry, home, trained
) -> None:
    prices, evaluation, policy = (workplace / name for name in ("prices.yaml", "toy.yaml", "policy.yaml"))
    plain = make_gate("toy", policy, [evaluation], registry, home.cache).suites[0]
    prices.write_text(PRICES)
    evaluation.write_text(evaluation.read_text() + "prices: prices.yaml\n")
    assert make_gate("toy", policy, [evaluation], registry, home.cache).suites[0] == plain
    policy.write_text("rules:\n  - {rule: cost, times: 2.0}\n")
    asked = make_gate("toy", policy, [evaluation], registry, home.cache).suites[0]
    prices.write_text(PRICES.replace("prompt: 1.0", "prompt: 9.0"))
    other = make_gate("toy", policy, [evaluation], registry, home.cache).suites[0]
    assert plain.prices is None
    assert asked.differences(other) == ["the prices"]
