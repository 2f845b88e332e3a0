"""What must hold of every page that a person may see, in every language and theme and on a phone."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}


def assert_accessible(page: Any) -> None:
    """WCAG 2.2 AA, as far as axe can tell (https://github.com/dequelabs/axe-core), of the page with its styles."""
    page.wait_for_load_state()
    found = Axe().run(page, options=WCAG).response["violations"]
    told = [f"{fault['id']}: {node['target']} {node['failureSummary']}" for fault in found for node in fault["nodes"]]
    assert not told, "\n".join(told)


_WIDE = """() => {
  const page = document.documentElement, width = page.clientWidth;
  const out = (box) => box.left < -1 || box.right > width + 1;
  const told = [...document.querySelectorAll("body *")].filter((it) => out(it.getBoundingClientRect()))
    .map((it) => `${it.tagName}#${it.id}.${it.getAttribute("class")} ${it.textContent.trim().slice(0, 40)}`);
  return [page.scrollWidth - width, told.slice(0, 9)];
}"""


def assert_fits(page: Any) -> None:
    """Nothing but a region of its own scrolls from side to side."""
    page.wait_for_load_state()
    more, outside = page.evaluate(_WIDE)
    assert more <= 0, f"{page.url} is {more} px wider than the window; outside of it are {outside}"
