"""The overview: what answers whom, since when, by whom and why; and moves that say first what they will do."""

from __future__ import annotations

import re
from html import unescape

import httpx
import pytest

from lifecycle.aliases import Target
from lifecycle.errors import Unavailable
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from service.catalogue import Catalogue
from tests.console.conftest import Serve, Served
from tests.lifecycle.conftest import House as Recorded
from tests.service.conftest import House

ISOLATES = re.compile("[\u2066\u2068\u2069]")
HOSTILE = "<img src=x onerror=alert(1)>"


def fill(house: House) -> None:
    for name, grant in {
        "sami": {"role": "caller"}, "own": {"role": "caller", "models": ("other:*", "other")},
        "pia": {"role": "publisher"}, "adam": {"role": "admin"},
    }.items():  # fmt: skip
        house.key(name, **grant)
    recorded = Recorded(house.registry)
    recorded.promoted("one")  # triage:1
    recorded.judged("two")  # triage:2
    recorded.draft("three")  # triage:3
    house.prod("other", prompt={"system": "o"})
    for n in range(60):
        house.prod(f"many-{n:03}", prompt={"system": "m"})


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


@pytest.fixture
def anew(served: Served) -> Served:
    """`triage:prod` serves triage:1 alone, whatever a test has done."""
    registry = served.house.registry
    for number, reason in ((2, "elsewhere"), (1, "شحن الأول")):
        registry.set_alias("triage", "prod", [Target(number=number)], actor="amal", reason=reason, force=True)
    registry.amend_policy("triage", "prod", lambda _: TrafficPolicy(), actor="amal", reason="none")
    served.app.state.parts.catalogue.refresh()
    return served


def seen(answer: httpx.Response) -> str:
    """The text of a page, without its tags."""
    parted = re.sub(r"</(td|th|li|div|p)>", " ", answer.text)
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", "", parted)))


def revision_in(answer: httpx.Response) -> str:
    return re.search(r'name="revision" value="(\d+)"', answer.text)[1]  # type: ignore[index]


CONFIRM = "/ui/overview/confirm"
TO_TWO = {"do": "promote", "ref": "triage:prod", "version": "2"}


def test_the_overview_tells_what_serves_since_when_by_whom_why_and_its_verdict(anew: Served):
    with anew.client("sami") as client:
        page = client.get("/ui?q=triage")
    text = seen(page)
    assert "1 alias" in text
    for told in ("triage:prod", "triage:1", "approved", "amal", "شحن الأول", "passed"):
        assert told in text
    assert 'href="/ui/versions/triage/1"' in page.text
    assert "Change</a>" not in page.text, "a caller moves no traffic"


def test_a_key_sees_the_aliases_of_its_own_names_alone(anew: Served):
    with anew.client("own") as client:
        text = seen(client.get("/ui"))
        assert "other:prod" in text
        assert "triage" not in text
        assert client.get("/ui/overview/change?ref=triage:prod").status_code == 404


def test_many_aliases_are_paged_and_found_by_words_and_by_the_version_that_they_serve(anew: Served):
    with anew.client("adam") as client:
        first, last, beyond = (client.get(f"/ui?q=many&page={page}") for page in (1, 2, 999))
        assert "60 aliases" in seen(first)
        assert [page.text.count('id="alias-') for page in (first, last, beyond)] == [50, 10, 10]
        assert 'rel="prev"' not in first.text
        assert 'href="/ui?q=many&amp;page=2"' in first.text
        assert client.get("/ui?q=many-01").text.count('id="alias-') == 10
        assert client.get("/ui?q=triage:1").text.count('id="alias-') == 1
        assert "No alias fits" in client.get("/ui?q=triage:3").text
        assert "No alias fits" in client.get("/ui?show=split").text


