"""Every page there is, in both languages and both themes: all people can read it, whatever others wrote into it."""

from __future__ import annotations

import re
from typing import Any

import pytest

from console.navigation import SCREENS
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.full_house import fill, walk
from tests.console.looking import (
    assert_accessible_in_both_themes,
    assert_accessible_with_all_open,
    assert_can_be_touched,
    assert_fits,
)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve()


@pytest.fixture(scope="module")
def full(serve: Serve) -> Served:
    return serve(fill)


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_every_screen_of_an_empty_house_is_accessible_and_fits(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width) as page:
        for screen in SCREENS:
            page.goto(screen.path)
            assert page.locator("html").get_attribute("dir") == {"en": "ltr", "ar": "rtl"}[language]
            assert page.locator("nav a[aria-current]").count() == 1
            assert_accessible_in_both_themes(page)
            assert_fits(page)


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme"), [("en", "dark"), ("ar", "light")])
def test_every_page_behind_a_link_is_accessible_and_fits_a_phone_whatever_others_wrote(
    full: Served, language: str, theme: str
):
    """`person` fails on requests that leave this address, and on errors of scripts.

    A language to each theme: what differs by theme is colours alone, and no colour differs by language.
    """
    opened = 0
    with full.person(language, theme=theme, width=PHONE, key="ann") as page:
        page.on("dialog", lambda dialog: pytest.fail(dialog.message))
        for is_first in walk(full, page):
            opened += 1
            if is_first:
                assert_accessible_with_all_open(page)
            assert_fits(page)
            assert_can_be_touched(page)
            assert_no_harm(page)
    assert opened > 40


@pytest.mark.e2e
def test_every_page_is_read_and_fits_without_scripts(full: Served):
    with full.person("ar", key="ann", script=False) as page:
        for _ in walk(full, page):
            assert page.locator("h1").is_visible()
            assert page.locator(".plot:empty >> visible=true").count() == 0, page.url
            assert_fits(page)
            assert_no_harm(page)


def assert_no_harm(page: Any) -> None:
    """Nothing that others wrote has become a part of the page, nor turns its letters around."""
    assert page.title() != "run"
    assert page.locator("main :is(script, img, iframe, style, link)").count() == 0
    seen = page.title() + page.locator("body").inner_text()
    assert not re.search("[\u202a-\u202e]", seen), page.url


@pytest.mark.e2e
def test_language_and_theme_are_chosen_on_any_page_and_stay(served: Served):
    with served.person() as page:
        page.goto("/ui/settings?x=1")
        page.locator("select[name=language]").select_option("ar")
        page.wait_for_selector("html[lang=ar]")
        assert page.url.endswith("/ui/settings?x=1")
        page.locator("select[name=theme]").select_option("dark")
        page.wait_for_selector("html[data-theme=dark]")
        page.goto("/ui")
        assert page.locator("html").get_attribute("lang") == "ar"
