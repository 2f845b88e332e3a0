"""The page in a real browser: in both languages, with 10,000 items, by keyboard, on a phone and on paper."""

from __future__ import annotations

import json
import re
from io import BytesIO
from typing import Any
from unicodedata import normalize
from urllib.parse import quote

import pytest

from evals.archive.items import anchor
from evals.report import costs
from evals.report.evaluation import Evaluation
from evals.report.failures import failure_rows
from evals.report.html import render_html
from evals.report.markdown import render_markdown
from evals.report.packed import FIRST, MOST, pack
from evals.report.repeats import repeats_shown
from evals.report.stored import StoredEvaluation
from evals.report.words import Words
from tests.evals.report.conftest import KEY, items

ARMS, FIGURES = ("base", "few-shot", "rag", "adapter", "hybrid"), ("fields",)
IDENTIFIERS = {"p", "n"}
SEVENTH = f"#item={quote(KEY.format(7), safe='')}"


def test_nothing_english_is_left_in_arabic_but_data_and_identifiers(full: Evaluation) -> None:
    page = render_html(full, items(3), Words("ar"))
    assert '<html lang="ar" dir="rtl">' in page
    bare = re.sub(r"<(style|script)\b.*?</\1>", "", page, flags=re.DOTALL)
    bare = re.sub(r"<(bdi|svg|title)\b.*?</\1>", "", bare, flags=re.DOTALL)
    bare = re.sub(r'<(div|td|th)[^>]* dir="auto">[^<]*</\1>', "", bare)
    labels = re.findall(r'aria-label="([^"]*)"', bare)
    texts = [re.sub("<[^>]*>", " ", bare), *labels]
    left = [
        word
        for text in texts
        for word in re.findall("[A-Za-z]{2,}", re.sub("[\u2066\u2068][^\u2069]*\u2069", "", text))
    ]
    assert set(left) <= IDENTIFIERS
    written = render_markdown(full, Words("ar"))
    outside = re.sub("[\u2066\u2068][^\u2069]*\u2069|`[^`]*`|<[^>]*>", "", written)
    assert set(re.findall("[A-Za-z]{2,}", outside)) <= IDENTIFIERS
    for text in (page, written):
        assert text.count("\u2066") + text.count("\u2068") == text.count("\u2069")


def test_no_sentence_is_isolated_in_english_because_the_catalogue_lacks_it(
    full: Evaluation, taken_in: Evaluation
) -> None:
    for evaluation in (full, taken_in):
        page = re.sub(
            r"<(style|script|article)\b.*?</\1>", "", render_html(evaluation, (), Words("ar")), flags=re.DOTALL
        )
        told = re.findall(r'(?:aria-label|title)="([^"]*)"', page)
        told += re.sub("<[^>]*>", "\n", re.sub(r"</?bdi[^>]*>", " ", page)).splitlines()
        told += render_markdown(evaluation, Words("ar")).splitlines()
        for shown in told:
            assert not re.search(r"(?<![\w-])(?!dabt )[a-z]{2,}(?: [a-z]{2,}){2}", shown), shown


def test_the_arabic_page_says_costs_people_failures_repeats_and_notes(full: Evaluation, taken_in: Evaluation) -> None:
    for text in (render_html(full, (), Words("ar")), render_markdown(full, Words("ar"))):
        shown = re.sub("[\u2066-\u2069]|<[^>]*>", "", text)
        assert (
            "لا بديل أفضل بالتكلفة نفسها أو بأقل منها من: base (4.00 USD)، few-shot (6.00 USD)، rag (7.40 USD)، "
            "adapter (8.20 USD)؛ لكل 1,000 طلب." in shown
        )
        assert "adapter: التدريب: ساعاته 1.50 على جهاز، ولا سعر لها" in shown
        assert "11 مُدخلًا من bastioncorpus؛ الرخصة: MIT" in shown
        assert "84 من language ar" in shown
        assert "11 مجموعة" in shown
        assert "fields مع عدّة إجابات لكل عنصر" in shown
    for text in (render_html(taken_in, (), Words("ar")), render_markdown(taken_in, Words("ar"))):
        assert "ولا يفتح أي بوابة" in text
        assert "الأزمنة والتكاليف" not in text, "another tool's report has no times of ours"
    assert "measured by lm-eval 0.4.13, from results_1.json: it opens no gate" in render_html(taken_in)
    assert "- 30 of 40 items were asked" in render_markdown(taken_in)