def test_a_doubted_version_and_a_failed_load_and_a_registry_that_is_away_are_alerts(
    anew: Served, monkeypatch: pytest.MonkeyPatch
):
    parts, recorded = anew.app.state.parts, Recorded(anew.house.registry)
    version = recorded.judged("doubtful", name="doubtful")
    anew.house.registry.promote(version.ref, actor="amal", reason="x")
    recorded.judge(version, passed=False)
    parts.catalogue.refresh()
    # The service reads its registry on: what it finds does not count here.
    monkeypatch.setattr(Catalogue, "problem", property(lambda _: "unavailable", lambda *_: None), raising=False)
    with anew.client("adam") as client:
        text = seen(client.get("/ui?show=doubted"))
        assert "1 alias" in text
        assert "doubtful:1 serves doubtful:prod and has failed an evaluation since." in text
        assert "The registry cannot be read (unavailable)." in text
        monkeypatch.setattr(parts.supervisor, "waiting_for", lambda: ["the engine died"])
        assert "the engine died" in seen(client.get("/ui"))
        adapter = anew.house.adapter("broken")
        anew.house.prod("broken", adapter="broken")
        parts.catalogue.refresh()
        monkeypatch.setattr(parts.residency, "failures", lambda: {adapter: HOSTILE})
        page = client.get("/ui?q=broken")
        assert "broken:1 behind broken:prod does not load" in seen(page)
        assert HOSTILE not in page.text
    with anew.client("own") as client:
        assert "doubtful" not in seen(client.get("/ui"))


def test_what_serves_is_told_while_the_registry_is_away(anew: Served, monkeypatch: pytest.MonkeyPatch):
    def away(*_: object) -> None:
        raise Unavailable("locked")

    monkeypatch.setattr(anew.house.registry.listings, "now", away)
    with anew.client("sami") as client:
        assert "triage:1" in seen(client.get("/ui?q=triage"))


def test_a_canary_is_shown_with_its_evidence_or_with_the_word_that_nothing_watches_it(anew: Served):
    registry = anew.house.registry
    registry.promote("triage:2", actor="pia", reason="try", share=0.1)
    anew.app.state.parts.catalogue.refresh()
    with anew.client("sami") as client:
        assert "Nothing watches this canary" in client.get("/ui?show=split").text
        bounds = TrafficPolicy(canary=CanaryBounds(max_error_rate=0.02, max_ttft_ratio=1.5))
        registry.amend_policy("triage", "prod", lambda _: bounds, actor="pia", reason="watch")
        anew.app.state.parts.catalogue.refresh()
        page = client.get("/ui?show=split").text
        for key in ("error_rate.value", "error_rate.n", "error_rate.evidence", "ttft.value"):
            assert f'data-live="canary.triage:prod.2.{key}"' in page
        with client.stream("GET", "/ui/events?topics=canary") as answer:
            told = next(line for line in answer.iter_lines() if line.startswith("data: "))
        assert '"canary.triage:prod.2.error_rate.n": 0' in told


def test_a_confirmation_says_who_gets_which_version_and_what_the_gate_says(anew: Served):
    with anew.client("pia") as client:
        text = seen(client.get(CONFIRM, params=TO_TWO))
        assert "All requests to triage:prod will go to triage:2." in text
        assert "triage:1 100% 0%" in text
        assert "triage:2 0% 100%" in text
        assert "It lets this move through." in text
        text = seen(client.get(CONFIRM, params={**TO_TWO, "share": "10%"}))
        assert "10% of the requests to triage:prod will go to triage:2; the rest is shared out as now." in text
        assert "is not watched, because this alias has no bounds" in text


