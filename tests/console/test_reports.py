"""The screen of evaluations: found, read with their figures, row by row, over time and beside each other."""

from __future__ import annotations

import csv
import io
import json
import shutil
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from evals.archive.items import anchor
from evals.archive.library import Kept
from lifecycle.verdict import Verdict
from tests.console.conftest import Serve, Served
from tests.evals.archive.conftest import START, keep_report, take_in
from tests.service.conftest import House

N = 120
ITEMS = [f"q{number:03}" for number in range(N - 3)] + ["a/b c", "\"'<&%?#", "HALF"]
KEPT: dict[str, Kept] = {}


def scores(right: int) -> dict[str, float | None]:
    return {name: float(place % 10 < right) for place, name in enumerate(ITEMS)}


def fill(house: House) -> None:
    def keep(label: str, right: int, day: int, **more: Any) -> None:
        late = {} if label == "secret" else {ITEMS[1]: None}
        arms = {"base": scores(2), "adapter": scores(right) | late}
        KEPT[label] = keep_report(house.registry, house.home, arms, day=day, **more)
        items = KEPT[label].folder / "items.jsonl"
        items.write_text(items.read_text().replace("HALF", "\\ud800half"))

    keep("old", 6, 0)
    keep("new", 8, 5, systems={"adapter": "better"}, prod="base",
         texts={ITEMS[3]: "<script>hack()</script> \u202eevil", ITEMS[4]: '{"reply": "عِندي ألم"}'})  # fmt: skip
    keep("secret", 9, 6, name="payroll", task="payroll")
    pair = {"base": {"a": 0.0}, "adapter": {"a": 1.0}}
    KEPT["lost"] = keep_report(house.registry, house.home, pair, day=2, name="lost", task="lost")
    shutil.rmtree(KEPT["lost"].folder)
    KEPT["fresh"] = keep_report(house.registry, house.home, {"base": scores(3)}, day=3, name="fresh", task="fresh")
    KEPT["theirs"] = take_in(house.home, KEPT["old"].report)
    broken = house.home.evaluations / "toy-broken"
    broken.mkdir()
    (broken / "evaluation.json").write_text("{")
    house.key("eva", role="evaluator")
    house.key("narrow", role="evaluator", models=("toy",))
    house.key("sami", role="caller")


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


@pytest.fixture
def eva(served: Served) -> httpx.Client:
    return served.client("eva")


def shown(client: httpx.Client, place: str) -> str:
    answer = client.get(place)
    assert answer.status_code == 200, answer.text
    return answer.text


def of(label: str, place: str = "") -> str:
    return f"/ui/reports/{KEPT[label].name}{place}"


def test_every_evaluation_is_listed_with_what_was_decided(eva: httpx.Client):
    page = shown(eva, "/ui/reports")
    for kept in KEPT.values():
        assert of_name(kept) in page
    assert "6 evaluations" in page
    assert 'from <bdi dir="ltr" class="name">lm-eval 0.4.13</bdi>' in page
    assert 'class="pill passed"' in page
    assert "1 evaluation cannot be read" in page
    assert "toy-broken" in page
    assert "EOF" in page


def of_name(kept: Kept) -> str:
    return f'href="/ui/reports/{kept.name}"'


@pytest.mark.parametrize(
    ("asked", "there"),
    [
        ("q=payroll", {"secret"}), ("q=toy%20adapter", {"old", "new", "theirs"}),
        ("since=2026-03-06", {"new", "secret"}),
        ("until=2026-03-01", {"old", "theirs"}), ("tool=any", {"theirs"}), ("word=look", set()), ("q=nothing", set()),
    ],
)  # fmt: skip
def test_evaluations_are_found(eva: httpx.Client, asked: str, there: set[str]):
    page = shown(eva, f"/ui/reports?{asked}")
    assert {label for label, kept in KEPT.items() if of_name(kept) in page} == there


@pytest.mark.parametrize("asked", ["since=soon", "word=great"])
def test_what_cannot_be_asked_for_is_told(eva: httpx.Client, asked: str):
    assert eva.get(f"/ui/reports?{asked}").status_code == 400


def test_a_key_sees_the_reports_of_the_versions_that_it_covers(served: Served):
    with served.client("narrow") as client:
        page = shown(client, "/ui/reports")
        assert {label for label, kept in KEPT.items() if of_name(kept) in page} == {"old", "new", "theirs"}
        assert "payroll" not in page
        assert "toy-broken" not in page
        for place in ("", "/items", "/evaluation.json", "/items.csv", "/report.html", f"/items/{anchor('q000/abc')}"):
            assert client.get(of("secret", place)).status_code == 404
        assert client.get("/ui/reports/history?task=payroll").status_code == 404
        assert client.get(f"/ui/reports/diff?a={KEPT['old'].name}&b={KEPT['secret'].name}").status_code == 404
    with served.client("sami") as client:
        assert client.get(of("new")).status_code == 403


