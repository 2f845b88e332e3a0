"""Keys alone do everything: the main task of each screen without a mouse, with the focus in sight all the way.

Rating and reading items have keys of their own; `test_rate.py` and `test_reports.py` press them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from retrieval.config import IndexConfig
from retrieval.index import build_index
from tests.console.conftest import Serve, Served
from tests.service.conftest import House

pytestmark = pytest.mark.e2e
MOST_STEPS = 80
_FOCUS = """() => {
  const it = document.activeElement, box = it.getBoundingClientRect(), style = getComputedStyle(it);
  const inSight = box.width > 0 && box.height > 0 && box.bottom > 0 && box.top < innerHeight;
  const ringed = style.outlineStyle !== "none" && parseFloat(style.outlineWidth) > 1;
  return [it.tagName, it.id || it.className, inSight && ringed];
}"""


def fill(house: House) -> None:
    house.key("ann", role="admin")
    house.adapter("one")
    house.prod("triage", adapter="one")
    house.version("triage", prompt={"system": "Be short."})
    documents = house.home.root / "documents"
    documents.mkdir()
    (documents / "handbook.md").write_text("## h01\nVisitors may see the ward between four and six.\n")
    folder = house.home.root / "index"
    facts = build_index(documents, folder, IndexConfig(dense="none"))
    house.registry.add_index("handbook", house.store.put(folder), facts.model_dump(mode="json"))


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


class Keys:
    """Hands on a keyboard."""

    def __init__(self, page: Any) -> None:
        self.page = page

    def to(self, selector: str) -> Any:
        """Tab after Tab until it has the focus, which can be seen at every stop."""
        wanted = self.page.locator(selector).first
        for _ in range(MOST_STEPS):
            self.page.keyboard.press("Tab")
            tag, name, seen = self.page.evaluate(_FOCUS)
            assert tag == "BODY" or seen, f"the focus cannot be seen on {tag} {name}"
            if wanted.evaluate("it => it === document.activeElement"):
                return wanted
        raise AssertionError(f"no key leads to {selector}")

    def write(self, selector: str, text: str) -> None:
        self.to(selector)
        self.page.keyboard.press("ControlOrMeta+a")
        self.page.keyboard.type(text)

    def press(self, key: str) -> None:
        self.page.keyboard.press(key)


def overview(keys: Keys) -> None:
    keys.to("#alias-triage-prod a.button")
    keys.press("Enter")
    keys.page.wait_for_url("**/change?*")
    version = keys.to("#version")
    keys.press("Home")
    if version.input_value() != "2":
        keys.press("ArrowDown")
    assert version.input_value() == "2"
    keys.write("#share", "25%")
    keys.press("Enter")
    keys.page.wait_for_url("**/confirm?*")
    keys.write("#reason", "by keys")
    keys.to("input[name=force]")
    keys.press("Space")
    keys.to("form[action='/ui/overview/change'] button")
    keys.press("Enter")
    keys.page.locator(".card.well").wait_for()


def versions(keys: Keys) -> None:
    keys.write("#q", "triage:2")
    keys.page.locator("tbody tr").nth(1).wait_for(state="detached")
    keys.to("tbody a")
    keys.press("Enter")
    keys.page.wait_for_url("**/versions/triage/2")


def compare(keys: Keys) -> None:
    keys.write("[name=m]", "triage:1")
    keys.write("[name=m] >> nth=1", "triage:2")
    keys.write("#question", "When?")
    keys.press("Control+Enter")
    keys.page.locator(".pane[aria-busy=false]").nth(1).wait_for()
    keys.to(".pane .answer")


def train(keys: Keys) -> None:
    keys.to("main a[href='/ui/train/new']")
    keys.press("Enter")
    keys.page.wait_for_url("**/train/new")
    keys.to("details summary")
    keys.press("Enter")
    keys.write("#yaml", "model: tiny")
    keys.to("form button.main")
    keys.press("Enter")
    keys.page.locator("[role=alert]", has_text="training_file").wait_for()


def knowledge(keys: Keys) -> None:
    keys.to("tbody a")
    keys.press("Enter")
    keys.page.wait_for_url("**/knowledge/sha256*")
    keys.write("#q", "When may visitors come?")
    keys.press("Enter")
    keys.page.locator("ol.found li", has_text="h01").wait_for()


def watch(keys: Keys) -> None:
    keys.to("#window")
    keys.press("ArrowDown")
    keys.press("ArrowDown")
    keys.press("Enter")
    keys.page.wait_for_url("**window=6h*")
    keys.page.locator("#window:focus").wait_for()


def api_keys(keys: Keys) -> None:
    keys.to("main a[href='/ui/keys/new']")
    keys.press("Enter")
    keys.page.wait_for_url("**/keys/new")
    keys.write("#name", "by-keys")
    keys.press("Enter")
    assert keys.page.locator("#secret").input_value().startswith("dabt-")


def settings(keys: Keys) -> None:
    """To look at alone: its tables can be scrolled."""
    keys.to("main [role=region] >> nth=1")
    keys.press("ArrowDown")


@pytest.mark.parametrize(
    ("path", "task"),
    [("/ui", overview), ("/ui/versions", versions), ("/ui/compare", compare), ("/ui/train", train),
     ("/ui/knowledge", knowledge), ("/ui/watch", watch), ("/ui/settings", settings), ("/ui/keys", api_keys)],
)  # fmt: skip
def test_the_main_task_of_a_screen_is_done_by_keys_alone(served: Served, path: str, task: Callable[[Keys], None]):
    with served.person("ar" if task in (versions, watch) else "en", key="ann", watched=task is not train) as page:
        page.goto(path)
        keys = Keys(page)
        assert keys.to(".skip").is_visible()
        keys.press("Enter")
        assert page.evaluate("document.activeElement.id") == "main"
        task(keys)
