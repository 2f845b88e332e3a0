"""Every screen of an empty house, in both languages and both themes: all people can read it."""

from __future__ import annotations

import pytest

from console.navigation import SCREENS
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_accessible, assert_fits


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve()


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("language", "theme", "width"),
    [("en", "light", DESK), ("ar", "dark", PHONE), ("en", "dark", PHONE), ("ar", "light", DESK)],
)
def test_every_screen_is_accessible_and_fits(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width) as page:
        for screen in SCREENS:
            page.goto(screen.path)
            assert page.locator("html").get_attribute("dir") == {"en": "ltr", "ar": "rtl"}[language]
            assert page.locator("nav a[aria-current]").count() == 1
            assert_accessible(page)
            assert_fits(page)


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
