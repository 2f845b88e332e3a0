"""Compare as a person uses it: in both languages, with hostile answers, stopped in the middle, and after a refresh."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from playwright.sync_api import expect

from console.sessions import COOKIE
from lifecycle.access.keys import Role
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_accessible, assert_fits
from tests.service.conftest import House

pytestmark = pytest.mark.e2e
BOTH = "/ui/compare?m=triage&m=triage%3A2"


def fill(house: House) -> None:
    house.prod("triage", adapter=house.adapter("triage"))
    house.version("triage", prompt={"system": "Be short."})
    house.key("eva", role=Role.EVALUATOR)
    house.key("amal", role=Role.EVALUATOR)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def ask(page: Any, text: str) -> None:
    before = page.locator(".pane").count()
    page.locator("#question").fill(text)
    page.locator("#send").click()
    expect(page.locator(".pane").nth(before)).to_be_attached()
    expect(page.locator("#send")).to_be_enabled()


@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_a_person_compares_two_versions(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width, key="eva") as page:
        page.goto(BOTH)
        ask(page, f"متى يفتح القسم؟ {language}")
        panes = page.locator(".pane")
        assert panes.count() == 2
        assert [panes.nth(at).locator("[data-version]").inner_text() for at in (0, 1)] == ["triage:1", "triage:2"]
        digest = served.house.registry.version("triage:1").digest
        assert panes.nth(0).locator("[data-digest]").inner_text() == digest
        assert panes.nth(0).locator("[data-reason]").inner_text() == "stop"
        assert_accessible(page)
        assert_fits(page)

        answers = page.locator(".answer").all_inner_texts()
        ask(page, "and then?")
        page.reload()
        expect(page.locator(".answer p")).to_have_count(4)
        assert page.locator(".answer").all_inner_texts()[:2] == answers
        assert page.evaluate("new URLSearchParams(location.hash.slice(1)).getAll('q').length") == 2
        assert "q=" not in page.evaluate("location.search"), "what was asked is in no log"

        page.locator("#differences").click()
        assert page.locator("ins").count() > 0
        assert page.locator("del").count() > 0
        assert_accessible(page)
        assert_fits(page)
        page.locator("#differences").click()
        page.locator(".turn").nth(0).locator(".rate button").click()
        link = page.locator(".turn").nth(0).locator(".rate a")
        link.wait_for()
        assert link.inner_text() == "triage-1-and-triage-2"


def test_the_next_person_at_a_browser_does_not_see_the_conversation_of_the_last(served: Served):
    with served.person(key="eva") as page:
        page.goto(BOTH)
        ask(page, "a secret")
        page.context.add_cookies(
            [{"name": COOKIE, "value": served.cookie("amal"), "domain": "127.0.0.1", "path": "/ui"}]
        )
        page.goto("/ui/rate")
        page.goto(BOTH)
        expect(page.locator("#send")).to_be_enabled()
        assert page.locator(".pane").count() == 0
        assert page.locator("#question").input_value() == ""


def test_each_version_gets_its_own_conversation(served: Served, heard: list[list[str]]):
    with served.person(key="eva") as page:
        page.goto(BOTH)
        ask(page, "one")
        first = page.locator(".answer").all_inner_texts()
        ask(page, "two")
    own = {messages[1] for messages in heard[2:]} | {messages[2] for messages in heard[2:]}
    assert set(first) <= own
    assert all(messages[-1] == "two" for messages in heard[2:])


def test_who_is_sent_the_address_has_the_same_before_them_and_nothing_is_asked(served: Served):
    with served.person(key="eva") as page:
        page.goto("/ui/compare?m=triage&m=tiny&seed=7&temperature=0.5#s=Be+kind.&q=%D8%B3%D8%A4%D8%A7%D9%84&q=next")
        assert page.locator("#question").input_value() == "سؤال"
        assert page.locator("#system").input_value() == "Be kind."
        assert page.locator("[name=seed]").input_value() == "7"
        assert [it.input_value() for it in page.locator("[name=m]").all()] == ["triage", "tiny", ""]
        assert page.locator(".pane").count() == 0
        page.locator("#question").press("Control+Enter")
        expect(page.locator("#question")).to_have_value("next")
        expect(page.locator("#send")).to_be_enabled()


def test_another_seed_asks_the_last_question_again(served: Served):
    with served.person(key="eva") as page:
        page.goto("/ui/compare?m=triage&seed=7")
        ask(page, "hello")
        before = page.locator(".answer").inner_text()
        page.locator("#again").click()
        expect(page.locator("#send")).to_be_enabled()
        expect(page.locator(".answer p")).not_to_have_text(before)
        assert "seed=8" in page.url
        assert page.locator(".turn").count() == 1


def test_stop_stops_the_engine_and_keeps_what_was_said(served: Served):
    served.engine.faults.hold = asyncio.Event()
    try:
        with served.person("ar", key="eva") as page:
            page.goto(BOTH)
            page.locator("#question").fill("hello")
            page.locator("#send").click()
            while len(served.engine.active) < 2:
                page.wait_for_timeout(5)
            assert page.locator(".pane[aria-busy=true]").count() == 2
            page.keyboard.press("Escape")
            expect(page.locator(".pane[aria-busy=false]")).to_have_count(2)
            assert page.locator("[data-failed]").first.inner_text() == "أُوقفت"
            while served.engine.active:
                page.wait_for_timeout(5)
            expect(page.locator("#send")).to_be_enabled()
    finally:
        served.engine.faults.hold = None


def test_a_connection_that_breaks_is_said_in_every_pane(served: Served):
    served.engine.faults.hold = asyncio.Event()
    try:
        with served.person(key="eva", watched=False) as page:
            page.goto(BOTH)
            page.route("**/ui/compare/answers", lambda route: route.abort("connectionreset"))
            page.locator("#question").fill("hello")
            page.locator("#send").click()
            expect(page.locator(".pane[aria-busy=false]")).to_have_count(2)
            assert page.locator("[data-failed]").all_inner_texts() == ["The connection broke before the end."] * 2
    finally:
        served.engine.faults.hold = None


HOSTILE = (
    "<script>document.title='run'</script><img src=x onerror=\"document.title='run'\">"
    "<svg onload=\"document.title='run'\">",
    "[a](javascript:document.title='run') [b](data:text/html,<script>top.document.title='run'</script>)",
    "![x](https://evil.example/x.png) <img src=https://evil.example/y.png> <link rel=stylesheet href=//evil.example>",
    "</textarea></template></div></main><h1>broken</h1><style>*{display:none}</style>",
    "\u202eevil\u202d \u2067 \u2066 abc \ud800 \x00 end",
    ">" * 10_000 + "x",
    "[" * 30_000,
    "كلمة word " * 10_000,
)


def test_no_answer_can_run_load_or_break_anything(served: Served, echo: None):
    """`person` fails on every request that leaves this address, and on every error of the page."""
    with served.person("ar", key="eva") as page:
        page.goto("/ui/compare?m=triage")
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        title = page.title()
        for text in HOSTILE:
            ask(page, text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
            answer = page.locator(".turn").last.locator(".answer")
            assert answer.locator("script, img, svg, style, link, iframe, h1").count() == 0
            assert answer.locator("a[href^='javascript'], a[href^='data']").count() == 0
            assert page.title() == title
            page.locator("#anew").click()
        ask(page, HOSTILE[0])
        assert "<script>" in page.locator(".answer").inner_text(), "it is shown as what it is"
        page.reload()
        page.locator(".answer p").first.wait_for()
        assert page.title() == title
        assert_fits(page)


@pytest.fixture
def echo(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine answers what it was asked."""
    monkeypatch.setattr(
        served.engine, "_words", lambda call, index: ([str(call.body["messages"][-1]["content"])], "stop")
    )