def test_a_report_shows_all_that_its_own_page_shows_without_a_style_or_script_in_it(eva: httpx.Client):
    page = shown(eva, of("new"))
    verdict: Verdict = KEPT["new"].verdicts[0]
    for there in ("<svg", 'id="figures"', 'id="differences"', 'id="verdicts"', "toy policy", verdict.checks[0].rule):
        assert there in page
    for never in (" style=", "<style", "<script>", " onclick"):
        assert never not in page
    ref = KEPT["new"].report.arms[1].ref
    assert f'href="/ui/versions/{ref.replace(":", "/")}"' in page
    assert "Candidates beside what served" in page
    assert "arm=adapter&amp;against=base&amp;disagree=yes" in page


def test_a_report_is_read_in_the_readers_language(served: Served):
    with served.client("eva") as client:
        client.cookies.set("dabt_language", "ar", path="/ui")
        page = shown(client, of("new"))
        assert 'dir="rtl"' in page
        for there in ("الأحكام وفق", "فترات ثقة", "المرشّحون بجانب ما كان يخدم", "يتفوّق على"):
            assert there in page
        assert "beats" not in page
        whole = client.get(of("new", "/report.html")).text
        assert '<html lang="ar" dir="rtl">' in whole


def test_an_evaluation_without_items_here_says_where_they_are(eva: httpx.Client):
    assert "copy its folder from the machine that ran it" in shown(eva, of("lost"))
    answer = eva.get(of("lost", "/items"))
    assert (answer.status_code, "copy its folder" in answer.text) == (404, True)
    assert json.loads(eva.get(of("lost", "/evaluation.json")).text)["report"]["task"] == "lost"


def rows_of(page: str) -> int:
    return page.count('<td class="beginning"')


def test_items_are_paged_filtered_and_searched(eva: httpx.Client):
    first = shown(eva, of("old", "/items"))
    assert (rows_of(first), "120 items" in first, "page 1 of 3" in first) == (50, True, True)
    last = shown(eva, of("old", "/items?page=3"))
    assert (rows_of(last), "a/b c" in last) == (20, True)
    assert rows_of(shown(eva, of("old", "/items?page=99"))) == 20
    assert rows_of(shown(eva, of("old", "/items?page=-1%00"))) == 50
    assert rows_of(shown(eva, of("old", f"/items?page={'9' * 5000}"))) == 20
    for asked, count in (
        ("disagree=yes", "49 items"), ("arm=base&outcome=wrong", "96 items"), ("outcome=without", "1 item"),
        ("q=ask+q007", "1 item"), ("q=nothing", "No item fits"), ('slice=["language","latin"]', "120 items"),
        ('slice=["language","ar"]', "No item fits"), ("outcome=cut", "No item fits"),
    ):  # fmt: skip
        assert count in shown(eva, of("old", f"/items?{asked}")), asked
    for wrong in ("slice=x", "slice=5", "outcome=x", "arm=x&outcome=right"):
        assert eva.get(of("old", f"/items?{wrong}")).status_code in (400, 404), wrong


def test_the_first_page_is_the_same_before_and_after_the_index_is_there(eva: httpx.Client):
    before = shown(eva, of("fresh", "/items"))
    shown(eva, of("fresh", "/items?page=2"))  # waits for the index
    after = shown(eva, of("fresh", "/items"))
    assert rows_of(before) == 50
    assert before[before.index('id="rows"') :] == after[after.index('id="rows"') :]


@pytest.mark.parametrize("name", ["q003", "a/b c", "\"'<&%?#", "\ud800half"])
def test_an_item_has_a_link_that_stays_whatever_its_key_holds(eva: httpx.Client, name: str):
    key = name if "/" in name else f"{name}/abc"
    place = of("new", f"/items/{anchor(key)}")
    page = shown(eva, place)
    assert f'href="{place}"' in page
    if "\ud800" not in name:
        led = eva.get(of("new", f"/items/{quote(key, safe='')}"))
        assert (led.status_code, led.headers["location"]) == (303, place)


def test_an_item_shows_every_answer_as_text(eva: httpx.Client):
    page = shown(eva, of("new", f"/items/{anchor('q003/abc')}"))
    assert "&lt;script&gt;hack()&lt;/script&gt; [U+202E]evil" in page
    assert "<script>hack" not in page
    assert "ask q003" in page
    assert "exact" in page
    assert "عِندي ألم" in shown(eva, of("new", f"/items/{anchor('q004/abc')}"))


