"""What must hold of every page that a person may see, in every language and theme and on a phone."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


def assert_accessible(page: Any) -> None:
    """WCAG 2.2 AA, as far as axe can tell (https://github.com/dequelabs/axe-core)."""
    found = Axe().run(page, options=WCAG).response["violations"]
    told = [f"{fault['id']}: {node['target']} {node['failureSummary']}" for fault in found for node in fault["nodes"]]
    assert not told, "\n".join(told)


def assert_fits(page: Any) -> None:
    """Nothing but a region of its own scrolls from side to side."""
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, f"the page is {wide} px wider than the window"
