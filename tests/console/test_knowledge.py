"""Knowledge: whoever wonders why a passage was found, or was not, sees it for a question of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.datastructures import URL

from console.marked_words import Piece, marked
from console.paging import Paging
from retrieval.config import IndexConfig
from retrieval.index import build_index
from retrieval.stages.table import declared
from tests.console.conftest import PHONE, Serve, Served
from tests.console.looking import assert_fits
from tests.service.conftest import House

HANDBOOK = """\
## h01
Visitors may see their relatives on the ward between four and six.

## h02
Form <b>QX-71</b> must be stamped before discharge.

## h09
تفتح الصيدلية أبوابها من الثامنة صباحًا حتى العاشرة مساءً.
"""
KEYS: dict[str, str] = {}


def fill(house: House) -> None:
    documents = house.home.root / "documents"
    documents.mkdir()
    (documents / "handbook.md").write_text(HANDBOOK, encoding="utf-8")
    (documents / "more.md").write_text("".join(f"## m{n}\nThe ward {n} has beds.\n\n" for n in range(60)))
    folder: Path = house.home.root / "index"
    facts = build_index(documents, folder, IndexConfig(dense="none"))
    digest = house.store.put(folder)
    house.registry.add_index("handbook", digest, facts.model_dump(mode="json"))
    stages, problems = declared(["multi_query", "lexical", "fusion"], "stages", facts.model_dump())
    assert problems == []
    house.prod("desk", knowledge={"index": digest})
    house.version("desk", knowledge={"index": digest, "stages": [stage.model_dump() for stage in stages]})
    KEYS["index"] = digest
    house.key("eva", role="evaluator")
    house.key("other", role="evaluator", models=("triage",))


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def test_the_words_that_a_question_shares_are_marked_in_both_scripts():
    assert marked("Visitors may visit.", "a visitor?") == [Piece("Visitors", True), Piece(" may visit.", False)]
    assert [piece.text for piece in marked("تفتح الصيدلية أبوابها", "متى تفتح صيدلية") if piece.shared] == [
        "تفتح", "الصيدلية",
    ]  # fmt: skip
    assert marked("a b", "") == [Piece("a b", False)]
    assert marked("", "a") == []


@pytest.mark.parametrize(
    ("page", "count", "is_page", "offset"),
    [("1", 0, 1, 0), ("0", 120, 1, 0), ("2", 120, 2, 50), ("9", 120, 3, 100), ("x", 120, 1, 0), ("٢", 120, 1, 0)],
)
def test_a_page_that_is_not_there_is_the_nearest_that_is(page: str, count: int, is_page: int, offset: int):
    paging = Paging.of(page, count, URL("/ui/x?q=a&page=7"))
    assert (paging.page, paging.offset) == (is_page, offset)
    assert paging.at(3) == "/ui/x?q=a&page=3"


def test_a_search_says_where_each_passage_ranks_and_what_its_words_are(served: Served):
    with served.client("eva") as client:
        page = client.get(f"/ui/knowledge/{KEYS['index']}", params={"q": "متى تفتح الصيدلية؟"}).text
        assert "<mark>تفتح</mark>" in page
        assert "<mark>الصيدلية</mark>" in page
        assert "by words" in page
        form = client.get(f"/ui/knowledge/{KEYS['index']}", params={"q": "QX-71"}).text
        assert "&lt;b&gt;" in form
        assert "<b>" not in form
        nothing = client.get(f"/ui/knowledge/{KEYS['index']}", params={"q": "zebra"}).text
        assert "Nothing is found" in nothing


def test_a_version_searches_by_its_own_stages(served: Served):
    with served.client("eva") as client:
        asked = {"q": "Who stamps QX-71, and when may visitors come?", "version": "desk:2", "top_k": "2"}
        page = client.get(f"/ui/knowledge/{KEYS['index']}", params=asked).text
        assert "lexical 2" in page
        assert page.count('<li class="card">') == 2


def test_passages_are_paged_and_filtered_by_document_and_words(served: Served):
    with served.client("eva") as client:
        place = f"/ui/knowledge/{KEYS['index']}/passages"
        whole = client.get(place).text
        assert whole.count("<article") == 50
        assert 'rel="next"' in whole
        assert client.get(place, params={"page": "2"}).text.count("<article") == 13
        one = client.get(place, params={"document": "handbook.md"}).text
        assert one.count("<article") == 3
        assert (
            client.get(place, params={"q": "relative on wards", "document": "handbook.md"}).text.count("<article") == 1
        )
        assert client.get(place, params={"q": "m7"}).text.count("<article") == 1


def test_a_key_sees_the_indexes_of_the_names_that_it_covers(served: Served):
    with served.client("other") as client:
        assert KEYS["index"] not in client.get("/ui/knowledge").text
        for place in ("", "/passages"):
            refused = client.get(f"/ui/knowledge/{KEYS['index']}{place}")
            assert refused.status_code == 404
            assert "no index" in refused.text
    with served.client("eva") as client:
        assert client.get("/ui/knowledge/nothing").status_code == 404
        assert KEYS["index"] in client.get("/ui/knowledge").text


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", 1200), ("ar", "dark", PHONE)])
def test_a_person_asks_what_is_found_and_reads_the_passages(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width, key="eva") as page:
        page.goto("/ui/knowledge")
        assert_fits(page)
        page.locator("td a").first.click()
        page.locator("#q").fill("متى تفتح الصيدلية؟")
        page.keyboard.press("Enter")
        page.wait_for_selector("ol.found")
        first = page.locator("ol.found > li").first
        assert first.locator("mark").count() == 2
        assert first.locator(".said").evaluate("e => getComputedStyle(e).direction") == "rtl"
        assert page.locator("#q").input_value() == "متى تفتح الصيدلية؟"
        assert_fits(page)
        page.goto(f"/ui/knowledge/{KEYS['index']}/passages?q=ward")
        assert page.locator("article").count() == 50
        assert_fits(page)
