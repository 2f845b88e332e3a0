"""The screen Versions: found among thousands, each with all that is known of it, and two of them side by side."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from playwright.sync_api import expect

from console.screens.versions.lineage import Box, drawing, drawing_down
from console.screens.versions.listing import Listing, VersionQuery
from console.screens.versions.reading import MOVES
from console.viewer import Preferences, Viewer
from lifecycle.access.usage import Usage
from lifecycle.states import State
from lifecycle.version import Lineage, Version, VersionSpec, digest_of
from service.catalogue import EMPTY
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_fits
from tests.lifecycle.conftest import gate_of, report_on, verdict_on
from tests.service.conftest import House

HOSTILE = '<img src=x onerror="alert(1)"><script>alert(2)</script>'


def fill(house: House) -> None:
    registry = house.registry
    registry.set_gate(gate_of("triage"), actor="amal", reason="what patients need")
    shots = ({"user": "hello", "assistant": "مرحبا"},)
    old = house.version("triage", prompt={"system": f"Answer briefly.\nBe kind.\n{HOSTILE}", "shots": shots})
    new = house.version("triage", adapter=house.adapter("triage"), prompt={"system": "Answer briefly.\nأجب بالعربية."})
    report = report_on(old, new)
    registry.record_report(report)
    registry.record_verdict(verdict_on(new, report))
    registry.record_verdict(verdict_on(old, report, passed=False))
    registry.promote(new.ref, actor="amal", reason="nine points better")
    house.version("triage", prompt={"system": "a draft"})
    house.prod("billing", prompt={"system": "money"})
    house.version("spare", prompt={"system": "to be retired"})
    for number in range(60):
        house.version("many", prompt={"system": str(number)})
    for name, grant in {
        "sami": {"role": "caller", "models": ("triage",)},
        "eva": {"role": "evaluator"},
        "pub": {"role": "publisher"},
        "adam": {"role": "admin"},
    }.items():
        house.key(name, **grant)
    sami = next(key for key in registry.keys.all() if key.name == "sami")
    today = datetime.now(UTC).date()
    use = Usage(day=today, key=sami.id, version=new.ref, requests=1234, prompt_tokens=10, completion_tokens=5)
    registry.usage.add([use], today)


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def page(served: Served, key: str, path: str) -> str:
    with served.client(key) as client:
        answer = client.get(path)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def refs(text: str) -> list[str]:
    """Of the list's rows, in their order."""
    return [f"{name}:{number}" for name, number in re.findall(r'<td><a href="/ui/versions/([\w-]+)/(\d+)">', text)]


def test_the_list_has_the_newest_first_in_pages_that_the_address_names(served: Served):
    first = page(served, "eva", "/ui/versions")
    assert "65 versions" in first
    assert (len(refs(first)), refs(first)[0]) == (50, "many:60")
    assert 'href="/ui/versions?page=2"' in first
    assert len(refs(page(served, "eva", "/ui/versions?page=2"))) == 15
    assert refs(page(served, "eva", "/ui/versions?page=99")) == refs(page(served, "eva", "/ui/versions?page=2"))


@pytest.mark.parametrize(
    ("query", "there"),
    [
        ("q=BILL", ["billing:1"]), ("q=triage+prod", ["triage:2"]), ("state=rejected", ["triage:1"]),
        ("kind=adapter", ["triage:2"]), ("kind=few-shot&q=triage", ["triage:1"]), ("q=nothing-like-it", []),
        ("base=sha256:none", []), ("state=approved&kind=base", []),
    ],
)  # fmt: skip
def test_name_alias_state_kind_and_base_narrow_the_list(served: Served, query: str, there: list[str]):
    assert refs(page(served, "eva", f"/ui/versions?{query}")) == there


def test_a_version_is_found_by_the_beginning_of_any_of_its_digests(served: Served):
    version = served.house.registry.version("triage:2")
    for digest in (version.digest, version.spec.adapter):
        assert refs(page(served, "eva", f"/ui/versions?q={str(digest)[7:19]}")) == ["triage:2"]


def test_a_caller_sees_what_its_key_covers_and_may_call_and_no_word_of_how_it_was_decided(served: Served):
    assert refs(page(served, "sami", "/ui/versions")) == ["triage:2"]
    own = page(served, "sami", "/ui/versions/triage/2")
    assert "1,234" in own
    assert "Answer briefly" not in own
    assert "nine points better" not in own
    with served.client("sami") as client:
        for hidden in ("billing/1", "triage/3", "triage/99", "triage/x", "none/1"):
            assert client.get(f"/ui/versions/{hidden}").status_code == 404
        assert client.get("/ui/versions/compare?a=triage:2&b=billing:1").status_code == 404