def test_a_promotion_is_the_persons_own_and_stands_in_the_trail(anew: Served):
    with anew.client("pia") as client:
        look = client.get(CONFIRM, params={**TO_TWO, "share": "10%"})
        form = {**TO_TWO, "share": "10%", "revision": revision_in(look), "reason": "نجرب الثاني"}
        moved = client.post("/ui/overview/change", data=form)
        assert (moved.status_code, moved.headers["location"]) == (303, "/ui/overview/change?ref=triage%3Aprod&done=1")
        text = seen(client.get(moved.headers["location"]))
        assert "Done." in text
        assert "triage:1 90% incumbent" in text
        assert "alias moved triage:1 90%, triage:2 10%" in text
        client.cookies.set("dabt_language", "ar", path="/ui")
        text = ISOLATES.sub("", seen(client.get(moved.headers["location"])))
        assert "نُقل الاسم المستعار triage:1 90%, triage:2 10%" in text
        assert re.search(r"pia \([\w-]+\)، باسم console", text)
    entry = anew.house.registry.audit("triage:prod")[0]
    assert re.fullmatch(r"pia \([\w-]+\), as console", entry.actor)
    assert entry.reason == "نجرب الثاني"


def test_what_the_gate_refuses_only_an_admin_may_force_and_it_is_kept_as_forced(anew: Served):
    to_draft = {**TO_TWO, "version": "3"}
    with anew.client("pia") as client:
        look = client.get(CONFIRM, params=to_draft)
        assert "It refuses this move:" in seen(look)
        assert "triage:3 has no verdict" in seen(look)
        assert "Only an admin may go past the gate." in seen(look)
        assert 'action="/ui/overview/change"' not in look.text
        forged = {**to_draft, "revision": str(anew.house.registry.revision()), "reason": "x", "force": "on"}
        refused = client.post("/ui/overview/change", data=forged)
        assert refused.status_code == 403
        assert "forcing needs an admin's" in seen(refused)
    with anew.client("adam") as client:
        look = client.get(CONFIRM, params=to_draft)
        assert re.search(r'<input type="checkbox" name="force" required', look.text)
        form = {**to_draft, "revision": revision_in(look), "reason": "عاجل", "force": "on"}
        assert client.post("/ui/overview/change", data=form).status_code == 303
    assert anew.house.registry.audit("triage:prod")[0].action == "alias.force"


@pytest.mark.parametrize(
    "late", [TO_TWO, {"do": "rollback"}, {"do": "stop"}, {"do": "split", "version0": "1", "share0": "1"}]
)
def test_of_two_people_the_second_is_told_what_the_first_has_done_and_nothing_is_done(
    anew: Served, late: dict[str, str]
):
    late = {"ref": "triage:prod", **late}
    with anew.client("pia") as pia, anew.client("adam") as adam:
        both = [client.get(CONFIRM, params={**TO_TWO, "share": "10%"}) for client in (pia, adam)]
        first = {**TO_TWO, "share": "10%", "revision": revision_in(both[0]), "reason": "أنا أولًا"}
        assert pia.post("/ui/overview/change", data=first).status_code == 303
        before = anew.house.registry.revision()
        form = {**late, "revision": revision_in(both[1]), "reason": "me too"}
        second = adam.post("/ui/overview/change", data=form)
        text = seen(second)
        assert second.status_code == 409
        assert "Nothing was done." in text
        assert "Somebody changed this alias after you looked at it." in text
        assert "pia (" in text
        assert "أنا أولًا" in text
        assert anew.house.registry.revision() == before
        # Having read it, the second may decide again, by what is there now.
        again = {**form, "revision": revision_in(second)}
        assert adam.post("/ui/overview/change", data=again).status_code == 303


def test_nobody_is_offered_to_go_back_where_nothing_was_before(served: Served):
    with served.client("pia") as client:
        first = client.get("/ui/overview/change", params={"ref": "many-001:prod"}).text
        later = client.get("/ui/overview/change", params={"ref": "triage:prod"}).text
    assert 'value="rollback"' not in first
    assert 'value="rollback"' in later


