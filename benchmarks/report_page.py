"""How large the report's page is, and how soon it opens, in a real browser: `python -m benchmarks.report_page`.

A synthetic evaluation of 10,000 items and five arms, with questions and answers as long as the clinic's; median of
five openings, each in a fresh browser context. There is no bound to pass.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import combinations
from pathlib import Path
from typing import Any

from evals.archive.items import Item
from evals.report.evaluation import Evaluation
from evals.report.html import render_html
from lifecycle.report import ArmResult, Comparison, Interval, Report
from lifecycle.version import digest_of

ARMS = ("base", "few-shot", "rag", "adapter", "hybrid")
FIGURES = ("fields", "valid_json", "reply_f1")
WORDS = "صباح الخير عندي ألم في المعدة منذ أسبوع please tell me when the clinic opens and whom to ask".split()  # noqa: SIM905
CHROMIUM = "/usr/bin/chromium"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? null"
READY = "performance.getEntriesByName('items')[0]?.startTime ?? null"
SEARCH = """async () => {
  const form = document.querySelector('#browser form'), status = document.querySelector('#browser [role=status]');
  form.words.value = 'clinic 77';
  const begun = performance.now();
  form.dispatchEvent(new Event('change'));
  return [performance.now() - begun, status.textContent];
}"""


def items(n: int) -> Iterator[Item]:
    """Seeded texts."""
    draw = random.Random(17)

    def text(length: int) -> str:
        return " ".join(draw.choices(WORDS, k=length))

    for number in range(n):
        arms = {
            arm: {
                "answer": f'{{"intent": "symptom", "department": "{text(2)}", "reply": "{text(18)}"}}',
                "scores": {name: float(draw.random() < 0.7) for name in FIGURES},
                "passages": ["h07", "h12"],
            }
            for arm in ARMS
        }
        yield Item.model_validate(
            {
                "key": f"clinic/{number}/{digest_of(str(number))[7:19]}",
                "name": f"clinic-{number:05}",
                "question": f"{text(24)} {number}",
                "target": f'{{"intent": "symptom", "reply": "{text(12)}"}}',
                "slices": {"language": draw.choice(("ar", "latin")), "length": draw.choice(("short", "medium"))},
                "arms": arms,
            }
        )


def evaluation(n: int) -> Evaluation:
    """Figures are made up: the page is measured."""
    figure = Interval(value=0.7, low=0.68, high=0.72, n=n)
    arms = [
        ArmResult(
            arm=arm, ref=f"clinic:{at}", version_digest=digest_of(arm), metrics=dict.fromkeys(FIGURES, figure),
            latency_p50=0.5, latency_p95=1.0, prompt_tokens=100, completion_tokens=20,
        )
        for at, arm in enumerate(ARMS, 1)
    ]  # fmt: skip
    pairs = [
        Comparison(arm=b, against=a, metric="fields", delta=0, low=-0.02, high=0.02, p_value=1.0, test="sign-flip", n=n)
        for a, b in combinations(ARMS, 2)
    ]
    report = Report(
        task="clinic", task_digest=digest_of("task"), base="base", metric="fields", arms=tuple(arms),
        comparisons=tuple(pairs), n_items=n, seed=17, created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    return Evaluation(report, (), "none", None, Path())


def main() -> None:
    """Print the table."""
    from playwright.sync_api import sync_playwright

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--items", type=int, default=10_000)
    parser.add_argument("--openings", type=int, default=5)
    given = parser.parse_args()
    begun = time.perf_counter()
    page = render_html(_judged(evaluation(given.items)), items(given.items))
    written = time.perf_counter() - begun
    raw = sum(len(item.model_dump_json().encode()) for item in items(given.items))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder, "report.html")
        file.write_text(page, encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--headless"])
        seen = [_opened(browser, file) for _ in range(given.openings)]
        browser.close()
    print(f"| items, {len(ARMS)} arms each | {given.items:,} |\n| --- | --- |")
    print(f"| written in | {written:.1f} s |")
    print(f"| texts of the items | {raw / 1e6:.1f} MB |")
    print(f"| the page | {len(page.encode()) / 1e6:.1f} MB |")
    for at, name in enumerate(("first paint", "items can be used", "first search of all texts", "second search")):
        print(f"| {name} | {statistics.median(times[at] for times in seen):.0f} ms |")


def _judged(plain: Evaluation) -> Evaluation:
    """A page has verdicts on all arms but the first."""
    from evals.gate.policy import Policy, judge

    policy = Policy.model_validate({"name": "none", "rules": [{"rule": "items", "at_least": 100}]})
    verdicts = judge(plain.report, policy, list(ARMS[1:]), at=plain.report.created_at)
    return Evaluation(plain.report, verdicts, "none", None, Path())


def _opened(browser: Any, file: Path) -> tuple[float, float, float, float]:
    context = browser.new_context(viewport={"width": 1200, "height": 800})
    page = context.new_page()
    page.goto(file.as_uri())
    page.wait_for_selector("#items[data-ready]", timeout=120_000)
    paint, ready = page.evaluate(PAINT), page.evaluate(READY)
    (first, _), (second, _) = page.evaluate(SEARCH), page.evaluate(SEARCH)
    context.close()
    return paint, ready, first, second


if __name__ == "__main__":
    main()