def test_the_page_of_a_version_has_recipe_evaluations_verdicts_trail_and_use(served: Served):
    version = served.house.registry.version("triage:2")
    text = page(served, "adam", "/ui/versions/triage/2")
    for there in (
        "أجب بالعربية.", version.digest, str(version.spec.adapter), version.spec.base, "beats base", "against 0.50",
        "nine points better", "0.900", "1 golden prompt was recorded", "through its gate", "sami", "1,234",
    ):  # fmt: skip
        assert there in text, there
    (report,) = served.house.registry.reports()
    assert f'href="/ui/reports/{report.digest}"' in text
    assert "sami" not in page(served, "eva", "/ui/versions/triage/2")


def test_what_stands_between_a_version_and_production_is_said(served: Served):
    assert "did not pass" in page(served, "eva", "/ui/versions/triage/1")
    assert "billing has no gate" in page(served, "eva", "/ui/versions/billing/1")


def test_golden_prompts_count_as_held_against_once_the_adapter_is_in_memory(served: Served):
    assert "not in memory" in page(served, "eva", "/ui/versions/triage/2")
    key = served.house.key("asks")
    served.app.state.parts.catalogue.refresh()
    with served.client() as client:
        body = {"model": "triage", "messages": [{"role": "user", "content": "hi"}]}
        assert client.post("/v1/chat/completions", json=body, headers=key).status_code == 200
    assert "in memory, and held against them" in page(served, "eva", "/ui/versions/triage/2")


def test_the_drawing_is_mirrored_where_the_page_reads_from_the_right(served: Served):
    def places(language: str) -> list[int]:
        with served.client("eva") as client:
            client.cookies.set("dabt_language", language, path="/ui")
            text = client.get("/ui/versions/triage/2").text
        across = text.partition('class="drawing across"')[2].partition("</svg>")[0]
        return [int(x) for x in re.findall(r'<rect class="box [a-z]*" x="(\d+)"', across)]

    left, right = places("en"), places("ar")
    assert left == sorted(left)
    assert right == sorted(right, reverse=True)
    assert len(left) == len(right) == 6


def test_a_whole_lineage_fits_a_page_and_stands_one_below_the_other_where_it_is_narrow():
    columns = [[Box(f"{at}", ("a line of it",))] for at in range(7)]
    across, down = drawing(columns, mirrored=False), drawing_down(columns)
    assert across.width <= 1100, "smaller than 58rem it would be drawn with letters under 10 px"
    assert down.width <= 320
    assert [box.y for box in down.boxes] == sorted(box.y for box in down.boxes)
    assert len(down.boxes) == len(across.boxes) == 7
    assert len(down.paths) == 6


@pytest.mark.parametrize(
    ("language", "told"),
    [("en", ("state approved", "verdict passed", "alias moved triage:prod triage:2 100%")),
     ("ar", ("الحالة معتمد", "حكم اجتاز", "نُقل الاسم المستعار triage:prod triage:2 100%"))],
)  # fmt: skip
def test_the_trail_is_told_in_the_readers_words(served: Served, language: str, told: tuple[str, ...]):
    with served.client("eva") as client:
        client.cookies.set("dabt_language", language, path="/ui")
        text = client.get("/ui/versions/triage/2").text
    trail = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", text.partition('id="trail"')[2]))
    assert [words for words in told if words not in trail] == []


def test_hostile_text_is_shown_and_is_nothing_else(served: Served):
    for path in ("/ui/versions/triage/1", "/ui/versions/compare?a=triage:1&b=triage:2"):
        text = page(served, "eva", path)
        assert "<img src=x" not in text
        assert "&lt;img src=x" in text


def test_two_versions_differ_by_lines_fields_and_figures_of_one_evaluation(served: Served):
    text = page(served, "eva", "/ui/versions/compare?a=triage:1&b=triage:prod")
    lines = re.findall(r'<div role="listitem" class="(\w*)">.*?<span class="said" dir="auto">(.*?)<', text, re.DOTALL)
    assert lines[:2] == [("", "Answer briefly."), ("removed", "Be kind.")]
    assert ("added", "أجب بالعربية.") in lines
    assert "Both were arms of one evaluation" in text
    recipe = text.partition("<h2>Recipe</h2>")[2].partition("<h2>")[0]
    differing = re.findall(r'<tr class="differs"><td><bdi[^>]*>([^<]+)', recipe)
    assert {"kind", "state", "digest", "adapter"} <= set(differing)
    assert "base" not in differing