@pytest.mark.parametrize("do", ["rollback", "stop"])
def test_a_canary_is_stopped_and_a_move_rolled_back(anew: Served, do: str):
    registry = anew.house.registry
    registry.promote("triage:2", actor="pia", reason="try", share=0.1)
    anew.app.state.parts.catalogue.refresh()
    with anew.client("pia") as client:
        look = client.get(CONFIRM, params={"do": do, "ref": "triage:prod"})
        assert "triage:2 10% 0%" in seen(look)
        assert "It is not asked" in seen(look)
        form = {"do": do, "ref": "triage:prod", "revision": revision_in(look), "reason": "slow"}
        assert client.post("/ui/overview/change", data=form).status_code == 303
    assert [target.number for target in registry.alias("triage", "prod").targets] == [1]
    assert registry.audit("triage:prod")[0].reason == "slow"


def test_a_split_shares_requests_out_by_parts(anew: Served):
    split = {"do": "split", "ref": "triage:prod", "version0": "1", "share0": "50%", "version1": "2", "share1": "50%"}
    with anew.client("pia") as client:
        look = client.get(CONFIRM, params=split)
        assert "triage:2 0% 50%" in seen(look)
        form = {**split, "revision": revision_in(look), "reason": "a/b"}
        assert client.post("/ui/overview/change", data=form).status_code == 303
    assert {t.number: t.weight for t in anew.house.registry.alias("triage", "prod").targets} == {1: 0.5, 2: 0.5}


@pytest.mark.parametrize(
    ("fields", "status", "told"),
    [
        ({"do": "promote", "version": "x"}, 400, "no version's number"),
        ({"do": "promote", "version": "99"}, 404, "triage:99"),
        ({"do": "promote", "version": "2", "share": "0"}, 400, "is no share"),
        ({"do": "split", "version0": "1", "share0": "x", "version1": "", "share1": "5%"}, 400, "is no share"),
        ({"do": "split", "version0": "1", "share0": "50%", "version1": "2", "share1": "40%"}, 400, "come to 90%"),
        ({"do": "split"}, 400, "at least one target"),
        ({"do": "fly"}, 400, "there is no move"),
        ({"do": "stop"}, 403, "no canary"),
        ({"ref": "triage:1", "do": "promote", "version": "2"}, 400, "is a version"),
        ({"ref": HOSTILE, "do": "promote", "version": "2"}, 400, "names no model"),
    ],
)
def test_a_form_that_asks_for_nonsense_is_told_what_is_wrong(
    anew: Served, fields: dict[str, str], status: int, told: str
):
    with anew.client("adam") as client:
        answer = client.get(CONFIRM, params={"ref": "triage:prod", **fields})
        assert answer.status_code == status
        assert told in seen(answer)
        assert HOSTILE not in answer.text


def test_who_may_move_nothing_is_refused_before_a_form_is_filled_in(anew: Served):
    with anew.client("sami") as client:
        assert client.get(CONFIRM, params=TO_TWO).status_code == 403
        assert client.post("/ui/overview/change", data={**TO_TWO, "revision": "1", "reason": "x"}).status_code == 403
        page = client.get("/ui/overview/change?ref=triage:prod")
        assert "needs a publisher" in seen(page)
        assert "شحن الأول" in seen(page), "the trail is there to read"


def test_a_move_without_a_reason_is_refused_and_the_form_is_shown_again(anew: Served):
    with anew.client("pia") as client:
        form = {**TO_TWO, "revision": revision_in(client.get(CONFIRM, params=TO_TWO)), "reason": " "}
        answer = client.post("/ui/overview/change", data=form)
        assert answer.status_code == 400
        assert "reason" in seen(answer)
        assert client.post("/ui/overview/change", data={**TO_TWO, "reason": "x"}).status_code == 400


def test_running_jobs_are_shown_to_who_may_see_them(anew: Served):
    with anew.client("adam") as admin, anew.client("sami") as caller:
        assert "No job runs or waits." in seen(admin.get("/ui"))
        assert "Running jobs" not in seen(caller.get("/ui"))
