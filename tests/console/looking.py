"""What must hold of every page that a person may see, in every language and theme and on a phone."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.base import AXE_SCRIPT

WCAG = {"runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]}}
_BY_COLOUR = {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}
THEMES = {"light": "dark", "dark": "light"}
_OPENED = "document.querySelectorAll('main details').forEach((it) => { it.open = true; })"


def assert_accessible(page: Any) -> None:
    """WCAG 2.2 AA, as far as axe can tell (https://github.com/dequelabs/axe-core)."""
    _assert_none(page, WCAG)


def assert_accessible_with_all_open(page: Any) -> None:
    """As `assert_accessible`, with all that can be opened open."""
    page.evaluate(_OPENED)
    _assert_none(page, WCAG)


def assert_accessible_in_both_themes(page: Any) -> None:
    """As `assert_accessible_with_all_open`, then by what the page's other theme changes, which is colours alone
    (`console.css`).
    """
    assert_accessible_with_all_open(page)
    theme = "document.documentElement.dataset.theme"
    other = THEMES[page.evaluate(theme)]
    page.evaluate(f"{theme} = '{other}'")
    _assert_none(page, _BY_COLOUR)


def _assert_none(page: Any, options: dict[str, Any]) -> None:
    page.wait_for_load_state()  # with its styles
    if not page.evaluate("'axe' in window"):
        page.evaluate(AXE_SCRIPT)
    whole = {**options, "resultTypes": ["violations"]}
    found = page.evaluate("(options) => axe.run(document, options)", whole)["violations"]
    told = [f"{fault['id']}: {node['target']} {node['failureSummary']}" for fault in found for node in fault["nodes"]]
    assert not told, f"{page.url}\n" + "\n".join(told)


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


_SMALL = """() => [...document.querySelectorAll("a, button, input, select, textarea, summary")]
  .filter((it) => it.getClientRects().length && !it.closest(".unseen, .skip, svg"))
  .map((it) => [it, it.getBoundingClientRect()]).filter(([, box]) => box.width < 23.9 || box.height < 23.9)
  .map(([it, box]) => `${it.tagName}#${it.id} ${it.textContent.trim().slice(0, 30)} ${box.width} x ${box.height}`)"""


def assert_can_be_touched(page: Any) -> None:
    """Whatever one presses is 24 px wide and high (WCAG 2.2, 2.5.8)."""
    small = page.evaluate(_SMALL)
    assert not small, f"{page.url}\n" + "\n".join(small)