def test_only_logical_sides_are_in_the_style_sheets() -> None:
    from evals.report.html import _part
    from lifecycle.pages import house_style

    sides = r"(margin|padding|border|inset)-(left|right)|[^-\w](left|right)\s*:|text-align:\s*(left|right)"
    assert re.findall(sides, house_style() + _part("page.css")) == []


@pytest.mark.parametrize("language", ["en", "ar"])
def test_every_figure_of_the_page_is_in_the_markdown_and_in_the_json(full: Evaluation, language: str) -> None:
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(render_html(full, (), Words.of(language)), "html.parser")
    written = render_markdown(full, Words.of(language))
    stored = StoredEvaluation.of(full).model_dump_json()
    again = StoredEvaluation.model_validate_json(stored).at(full.folder)
    several = repeats_shown(again)
    assert several is not None
    # What is in the JSON, or follows from it alone: a cost of 1,000 requests, a standard error with twice the answers.
    told = _numbers([json.loads(stored), costs.rows(again.report), list(several.rows), failure_rows(again)])
    in_cells = " ".join(cell.get_text(" ") for cell in soup.select("table td"))
    sections = ("costs", "people", "repeats", "failures", "slices", "figures", "differences")
    assert all(soup.select(f"#table-of-{section} td.number") for section in sections)
    cells = re.findall(r"(?<![A-Za-z.])[+-]?\d[\d.]*(?:e-\d+)?", in_cells)
    assert len(cells) > 280
    for number in set(cells):
        digits = len(number.partition(".")[2].partition("e")[0])
        shown = {float(figure) for figure in re.findall(r"(?<![\w.])[+-]?\d[\d.]*(?:e-?\d+)?", written)}
        assert any(abs(figure - float(number)) <= 0.5 * 10**-digits + 1e-9 for figure in shown), number
        assert any(abs(figure - float(number)) <= 0.5 * 10**-digits + 1e-9 for figure in told), number


def _numbers(value: Any) -> set[float]:
    if isinstance(value, dict):
        return set().union(*(_numbers(part) for part in [*value, *value.values()]))
    if isinstance(value, list | tuple):
        return set().union(*map(_numbers, value))
    if isinstance(value, str):
        return {float(number) for number in re.findall(r"[+-]?\d+(?:\.\d+)?", value)}
    return {float(value)} if isinstance(value, int | float) else set()


