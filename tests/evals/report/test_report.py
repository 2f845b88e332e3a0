"""The HTML report: one file that needs nothing else, and reads right in both directions."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from evals.gate.policy import Policy, judge
from evals.report.evaluation import Evaluation
from evals.report.html import render_html
from evals.report.markdown import render_markdown
from evals.report.packed import readable
from evals.report.plot import Line, Plot
from evals.report.table import print_evaluation
from lifecycle.report import Example, Report, Slice, Tries

ARABIC, ENGLISH = "عندي ألم في الصدر منذ ساعة", "My tooth hurts"


@pytest.fixture
def evaluation(make_report, tmp_path: Path) -> Evaluation:
    answers = {"base": "<script>window.hacked = 1</script>", "adapter": '{"reply": "اتصل الآن", "intent": "symptom"}'}
    examples = tuple(
        Example(
            item=name,
            question=question,
            target='{"reply": "اتصل", "intent": "symptom"}',
            answers=answers,
            scores={"base": 0.0, "adapter": 1.0},
        )
        for name, question in (("a-1", ARABIC), ("e-1", ENGLISH))
    )
    report = make_report({"base": 0.2, "adapter": 0.9}, examples=examples, advice=("Ship adapter & be glad.",))
    policy = Policy.model_validate({"name": "test", "rules": [{"rule": "beats"}, {"rule": "items", "at_least": 999}]})
    verdicts = judge(report, policy, ["adapter"], at=report.created_at)
    return Evaluation(report, verdicts, "test", None, tmp_path)


def test_texts_of_models_are_escaped(evaluation: Evaluation) -> None:
    page = render_html(evaluation)
    assert "<script>" not in page
    assert "&lt;script&gt;window.hacked" in page
    assert "Ship adapter &amp; be glad." in page


def test_a_check_is_marked_as_passed_failed_or_open(evaluation: Evaluation) -> None:
    page, text = render_html(evaluation), render_markdown(evaluation)
    assert '<li class="ok"><b>beats base</b>' in page
    assert '<li class="open"><b>items</b>' in page
    assert "- ✓ **beats base**" in text
    assert "- ? **items**" in text
    assert "80 % power from" in text


def test_the_head_says_which_try_it_is_and_why_a_look_decides_nothing(evaluation: Evaluation) -> None:
    page = render_html(evaluation)
    assert "try 1 on these items, 0 looks so far" in page
    assert "Provisional" not in page
    changes = {"provisional": ("5 of 40 items", "a <dry> run"), "tries": Tries(number=1, looks=3)}
    look = render_html(replace(evaluation, report=evaluation.report.model_copy(update=changes)))
    assert "a look at these items, 3 looks so far" in look
    assert "Provisional: 5 of 40 items; a &lt;dry&gt; run." in look


def test_the_page_refers_to_nothing_outside_itself(evaluation: Evaluation) -> None:
    page = render_html(evaluation)
    places = re.findall(r"""(?:src|href)\s*=\s*["']([^"']*)""", page)
    assert places.count("data:,") == 1
    assert [place for place in places if place != "data:," and not place.startswith("#")] == []
    assert not re.search(r"https?:", page)
    assert "url(" not in page


def test_a_json_answer_is_shown_field_by_field_and_other_text_as_it_is() -> None:
    assert readable('{"reply": "نعم", "n": 3}') == [("reply", "نعم"), ("n", "3")]
    assert readable("plain") == [("", "plain")]
    assert readable("[1]") == [("", "[1]")]
    assert readable("{}") == [("", "{}")]


def test_the_axis_of_the_differences_holds_every_interval_and_zero(evaluation: Evaluation) -> None:
    plot = Plot([Line("x", -0.43, -0.52, -0.31, ""), Line("y", 0.02, -0.01, 0.07, "")], -1.0, 1.0).fitted()
    assert (plot.low, plot.high) == (-0.6, 0.1)
    assert plot.ticks[0] <= plot.low + 1e-9
    assert plot.x(plot.low) == plot.left
    assert plot.x(plot.high) == plot.right
    assert plot.left < plot.x(-0.43) < plot.x(0.0) < plot.right


@pytest.fixture
def page(evaluation: Evaluation, chromium: Any, tmp_path: Path) -> Iterator[object]:
    """The report in a real browser, as wide as a phone, offline; `requests` are all that it asked for."""
    file = tmp_path / "report.html"
    file.write_text(render_html(evaluation), encoding="utf-8")
    page = chromium.new_page(viewport={"width": 390, "height": 800}, color_scheme="dark")
    page.requested = []
    page.on("request", lambda request: page.requested.append(request.url))
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on("console", lambda message: page.faults.append(message.text))
    page.goto(file.as_uri())
    yield page
    page.close()


@pytest.mark.e2e
def test_in_a_browser_arabic_reads_from_the_right_and_english_from_the_left(page) -> None:
    direction = "element => getComputedStyle(element).direction"
    assert page.get_by_text(ARABIC).evaluate(direction) == "rtl"
    assert page.get_by_text("اتصل الآن").first.evaluate(direction) == "rtl"
    assert page.get_by_text(ENGLISH).evaluate(direction) == "ltr"
    assert page.get_by_text("symptom").first.evaluate(direction) == "ltr"
    right = page.get_by_text(ARABIC).evaluate(
        "e => { const r = document.createRange(); r.selectNodeContents(e);"
        " return [r.getBoundingClientRect().right, e.getBoundingClientRect().right] }"
    )
    assert right[0] == pytest.approx(right[1], abs=2)  # the text begins at the right edge


@pytest.mark.e2e
def test_in_a_browser_the_page_fetches_nothing_and_runs_nothing_of_the_models(page) -> None:
    assert [url for url in page.requested if not url.startswith(("file:", "data:"))] == []
    assert page.evaluate("window.hacked") is None
    assert page.faults == []


@pytest.mark.e2e
def test_on_a_phone_the_page_fits_and_shows_the_verdict_and_the_intervals(page) -> None:
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.locator("article.verdict .pill").inner_text() == "undecided"
    assert page.locator("article.verdict li.ok").count() == 2
    assert page.locator("svg circle").count() == 3  # two arms, one difference
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor")
    page.emulate_media(color_scheme="light")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") != dark


@pytest.mark.parametrize(
    "arms", [("base", "few-shot", "rag", "adapter", "hybrid"), ("الأساس", "بأمثلة", "محوّل_العيادة")]
)
@pytest.mark.parametrize("width", [80, 60])
def test_the_printed_comparison_cuts_nothing_in_80_columns_or_fewer(make_report, tmp_path, arms, width) -> None:
    import io

    from rich.cells import cell_len
    from rich.console import Console

    from evals.report.table import print_evaluation

    report = make_report({arm: 0.1 * place for place, arm in enumerate(arms)}, advice=(ARABIC * 4,), task="عيادة")
    policy = Policy.model_validate({"name": "test", "rules": [{"rule": "beats", "arm": arms[0]}]})
    verdicts = judge(report, policy, arms[1:], at=report.created_at)
    out = io.StringIO()
    print_evaluation(Evaluation(report, verdicts, "test", None, tmp_path), Console(file=out, width=width))
    lines = out.getvalue().splitlines()
    assert max(map(cell_len, lines)) <= width
    text = " ".join(" ".join(lines).split())
    for arm in report.arms:
        assert arm.arm in text
        assert arm.ref in text
        assert f"{arm.metrics['fields'].value:.3f}" in text
        assert f"{arm.metrics['fields'].low:.2f}…{arm.metrics['fields'].high:.2f}" in text
    assert "undecided" in text or "passed" in text
    assert report.digest[:19] in text


def test_what_no_figure_has_is_printed_with_its_reason_whichever_figure_decides(full: Evaluation) -> None:
    rag = full.report.result("rag")
    late = {"wins": {"the judge's answer is empty": 3}, "consistent": {"the judge's answer is empty": 3}}
    arms = tuple(arm.model_copy(update={"unscored": late}) if arm is rag else arm for arm in full.report.arms)
    console = Console(width=120, record=True, file=StringIO())
    print_evaluation(replace(full, report=full.report.model_copy(update={"arms": arms})), console)
    printed = console.export_text()
    assert "unscored: rag, 3 items in wins, consistent: the judge's answer is empty" in printed
    rows = [line.split("  ")[0].strip() for line in printed.splitlines()]
    times = [
        rows.index(name) for name in ("p50 seconds", "p95 seconds", "p99 seconds", "prompt tokens", "answer tokens")
    ]
    assert times == sorted(times), "one thing after the other"


def test_why_requests_failed_is_printed_and_once_for_all_arms(full: Evaluation) -> None:
    refused = "HTTP 400: The request is not valid:\n  tools: the chat template has no place for tools"
    late = "nothing came within 60 s"
    answers = {"base": {"error": refused}, "rag": {"error": refused}, "hybrid": {"repeats": [{"error": late}, {}]}}
    lines = [json.dumps({"key": f"k{n}", "name": f"n{n}", "arms": answers}) for n in range(3)]
    (full.folder / "items.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    console = Console(width=200, record=True, file=StringIO())
    print_evaluation(full, console)
    told = [line.strip() for line in console.export_text().splitlines() if line.strip().startswith("failed: ")]
    assert told == [f"failed: base 3, rag 3: {' '.join(refused.split())}", f"failed: hybrid 3: {late}"]


@pytest.fixture
def sliced(evaluation: Evaluation, make_report) -> Evaluation:
    """With one slice that is thin and named by what an item says."""
    part = make_report({"base": 0.3, "adapter": 0.7}, n=12)
    few = Slice(where={"ward": "<b>|x"}, n=12, thin=True, arms=part.arms, comparisons=part.comparisons)
    many = few.model_copy(update={"where": {"language": "ar"}, "n": 90, "clusters": 31, "thin": False})
    return replace(evaluation, report=evaluation.report.model_copy(update={"slices": (many, few)}))


def test_slices_stand_in_every_form_of_the_report_with_intervals_and_differences(sliced: Evaluation) -> None:
    console = Console(width=100, record=True, file=StringIO())
    print_evaluation(sliced, console)
    page, text, printed = render_html(sliced), render_markdown(sliced), console.export_text()
    figures = "0.300 [0.270, 0.330] | 0.700 [0.670, 0.730] | +0.400 [+0.370, +0.430]"
    assert f"| language ar | 90 items in 31 clusters | {figures} |" in text
    assert "| ward <b>\\|x | 12 items, thin |" in text
    assert "ward &lt;b&gt;|x</bdi><small>12 items, thin" in page
    assert '<span class="up">+0.400</span>' in page
    for words in ("fields by slice", "language ar", "90 items in 31", "12 items, thin", "+0.400", "+0.37…+0.43"):
        assert words in printed
    for shown in (page, text):
        assert "under 30 items" in shown
    again = Report.model_validate_json(sliced.report.model_dump_json())
    assert [part.n for part in again.slices] == [90, 12]


@pytest.mark.parametrize(("count", "folded"), [(3, False), (40, True)])
def test_many_thin_slices_of_a_field_are_one_line_on_the_screen(sliced: Evaluation, count: int, folded: bool) -> None:
    many, few = sliced.report.slices
    thin = [few.model_copy(update={"where": {"label": f"choice {n}"}, "n": 1 + n % 4}) for n in range(count)]
    report = sliced.report.model_copy(update={"slices": (many, *thin, few)})
    console = Console(width=100, record=True, file=StringIO())
    print_evaluation(replace(sliced, report=report), console)
    printed = console.export_text()
    assert ("40 thin slices" in printed, "of 1–4 items" in printed) == (folded, folded)
    assert ("choice 2" in printed) == (not folded)
    assert "language ar" in printed
    assert "12 items, thin" in printed, "the only one of its field"
    assert "choice 2" in render_markdown(replace(sliced, report=report)), "the report has them all"


def test_a_report_without_slices_says_nothing_of_them(evaluation: Evaluation) -> None:
    assert "slice" not in render_html(evaluation)
    assert "slice" not in render_markdown(evaluation)
