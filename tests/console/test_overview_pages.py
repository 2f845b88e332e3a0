"""What people do on the overview, in a real browser: promote, be second, and watch a canary."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from playwright.sync_api import expect

from lifecycle.aliases import Target
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_accessible, assert_fits
from tests.service.conftest import House

BOUNDS = TrafficPolicy(canary=CanaryBounds(max_error_rate=0.02, max_ttft_ratio=2.0))


def fill(house: House) -> None:
    house.adapter("one")
    house.adapter("two")
    house.prod("triage", adapter="one")
    house.version("triage", adapter="two")
    house.prod("digest", prompt={"system": "ملخص"})


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def begin(served: Served, *shares: float) -> None:
    registry = served.house.registry
    targets = [Target(number=n, weight=share) for n, share in enumerate(shares, 1)]
    registry.set_alias("triage", "prod", [Target(number=1)], actor="amal", reason="anew", force=True)
    registry.set_alias("triage", "prod", targets, actor="amal", reason="ابدأ", force=True)
    registry.amend_policy("triage", "prod", lambda _: BOUNDS, actor="amal", reason="watch")
    served.app.state.parts.catalogue.refresh()


SAID = {"en": ("Change", "Done."), "ar": ("تغيير", "تم.")}


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_a_person_promotes_a_version_and_reads_first_what_that_does(
    served: Served, language: str, theme: str, width: int
):
    begin(served, 1.0)
    change, done = SAID[language]
    with served.person(language, theme=theme, width=width) as page:

        def look() -> None:
            assert_accessible(page)
            assert_fits(page)

        page.goto("/ui")
        look()
        page.locator("#alias-triage-prod a.button", has_text=change).click()
        page.wait_for_url("**/change?*")
        look()
        page.locator("#version").select_option("2")
        page.locator("#share").fill("25%")
        page.locator("form:has(#version) button").click()
        page.wait_for_url("**/confirm?*")
        look()
        page.locator("input[name=force]").check()
        page.locator("#reason").fill("أسرع")
        page.locator("form[action='/ui/overview/change'] button").click()
        page.locator(".card.well").wait_for()
        assert done in page.locator(".card.well").inner_text()
        look()
        page.goto("/ui")
        page.locator("#evidence-triage-prod").wait_for()
        look()
    assert {t.number: t.weight for t in served.house.registry.alias("triage", "prod").targets} == {1: 0.75, 2: 0.25}


@pytest.mark.e2e
def test_of_two_people_who_promote_at_once_the_second_is_told(served: Served):
    begin(served, 1.0)
    confirm = "/ui/overview/confirm?do=promote&ref=triage:prod&version=2&share=25%25"

    def decide(page: Any, reason: str) -> None:
        page.locator("input[name=force]").check()
        page.locator("#reason").fill(reason)
        page.locator("form[action='/ui/overview/change'] button").click()

    with served.person() as first, served.person(watched=False) as second:
        first.goto(confirm)
        second.goto(confirm)
        decide(first, "أنا أولًا")
        first.locator(".card.well").wait_for()
        decide(second, "me too")
        second.locator("[role=alert]").wait_for()
        told = second.locator("[role=alert]").inner_text()
        assert "Nothing was done." in told
        assert "أنا أولًا" in told
        assert second.locator("#reason").input_value() == "me too"
        assert_accessible(second)


@pytest.mark.e2e
def test_evidence_moves_and_a_move_made_elsewhere_shows_while_one_looks(served: Served):
    begin(served, 0.5, 0.5)
    with served.person() as page:
        page.goto("/ui?q=triage")
        requests = page.locator("[data-live='canary.triage:prod.2.error_rate.n']")
        assert requests.inner_text() == "0"
        page.wait_for_function("() => document.documentElement.dataset.connection === 'live'")
        body = {"model": "triage", "messages": [{"role": "user", "content": "hello"}]}
        for _ in range(20):
            assert httpx.post(f"{served.url}/v1/chat/completions", json=body, timeout=60).status_code == 200
        page.wait_for_function("() => Number(document.querySelector('[data-live$=\"error_rate.n\"]').textContent) > 0")
        served.house.registry.set_alias(
            "triage", "prod", [Target(number=2)], actor="omar", reason="من مكان آخر", force=True
        )
        served.app.state.parts.catalogue.refresh()
        page.locator("#alias-triage-prod", has_text="من مكان آخر").wait_for()
        expect(page.locator("#evidence-triage-prod")).to_have_count(0)
        assert page.url.endswith("/ui?q=triage")


@pytest.mark.e2e
def test_aliases_are_looked_for_as_one_types_and_the_address_says_it(served: Served):
    with served.person() as page:
        page.goto("/ui")
        page.locator("#q").fill("dig")
        page.wait_for_function("() => document.querySelectorAll('tr[id^=alias-]').length === 1")
        page.wait_for_url("**/ui?q=dig*")
        assert page.evaluate("document.activeElement.id") == "q"
