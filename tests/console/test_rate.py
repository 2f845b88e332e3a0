"""Rating on the page: blind before the vote, one vote a person and pair, by buttons and by keys, in both languages."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.access.keys import Role
from lifecycle.rating import Campaign, Choice, RatedArm, RatedItem
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_accessible, assert_fits
from tests.service.conftest import House

ITEMS = 6


def fill(house: House) -> None:
    house.version("triage")
    house.version("triage", prompt={"system": "Be short."})
    for name in ("amal", "badr", "dina", "en", "ar"):
        house.key(name, role=Role.EVALUATOR)
    house.key("sami", role=Role.CALLER)
    house.key("other", role=Role.EVALUATOR, models=["digest"])
    for campaign, more in (("mine", {}), ("told", {"reveal": True}), ("asked", {}), ("ended", {}), ("keys", {})):
        open_campaign(house, campaign, **more)


def open_campaign(house: House, name: str, **more: Any) -> None:
    versions = [house.registry.version(f"triage:{number}") for number in (1, 2)]
    facts: dict[str, Any] = {
        "name": name, "task": "conversations", "votes": 4, "seed": 7, "created_by": "test",
        "created_at": datetime.now(UTC), "pairs": [[it.ref for it in versions]],
        "arms": {it.ref: RatedArm(ref=it.ref, version_digest=it.digest) for it in versions},
    }  # fmt: skip
    campaign = Campaign.model_validate({**facts, **more})
    for number in range(ITEMS):
        messages = ({"role": "user", "content": f"سؤال {number} <script>x</script>"},)
        answers = {it.ref: f"**answer** {number}{'xy'[at]} <img src=x>" for at, it in enumerate(versions)}
        item = RatedItem(key=f"k{number}", name=f"n{number}", messages=messages, answers=dict(answers))
        house.registry.ratings.collect(campaign, item, actor="test")


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill)


def ballot_in(page: str) -> str:
    return page.split('name="ballot" value="')[1].split('"', maxsplit=1)[0]


def votes(served: Served, campaign: str) -> list[tuple[str, Any]]:
    return [(vote.rater, vote.preferred) for vote in served.house.registry.ratings.ratings(campaign).votes]


def test_campaigns_are_listed_with_how_far_they_are_for_those_who_may_rate(served: Served):
    with served.client("amal") as client:
        page = client.get("/ui/rate").text
    assert 'href="/ui/rate/mine"' in page
    assert "0 of 24" in page
    with served.client("other") as client:
        assert 'href="/ui/rate/mine"' not in client.get("/ui/rate").text
        refused = client.get("/ui/rate/mine")
        assert (refused.status_code, "triage" in refused.text) == (403, False)
        assert client.get("/ui/rate/mine/standing").status_code == 403
    with served.client("sami") as client:
        assert client.get("/ui/rate").status_code == 403


def test_nothing_in_the_page_tells_whose_the_answers_are_and_they_can_do_nothing(served: Served):
    with served.client("amal") as client:
        page = client.get("/ui/rate/mine").text
        standing = client.get("/ui/rate/mine/standing").text
    for told in ("triage", "sha256", "swapped", '"first"'):
        assert told not in page
    assert "triage" not in standing
    assert "<strong>answer</strong>" in page
    assert "<script>x" not in page
    assert "<img" not in page


def test_without_a_script_buttons_vote_and_take_the_last_vote_back(served: Served):
    with served.client("badr") as client:
        first = ballot_in(client.get("/ui/rate/asked").text)
        cast = client.post("/ui/rate/asked", data={"ballot": first, "choice": "both_bad"})
        assert (cast.status_code, cast.headers["location"]) == (303, f"/ui/rate/asked?after={first}")
        after = client.get(cast.headers["location"]).text
        assert ballot_in(after) != first
        assert "1 vote of yours" in after
        assert "triage" not in after, "the campaign does not reveal"
        undone = client.post("/ui/rate/asked/undo")
        page = client.get(undone.headers["location"]).text
        assert ballot_in(page) == first
        assert votes(served, "asked") == []


def test_two_tabs_of_one_person_vote_a_pair_once(served: Served):
    with served.client("dina") as client:
        ballot = ballot_in(client.get("/ui/rate/mine").text)
        assert ballot_in(client.get("/ui/rate/mine").text) == ballot, "both tabs have the same pair before them"
        client.post("/ui/rate/mine", data={"ballot": ballot, "choice": "a"})
        late = client.post("/ui/rate/mine", data={"ballot": ballot, "choice": "b"})
        assert late.status_code == 409
        assert "this ballot is voted on" in late.text
        assert ballot_in(late.text) != ballot, "and the next pair is there"
    assert len([rater for rater, _ in votes(served, "mine") if rater == "dina"]) == 1


def test_nobody_votes_on_a_ballot_of_somebody_else(served: Served):
    with served.client("amal") as mine, served.client("badr") as other:
        ballot = ballot_in(mine.get("/ui/rate/mine").text)
        assert other.post("/ui/rate/mine", data={"ballot": ballot, "choice": "a"}).status_code == 404
        assert other.post("/ui/rate/mine", data={"ballot": ballot, "choice": "best"}).status_code == 400


def test_a_campaign_that_reveals_does_so_after_the_vote_and_to_its_rater(served: Served):
    with served.client("amal") as client:
        before = client.get("/ui/rate/told").text
        assert "triage" not in before
        ballot = ballot_in(before)
        assert "triage" not in client.get(f"/ui/rate/told?after={ballot}").text
        cast = client.post("/ui/rate/told", data={"ballot": ballot, "choice": "tie"})
        after = client.get(cast.headers["location"]).text
        assert {"triage:1", "triage:2"} == {ref for ref in ("triage:1", "triage:2") if ref in after}
    with served.client("badr") as client:
        assert "triage" not in client.get(cast.headers["location"]).text


def test_a_closed_campaign_says_so_and_shows_what_the_votes_come_to(served: Served):
    book = served.house.registry.ratings
    for rater in ("amal", "badr"):
        while (ballot := book.next("ended", rater)) is not None:
            letter = "xy"[int(ballot.messages[0]["content"].split()[1]) % 2]
            book.vote("ended", ballot.id, rater, Choice.A if f"{letter} <" in ballot.a else Choice.B)
    with served.client("amal") as client:
        ballot = ballot.id if ballot else "ballot-x"
        closed = client.post("/ui/rate/ended/close", data={"reason": "enough"})
        assert closed.headers["location"] == "/ui/rate/ended/standing"
        page = client.get("/ui/rate/ended/standing").text
        assert "triage:1" in page
        assert "1.000" in page, "they agree"
        assert "is closed" in client.get("/ui/rate/ended").text
        assert "is closed" in client.post("/ui/rate/ended", data={"ballot": ballot, "choice": "a"}).text
    entry = served.house.registry.audit("ended")[0]
    assert (entry.action, entry.reason, entry.actor.startswith("amal (")) == ("rating.close", "enough", True)


def test_without_keys_a_person_says_who_they_are(serve: Serve):
    def open_(house: House) -> None:
        house.version("triage")
        house.version("triage", prompt={"system": "Be short."})
        open_campaign(house, "mine")

    served = serve(open_)
    with served.client() as client:
        assert client.post("/ui/rate", data={"rater": "أمل"}).status_code == 303
        ballot = ballot_in(client.get("/ui/rate/mine").text)
        client.post("/ui/rate/mine", data={"ballot": ballot, "choice": "tie"})
    assert [rater for rater, _ in votes(served, "mine")] == ["أمل"]


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_a_person_rates_by_keys_and_takes_a_vote_back(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width, key=language) as page:
        page.goto("/ui/rate")
        assert_accessible(page)
        assert_fits(page)
        colour = "it => getComputedStyle(it).backgroundColor"
        tabs = [
            page.locator(f"a[href='/ui/rate?state={state}']").evaluate(colour) for state in ("open", "closed", "all")
        ]
        assert tabs[0] != tabs[1] == tabs[2]
        page.locator("a[href='/ui/rate/keys']").click()
        page.wait_for_url("**/ui/rate/keys")
        assert_accessible(page)
        assert_fits(page)
        for pressed in ("Digit1", "Digit2", "Digit3", "Digit0", "Numpad1"):
            before = page.locator("[name=ballot]").input_value()
            with page.expect_navigation():  # and its script is there for the next key
                page.keyboard.press(pressed)
            assert page.locator("[name=ballot]").input_value() != before
        page.keyboard.press("KeyU")
        page.wait_for_url("**undone=1")
        page.locator("#shortcuts").uncheck()
        page.keyboard.press("Digit1")
        page.goto("/ui/rate/keys/standing")
        assert_accessible(page)
        assert_fits(page)
    said = [vote for vote in served.house.registry.ratings.ratings("keys").votes if vote.rater == language]
    chosen = [vote.preferred and (vote.preferred.turned if vote.swapped else vote.preferred).value for vote in said]
    assert chosen == ["first", "second", "tie", "both_bad"]


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "first_is"), [("en", "left"), ("ar", "right")])
def test_the_first_answer_stands_where_reading_begins(served: Served, language: str, first_is: str):
    with served.person(language, key="amal") as page:
        page.goto("/ui/rate/mine")
        first, second = (it.bounding_box()["x"] for it in page.locator(".pair > article").all())
        assert (first < second) == (first_is == "left")
        assert_accessible(page)
