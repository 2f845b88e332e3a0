"""`dabt advise`: each rule at its boundary and beside it, what they come to, and what stays an open question."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from typer.testing import CliRunner

from dabt import app
from evals.advice.before import RULES, fired, outlook
from evals.advice.command import show
from evals.advice.prospect import About, DataFacts, Prospect
from evals.advice.questions import advice_of, markdown
from evals.cost.prices import Prices
from lifecycle.report import Report, Slice
from lifecycle.version import Knowledge, Prompt, Shot, VersionSpec, digest_of
from tests.evals.conftest import RECIPES, ReportMaker

BASE = digest_of("base")
SYSTEM = Prompt(system="Answer.")
SPECS = {
    "base": VersionSpec(base=BASE),
    "prompt": VersionSpec(base=BASE, prompt=SYSTEM),
    "few-shot": VersionSpec(base=BASE, prompt=Prompt(system="Answer.", shots=(Shot(user="u", assistant="a"),))),
    "rag": VersionSpec(base=BASE, prompt=SYSTEM, knowledge=Knowledge(index=digest_of("index"))),
    "adapter": RECIPES["adapter"],
}
ARMS = {"base": 0.2, "prompt": 0.3, "few-shot": 0.31, "rag": 0.32}
ENOUGH_ITEMS = 626
PRICES = Prices.model_validate(
    {"currency": "USD", "tokens": {"prompt": 10.0, "completion": 1.0}, "training": {"hour": 2.0}}
)
Make = Callable[[ReportMaker], Prospect]


def rows(count: int = 2000, *checks: tuple[str, str], seconds: float | None = None) -> DataFacts:
    findings = [{"level": level, "check": check, "message": f"{check} is off", "places": []} for level, check in checks]
    expected = None if seconds is None else {"seconds": seconds, "machine": "2 cores", "tokens": 7}
    told = {"rows": count, "findings": findings, "expected": expected, "balance": None}
    return DataFacts.model_validate(told)


def prospect(make: ReportMaker, values: dict[str, float] = ARMS, **changes: Any) -> Prospect:
    report = make(values, n=changes.pop("n", ENOUGH_ITEMS), half=0.03)
    for name in ("cut", "errors", "valid_json"):
        if (given := changes.pop(name, None)) is not None:
            report = _with(report, name, given)
    slices = changes.pop("slices", ())
    report = report.model_copy(update={"slices": slices})
    return Prospect(report=report, specs={arm: SPECS[arm] for arm in values}, **changes)


def _with(report: Report, name: str, value: float) -> Report:
    if name == "valid_json":
        figure = report.arms[0].metrics[report.metric].model_copy(update={"value": value})
        arms = [arm.model_copy(update={"metrics": arm.metrics | {name: figure}}) for arm in report.arms]
    else:
        arms = [arm.model_copy(update={name: value}) for arm in report.arms]
    return report.model_copy(update={"arms": tuple(arms)})


def weak(make: ReportMaker, value: float) -> Prospect:
    inside = make({"base": 0.5, "few-shot": value}, half=0.05)
    part = Slice(where={"language": "ar"}, n=60, thin=False, arms=inside.arms, comparisons=inside.comparisons)
    return prospect(make, {"base": 0.5, "few-shot": 0.6}, slices=(part,))


CASES: dict[str, tuple[Make, Make]] = {
    # rule → at its boundary, and just beside it.
    "not-evaluated": (lambda _: Prospect(), prospect),
    "no-prompt": (lambda make: prospect(make, {"base": 0.2}), lambda make: prospect(make, {"prompt": 0.2})),
    "no-examples": (
        lambda make: prospect(make, {"base": 0.2, "prompt": 0.3}),
        lambda make: prospect(make, {"base": 0.2, "few-shot": 0.3}),
    ),
    "facts-untried": (
        lambda make: prospect(make, {"few-shot": 0.2}, data=rows(2000, ("warning", "facts"))),
        lambda make: prospect(make, {"few-shot": 0.2, "rag": 0.3}, data=rows(2000, ("warning", "facts"))),
    ),
    "facts-change": (
        lambda make: prospect(make, about=About(facts_change="weekly")),
        lambda make: prospect(make, about=About(facts_change="monthly")),
    ),
    "retrieval-helps": (
        lambda make: prospect(make, {"few-shot": 0.2, "rag": 0.231}),
        lambda make: prospect(make, {"few-shot": 0.2, "rag": 0.23}),
    ),
    "nothing-to-gain": (
        lambda make: prospect(make, {"few-shot": 0.951}),
        lambda make: prospect(make, {"few-shot": 0.95}),
    ),
    "examples-help": (
        lambda make: prospect(make, {"prompt": 0.2, "few-shot": 0.231}),
        lambda make: prospect(make, {"prompt": 0.2, "few-shot": 0.23}),
    ),
    "form-fails": (lambda make: prospect(make, valid_json=0.949), lambda make: prospect(make, valid_json=0.95)),
    "room-and-rows": (
        lambda make: prospect(make, {"few-shot": 0.95}, data=rows(1000)),
        lambda make: prospect(make, {"few-shot": 0.95}, data=rows(1000, ("warning", "facts"))),
    ),
    "few-rows": (lambda make: prospect(make, data=rows(999)), lambda make: prospect(make, data=rows(1000))),
    "bad-rows": (
        lambda make: prospect(make, data=rows(2000, ("error", "leak"))),
        lambda make: prospect(make, data=rows(2000, ("warning", "leak"))),
    ),
    "few-items": (lambda make: prospect(make, n=ENOUGH_ITEMS - 1), lambda make: prospect(make, n=ENOUGH_ITEMS)),
    "cut-before": (lambda make: prospect(make, n=700, cut=22), lambda make: prospect(make, n=700, cut=21)),
    "errors-before": (lambda make: prospect(make, errors=1), prospect),
    "slices-before": (lambda make: weak(make, 0.549), lambda make: weak(make, 0.55)),
    "training-cost": (
        lambda make: prospect(make, data=rows(seconds=60)), lambda make: prospect(make, data=rows()),
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_fires_at_its_boundary_and_not_beside_it(make_report, rule: str) -> None:
    at, beside = (fired(case(make_report)) for case in CASES[rule])
    assert rule in {one.rule for one in at}
    assert rule not in {one.rule for one in beside}


@pytest.mark.parametrize("data", [rows(12), rows(12, ("warning", "size"))], ids=["rows alone", "a report's finding"])
def test_how_many_rows_there_are_is_said_once(data: DataFacts) -> None:
    (said,) = [one.sentence for one in fired(Prospect(data=data)) if one.rule == "few-rows"]
    assert said.count("12") + said.count("size") == 1
    assert said.endswith("Gather more, or let a teacher label them (dabt data distill).")


def test_every_rule_has_its_case() -> None:
    assert sorted(rule.name for rule in RULES) == sorted(CASES)


def test_arms_that_were_trained_are_not_looked_at(make_report) -> None:
    with_it = prospect(make_report, ARMS | {"adapter": 0.99}, data=rows())
    assert [one.rule for one in fired(with_it)] == [one.rule for one in fired(prospect(make_report, data=rows()))]
    assert "nothing-to-gain" not in {one.rule for one in fired(with_it)}


@pytest.mark.parametrize(
    ("changes", "whole"),
    [
        ({"data": rows()}, "promising"),
        ({"data": rows(999)}, "not yet"),
        ({"data": rows(), "about": About(good_enough=0.33)}, "not promising"),
        ({}, "open"),
    ],
)
def test_the_rules_come_to_an_outlook(make_report, changes: dict[str, Any], whole: str) -> None:
    assert outlook(fired(prospect(make_report, **changes))) == whole


def test_training_pays_for_itself_by_the_prompt_that_it_saves(make_report) -> None:
    known = prospect(make_report, {"base": 0.2, "few-shot": 0.6}, data=rows(2000, seconds=3600), prices=PRICES)
    assert known.report is not None
    arms = [
        arm.model_copy(update={"prompt_tokens": tokens})
        for arm, tokens in zip(known.report.arms, (100, 600), strict=True)
    ]
    report = known.report.model_copy(update={"arms": tuple(arms)})
    said = {one.rule: one for one in fired(Prospect(report, known.specs, known.data, known.about, PRICES))}
    assert said["training-cost"].figures == {
        "hours": 1.0, "price": 2.0, "saved": pytest.approx(0.005), "requests": pytest.approx(400),
    }  # fmt: skip
    assert "from about 410 requests on" in said["training-cost"].sentence


def test_what_is_not_known_is_an_open_question_that_says_how_to_give_it(make_report) -> None:
    nothing = advice_of(Prospect())
    assert all(of.open for of in nothing.questions)
    whole = About(use_case="Sorts messages.", benefit="an hour a day", owner="the front desk", facts_change="never")
    known = prospect(make_report, data=rows(2000, seconds=60), about=whole, prices=PRICES, gated=True)
    told = advice_of(known)
    assert [of.question for of in told.questions if of.open] == [
        "What is lacking: instructions, facts, or form and behaviour?"
    ]
    assert told.questions[0].answer == "Sorts messages."
    assert "few-shot 0.310 [0.280, 0.340]" in told.questions[1].answer


def test_the_terminals_lines_are_80_characters_and_markdown_has_the_same_rules(make_report) -> None:
    advice = advice_of(prospect(make_report, n=100, data=rows(900, ("error", "leak"))))
    console = Console(record=True, width=80)
    show(advice, console)
    text = console.export_text()
    assert max(map(len, text.splitlines())) <= 80
    for rule in advice.rules:
        assert rule.rule in text
        assert rule.sentence in markdown(advice)
    assert advice.summary in text


def test_the_guide_lists_every_rule_with_its_source_and_no_other() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "guides" / "advice.md").read_text(encoding="utf-8")
    table = guide.partition("## Before any training")[2].partition("\n## ")[0]
    listed = [tuple(cell.strip() for cell in line.split("|")[1:5]) for line in table.splitlines() if "| `" in line[:3]]
    assert listed == [(f"`{rule.name}`", rule.leans, rule.when, rule.source) for rule in RULES]


@pytest.fixture
def kept(registry, home, make_report, monkeypatch: pytest.MonkeyPatch) -> None:
    """An evaluation of two arms in the registry of the home."""
    monkeypatch.setenv("DABT_REGISTRY_URL", home.registry_url)
    base = registry.create_version("toy", SPECS["base"], actor="test")
    shots = registry.create_version("toy", SPECS["few-shot"], actor="test")
    report = make_report({"base": 0.2, "few-shot": 0.6}, n=700)
    arms = [
        arm.model_copy(update={"ref": version.ref, "version_digest": version.digest})
        for arm, version in zip(report.arms, (base, shots), strict=True)
    ]
    registry.record_report(report.model_copy(update={"arms": tuple(arms)}), actor="test")


def test_the_command_reads_the_newest_evaluation_of_a_task_and_a_data_report(kept, home, tmp_path: Path) -> None:
    (tmp_path / "data.json").write_text(json.dumps({"rows": 1200, "findings": [], "balance": None, "file": "JSON"}))
    asked = ["advise", "toy", "--data", str(tmp_path / "data.json"), "--home", str(home.root), "--json"]
    done = CliRunner().invoke(app, asked, catch_exceptions=False)
    told = json.loads(done.output)
    assert told["outlook"] == "promising"
    assert [rule["rule"] for rule in told["rules"]] == ["examples-help", "room-and-rows"]
    assert told["rules"][0]["figures"]["delta"] == pytest.approx(0.4)
    shown = CliRunner().invoke(app, [*asked[:-1], "--markdown"], catch_exceptions=False)
    assert shown.output.startswith("# toy: is a fine-tune promising?\n\n**A fine-tune is promising.**")


def test_a_task_that_was_never_evaluated_is_named(kept, home) -> None:
    done = CliRunner().invoke(app, ["advise", "unknown", "--home", str(home.root)])
    assert "there is no evaluation of 'unknown'" in str(done.exception)


@pytest.mark.e2e
def test_rows_are_checked_by_a_process_of_its_own(kept, home, tmp_path: Path) -> None:
    lines = [json.dumps({"prompt": f"question {n}", "completion": f"answer {n}"}) for n in range(20)]
    (tmp_path / "rows.jsonl").write_text("\n".join(lines) + "\n")
    asked = ["advise", "toy", "--data", str(tmp_path / "rows.jsonl"), "--home", str(home.root), "--json"]
    told = json.loads(CliRunner().invoke(app, asked, catch_exceptions=False).output)
    assert told["outlook"] == "not yet"
    assert "few-rows" in {rule["rule"] for rule in told["rules"]}