def test_next_and_previous_stay_within_the_filter(eva: httpx.Client):
    asked = "?arm=adapter&outcome=wrong"
    there = [place for place, score in enumerate(scores(6).values()) if score == 0.0 and place != 1]
    page = shown(eva, of("old", f"/items/{anchor(f'q{there[1]:03}/abc')}{asked}"))
    assert f"2 of {len(there)}" in page
    for data, place in (("previous", there[0]), ("following", there[2])):
        link = page.split(f'data-key="{data}" href="')[1].split('"')[0].replace("&amp;", "&")
        assert link == of("old", f"/items/{anchor(f'q{place:03}/abc')}{asked}")
    first = shown(eva, of("old", f"/items/{anchor(f'q{there[0]:03}/abc')}{asked}"))
    assert 'data-key="previous"' not in first
    outside = shown(eva, of("old", f"/items/{anchor('q000/abc')}{asked}"))
    assert "not among the filtered items" in outside
    assert 'data-key="following"' in outside


def test_downloads_have_what_is_kept(eva: httpx.Client):
    answer = eva.get(of("new", "/evaluation.json"))
    assert answer.headers["content-disposition"].startswith('attachment; filename="toy-')
    assert json.loads(answer.text)["report"]["task"] == "toy"
    rows = list(csv.reader(io.StringIO(eva.get(of("new", "/items.csv")).content.decode("utf-8-sig"))))
    assert len(rows) == N + 1
    some = list(csv.reader(io.StringIO(eva.get(of("new", "/items.csv?q=ask+q00")).content.decode("utf-8-sig"))))
    assert len(some) == 11
    assert "packed-items" in eva.get(of("new", "/report.html")).text


def test_the_history_of_a_task_has_its_evaluations_and_what_cannot_be_compared(eva: httpx.Client):
    page = shown(eva, "/ui/reports/history?task=toy")
    assert "<svg" in page
    assert "<style" not in page
    assert of_name(KEPT["old"]) in page
    assert of_name(KEPT["new"]) in page
    only = shown(eva, "/ui/reports/history?task=toy&arm=base")
    assert "<td><bdi>adapter</bdi></td>" not in only
    assert eva.get("/ui/reports/history?task=nowhere").status_code == 404


def test_two_reports_are_compared_item_by_item(eva: httpx.Client):
    page = shown(eva, f"/ui/reports/diff?a={KEPT['old'].name}&b={KEPT['new'].name}")
    assert "120 items are in both." in page
    flipped = sum(before != after for before, after in zip(scores(6).values(), scores(8).values(), strict=True))
    assert f'<td class="figure">{flipped}</td><td class="figure">0</td>' in page
    assert "recipe of adapter" in page
    assert of("new", f"/items/{anchor('q006/abc')}") in page
    picks = shown(eva, "/ui/reports/diff")
    assert picks.count(f'value="{KEPT["old"].name}"') == 2


def test_reports_that_cannot_be_compared_say_why_in_the_readers_language(served: Served):
    place = f"/ui/reports/diff?a={KEPT['theirs'].name}&b={KEPT['new'].name}"
    with served.client("eva") as client:
        assert "their scorers are not known to be one" in shown(client, place)
        client.cookies.set("dabt_language", "ar", path="/ui")
        page = shown(client, place)
        assert "ولا يُعرف أن مصحّحيهما واحد" in page
        assert "their scorers" not in page


def test_what_a_report_says_of_days_is_what_is_kept(eva: httpx.Client):
    at = START + timedelta(days=5)
    assert f'datetime="{at.isoformat(timespec="seconds")}"' in shown(eva, "/ui/reports")


@pytest.mark.e2e
@pytest.mark.parametrize("language", ["en", "ar"])
def test_a_person_finds_a_wrong_answer_and_reads_on_by_keys(served: Served, language: str):
    with served.person(language, key="eva") as page:
        page.goto("/ui/reports")
        page.locator("input[name=q]").fill("toy")
        page.wait_for_url("**/ui/reports?q=toy*")
        page.locator(f'#reports a[href="{of("old")}"]').click()
        page.locator("a.button.main").click()
        page.wait_for_url("**/items")
        page.locator("select[name=arm]").select_option("adapter")
        page.locator("select[name=outcome]").select_option("wrong")
        page.wait_for_url("**outcome=wrong*")
        page.locator("#rows tbody a").first.click()
        page.wait_for_url("**/items/**")  # and its script is there for the next key
        page.wait_for_selector("article.answer")
        began = page.url
        page.keyboard.press("KeyJ")
        page.wait_for_url(lambda url: url != began)
        page.wait_for_selector("[data-key=previous]")
        page.keyboard.press("ArrowLeft" if language == "en" else "ArrowRight")
        page.wait_for_url(began)