def test_a_version_is_taken_out_of_service_with_a_reason_by_whom_the_api_lets(served: Served):
    with served.client("eva") as client:
        assert "/retire" not in client.get("/ui/versions/spare/1").text
        assert client.get("/ui/versions/spare/1/retire").status_code == 403
        assert client.post("/ui/versions/spare/1/retire", data={"reason": "x"}).status_code == 403
    with served.client("pub") as client:
        assert client.post("/ui/versions/triage/2/retire", data={"reason": "x"}).status_code == 403
        assert client.post("/ui/versions/spare/1/retire", data={"reason": " "}).status_code == 400
        assert "cannot be undone" in client.get("/ui/versions/spare/1/retire").text
        gone = client.post("/ui/versions/spare/1/retire", data={"reason": "tidying"})
        assert (gone.status_code, gone.headers["location"]) == (303, "/ui/versions/spare/1")
        text = client.get("/ui/versions/spare/1").text
    assert "retired" in text
    assert "tidying" in text
    assert re.search(r"pub \(key-\w+\), as console", text)


def test_the_recipe_is_shown_while_the_registry_is_away(served: Served, monkeypatch: pytest.MonkeyPatch):
    from lifecycle.errors import Unavailable

    def away(*_: object, **__: object) -> Any:
        raise Unavailable("the registry is away")

    monkeypatch.setattr(served.house.registry, "verdicts", away)
    text = page(served, "eva", "/ui/versions/triage/2")
    assert "Not all could be read" in text
    assert "أجب بالعربية." in text


def many(names: int, of_each: int) -> tuple[Any, Any]:
    made: dict[str, dict[int, Version]] = {}
    for place in range(names):
        numbers = made.setdefault(f"name-{place}", {})
        for number in range(1, of_each + 1):
            spec = VersionSpec(base=digest_of("base"), adapter=digest_of([place, number]))
            numbers[number] = Version(
                name=f"name-{place}", number=number, spec=spec, state=State.APPROVED, lineage=Lineage(),
                created_at=datetime(2026, 1, 1, tzinfo=UTC), created_by="x",
            )  # fmt: skip
    snapshot: Any = EMPTY.model_copy(update={"versions": made})
    catalogue: Any = SimpleNamespace(snapshot=snapshot, known_manifest=lambda digest: None)
    return snapshot, catalogue


def test_of_a_new_snapshot_only_the_rows_of_names_that_changed_are_made_anew():
    snapshot, catalogue = many(3, 2)
    before = Listing(snapshot, catalogue, None)
    changed = snapshot.model_copy(
        update={"versions": {**snapshot.versions, "name-1": dict(snapshot.versions["name-1"])}}
    )
    after = Listing(changed, catalogue, before)
    viewer = Viewer(None, Preferences(), None, "")
    same = {row.version.name for row in after.seen(viewer) if any(row is old for old in before.seen(viewer))}
    assert same == {"name-0", "name-2"}
    assert len(after.chosen(VersionQuery(q="name-1"), viewer)) == 2


def test_moves_of_aliases_that_the_drawing_shows_are_actions_of_the_trail():
    from lifecycle.registry.changes import OF_ALIASES

    assert MOVES < OF_ALIASES


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_a_person_searches_reads_and_compares(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width, key="adam") as person:
        person.goto("/ui/versions")
        assert_fits(person)
        person.locator("#q").press_sequentially("triage")
        person.wait_for_url("**/ui/versions?q=triage*")
        expect(person.locator("#versions tbody tr")).to_have_count(3)
        assert person.locator("#q").input_value() == "triage"
        asked: list[str] = []
        person.on("request", lambda request: asked.append(request.url.removeprefix(served.url)))
        person.locator('a[href="/ui/versions/triage/2"]').click()
        person.wait_for_url("**/ui/versions/triage/2")
        assert asked[0] == "/ui/versions/triage/2", "leaving the field asks nothing: rows would move under the mouse"
        fitting = person.locator("svg.drawing >> visible=true")
        assert fitting.count() == 1
        assert fitting.evaluate("it => it.closest('.scroll').scrollWidth <= it.closest('.scroll').clientWidth")
        assert_fits(person)
        person.locator('a[href="/ui/versions/compare?a=triage:1&b=triage:2"]').click()
        person.wait_for_selector(".difference .added")
        assert_fits(person)
        person.goto("/ui/versions/many/1/retire")
        person.locator("#reason").fill("old")
        person.locator("button.danger").click()
        person.wait_for_url("**/ui/versions/many/1")