@pytest.fixture
def heard(served: Served, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """The texts of each request that comes to the engine."""
    all_: list[list[str]] = []
    words = served.engine._words

    def noted(call: Any, index: int) -> Any:
        all_.append([str(message["content"]) for message in call.body["messages"]])
        return words(call, index)

    monkeypatch.setattr(served.engine, "_words", noted)
    return all_


@pytest.mark.parametrize(("language", "theme", "width"), [("en", "dark", PHONE), ("ar", "light", DESK)])
def test_without_scripts_the_answers_are_shown_when_all_are_whole(
    served: Served, language: str, theme: str, width: int
):
    with served.person(language, theme=theme, width=width, key="eva", script=False, watched=False) as page:
        page.goto(BOTH + "&m=nobody")

        def ask_whole(text: str) -> None:
            page.locator("#whole-question").fill(text)
            with page.expect_navigation():
                page.locator("#compare button").click()

        ask_whole("متى يفتح القسم؟ <b>now</b>")
        panes = page.locator(".pane")
        assert panes.count() == 3
        digests = [served.house.registry.version(ref).digest for ref in ("triage:1", "triage:2")]
        assert [panes.nth(at).locator(".digest").inner_text() for at in (0, 1)] == digests
        assert "nobody" in panes.nth(2).locator(".down").inner_text()
        assert_fits(page)
        ask_whole("and then?")
        assert page.locator(".asked").inner_text() == "and then?"
        kept = json.loads(page.locator("[name=before]").input_value())
        assert [(turn["question"], sorted(turn["answers"])) for turn in kept] == [
            ("متى يفتح القسم؟ <b>now</b>", ["triage", "triage:2"]), ("and then?", ["triage", "triage:2"]),
        ]  # fmt: skip
        page.locator("[name=before]").evaluate("it => { it.value = '[{]' }")
        ask_whole("again")
        assert page.locator(".pane").count() == 0
        assert page.locator("#whole-question").input_value() == "again"
