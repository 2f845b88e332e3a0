"""An evaluation with something in every section of its report, and pages in a real browser."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from evals.archive.items import Item
from evals.gate.policy import Policy, judge
from evals.report.evaluation import Evaluation
from evals.report.html import render_html
from evals.report.words import Words
from lifecycle.report import Example, Interval, Slice
from tests.evals.conftest import DEPLOYMENT

CHROMIUM = Path("/usr/bin/chromium")
KEY = "toy/{}/<&'\"%"
"""Keys of items may hold anything."""
RULES = [
    {"rule": "beats"}, {"rule": "not_worse", "arms": ["rag", "lacking"], "margin": 0.05}, {"rule": "clusters"},
    {"rule": "safety", "value": 0.9}, {"rule": "at_least", "value": 0.8}, {"rule": "latency", "times": 1.5},
    {"rule": "items", "at_least": 300}, {"rule": "errors"}, {"rule": "unscored"},
    {"rule": "beats", "slice": {"language": "ar"}},
]  # fmt: skip


@pytest.fixture
def full(make_report, tmp_path: Path) -> Evaluation:
    """Five arms; everything that a report may say is said of one of them."""
    values = {"base": 0.2, "few-shot": 0.5, "rag": 0.6, "adapter": 0.9, "hybrid": 0.7}
    perfect = {arm: Interval(value=1.0, low=0.9, high=1.0, n=31) for arm in values}
    report = make_report(values, safety=perfect)
    arms = [arm.model_copy(update={"errors": 3, "cut": 20}) for arm in report.arms]
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
    advice = (
        "Ship adapter (toy:4): fields 0.900 [0.870, 0.930], +0.700 [+0.670, +0.730] against base; it passes the "
        "policy. It is the best arm, and nothing simpler (few-shot, rag) comes near it and passes.",
        "Asked a second time, the baseline changed 2.0% of its answers: a smaller difference between arms may be no "
        "more than that.",
    )
    changes: dict[str, Any] = {
        "arms": tuple(arms), "slices": (thin,), "examples": (example,), "advice": advice, "deployment": DEPLOYMENT,
        "noise_floor": 0.02, "n_train": 400, "provisional": ("5 of 40 items", "a dry run"),
    }  # fmt: skip
    report = report.model_copy(update=changes)
    policy = Policy.model_validate({"name": "better than the baseline", "rules": RULES})
    verdicts = judge(report, policy, list(values)[1:], at=report.created_at)
    opens = dict.fromkeys(list(values)[1:], "opens nothing: this run is provisional (5 of 40 items; a dry run)")
    return Evaluation(report, verdicts, policy.name, "toy:4", tmp_path, opens)


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
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless"])
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
        page.set_default_timeout(15_000)
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