def test_a_page_carries_a_bounded_number_of_items_and_says_so(
    full: Evaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert MOST == 20_000
    monkeypatch.setattr("evals.report.packed.MOST", 15)
    packed = pack(items(40), ARMS, FIGURES)
    assert packed is not None
    assert (packed.packed, packed.whole, len(packed.first)) == (15, 40, FIRST)
    assert "This page has the first 15 of 40 items; all are in items.jsonl." in render_html(full, items(40))
    assert pack([], ARMS, FIGURES) is None


def test_nothing_of_an_item_is_markup_and_no_half_character_stops_the_file(full: Evaluation) -> None:
    page = render_html(full, items(3))
    page.encode("utf-8")
    assert "<b id=hacked>" not in page
    assert "<img" not in page
    assert "[U+202E]evil\ufffd&lt;img" in page
    assert page.count("</script>") == 3  # the words, the items, the script: all of them the page's own


@pytest.mark.e2e
def test_without_javascript_the_tables_and_the_first_items_are_there(opened) -> None:
    with opened(n=30, script=False) as page:
        assert page.locator("#first-items article").count() == FIRST
        assert page.get_by_text("these are the first items: 10 of 30").is_visible()
        assert page.locator("#table-of-figures tbody tr").count() == 5
        assert page.locator("#browser").is_hidden()


@pytest.mark.e2e
def test_items_are_searched_filtered_sorted_and_turned(opened) -> None:
    from playwright.sync_api import expect

    with opened(n=120) as page:
        rows, status = page.locator("#table-of-items tbody tr"), page.locator("#browser [role=status]")
        assert (status.inner_text(), rows.count()) == ("\u2068120\u2069 items", 50)
        assert page.evaluate("document.querySelector('#hacked, #items img') === null")
        page.locator("[data-page='1']").click()
        assert rows.first.locator("a").inner_text() == "toy-00050"
        page.get_by_label("only where arms differ").check()
        assert status.inner_text() == "\u206860\u2069 items"
        page.locator("select[name=slice]").select_option(label="\u2068language ar\u2069")
        assert status.inner_text() == "\u206820\u2069 items"
        page.locator("select[name=arm]").select_option(label="\u2068base\u2069")
        page.locator("select[name=outcome]").select_option("right")
        assert status.inner_text() == "\u20680\u2069 items"
        page.locator("select[name=outcome]").select_option("wrong")
        assert status.inner_text() == "\u206820\u2069 items"
        page.get_by_label("Search").fill("عندي الم 9")  # without marks, and with another alef
        expect(status).to_have_text("\u20685\u2069 items", timeout=120_000)
        assert [name.inner_text()[-2:] for name in rows.locator("a").all()] == ["09", "39", "69", "93", "99"]
        page.get_by_role("button", name="item", exact=True).click()
        assert rows.first.locator("a").inner_text() == "toy-00099"
        assert page.locator("#table-of-items th").first.get_attribute("aria-sort") == "descending"
        assert page.faults == []


@pytest.mark.e2e
@pytest.mark.parametrize("place", [SEVENTH, f"#{anchor(KEY.format(7))}"])
def test_a_link_opens_its_item_and_keys_go_on_from_there(opened, place: str) -> None:
    with opened(n=60, place=place) as page:
        item = page.locator("#item")
        assert item.locator("bdi").first.inner_text() == "toy-00007"
        assert page.evaluate("document.activeElement.id") == "item"
        assert item.get_by_text("</script><b id=hacked>").count() == 4
        page.keyboard.press("j")
        assert item.locator("bdi").first.inner_text() == "toy-00008"
        assert page.evaluate("location.hash").startswith("#item=toy%2F8%2F")
        page.keyboard.press("k")
        page.keyboard.press("ArrowUp")
        assert item.locator("bdi").first.inner_text() == "toy-00006"
        page.keyboard.press("/")
        page.keyboard.type("jk")
        assert page.locator("input[type=search]").input_value() == "jk"
        page.keyboard.press("Escape")
        assert item.is_hidden()
        page.evaluate("location.hash = 'item=gone'")
        page.get_by_text("This page has no item").wait_for()
        assert page.faults == []


@pytest.mark.e2e
def test_headers_sort_by_keyboard_and_the_skip_link_comes_first(opened) -> None:
    with opened(n=3) as page:
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        assert page.locator(".skip").bounding_box()["x"] >= 0
        head = page.locator("#table-of-figures th", has_text="fields").get_by_role("button")
        head.focus()
        page.keyboard.press("Enter")
        names = page.locator("#table-of-figures tbody td:first-child > bdi")
        assert names.all_inner_texts() == ["adapter", "hybrid", "rag", "few-shot", "base"]
        page.keyboard.press("Enter")
        assert names.first.inner_text() == "base"
        assert page.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "scheme"), [("en", "light"), ("ar", "dark")])
def test_a_phone_scrolls_wide_tables_and_nothing_else_and_axe_finds_nothing_serious(opened, language, scheme) -> None:
    from axe_playwright_python.sync_playwright import Axe

    with opened(language, n=60, width=360, scheme=scheme, place=SEVENTH) as page:
        assert page.evaluate("document.documentElement.scrollWidth") == 360
        table = page.locator("#table-of-figures")
        assert table.evaluate("area => area.scrollWidth > area.clientWidth")
        table.evaluate("area => { area.scrollLeft = getComputedStyle(area).direction === 'rtl' ? -200 : 200 }")
        first, area = table.locator("tbody td").first.bounding_box(), table.bounding_box()
        if language == "ar":
            assert first["x"] + first["width"] == pytest.approx(area["x"] + area["width"], abs=2)
        else:
            assert first["x"] == pytest.approx(area["x"], abs=2)
        found = Axe().run(page).response["violations"]
        serious = [
            (fault["id"], fault["nodes"][0]["html"]) for fault in found if fault["impact"] in ("serious", "critical")
        ]
        assert serious == []
        page.emulate_media(color_scheme="dark" if scheme == "light" else "light")
        contrast = Axe().run(page, options={"runOnly": ["color-contrast"]}).response["violations"]
        assert [node["html"] for fault in contrast for node in fault["nodes"]] == []
        assert page.faults == []


@pytest.mark.e2e
def test_paper_cuts_no_table_and_unfolds_what_is_folded(opened) -> None:
    from pypdf import PdfReader

    with opened(n=3) as page:
        pages = PdfReader(BytesIO(page.pdf(format="A4"))).pages
    text = " ".join(normalize("NFKC", "\n".join(sheet.extract_text() for sheet in pages)).split())
    for words in ("cut", "hybrid − base", "sign-flip", "rows are what was right", "Keyboard"):
        assert words in text
    assert "Next page" not in text
