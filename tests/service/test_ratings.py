"""Ratings over HTTP: blind ballots, votes under the key's name, answers that are collected, and who may do what."""

from __future__ import annotations

import json
from typing import Any

import pytest

from lifecycle.access.keys import Role

pytestmark = pytest.mark.timeout(300)
R = "/v1/dabt/ratings"


def conversation(house: Any, *refs: str, text: str = "سؤال", **more: Any) -> dict[str, Any]:
    digests = {ref: house.registry.version(ref).digest for ref in refs}
    answers = [
        {"version": ref, "digest": digest, "text": f"it is {text} {at}"}
        for at, (ref, digest) in enumerate(digests.items())
    ]
    return {"messages": [{"role": "user", "content": text}], "answers": answers, "votes": 1, **more}  # fmt: skip


@pytest.fixture
def two(house: Any) -> Any:
    house.version("triage")
    house.version("triage", prompt={"system": "Be short."})
    return house


async def post(running: Any, path: str, key: dict[str, str], **body: Any) -> Any:
    return await running.client.post(f"{R}/{path}", json=body, headers=key)


async def test_answers_are_collected_and_rated_blind_by_everyone_but_who_collected_them(two: Any, start: Any) -> None:
    eva, amal = (two.key(name, role=Role.EVALUATOR) for name in ("eva", "amal"))
    async with start(two) as running:
        for text in ("one", "two", "one"):
            made = await post(running, "mine/answers", eva, **conversation(two, "triage:1", "triage:2", text=text))
            assert made.status_code == 200, made.text
        assert made.json()["progress"]["pairs"] == 2, "the same answers are not put there again"
        assert (await post(running, "mine/next", eva)).json() == {"ballot": None}
        shown = await post(running, "mine/next", amal)
        ballot = shown.json()["ballot"]
        assert "triage" not in shown.text
        assert {ballot["a"], ballot["b"]} in ({"it is one 0", "it is one 1"}, {"it is two 0", "it is two 1"})
        cast = await post(running, "mine/votes", amal, ballot=ballot["id"], choice="a")
        assert cast.json() == {"ballot": ballot["id"], "choice": "a", "were": None}
        twice = await post(running, "mine/votes", amal, ballot=ballot["id"], choice="b")
        assert (twice.status_code, twice.json()["error"]["code"]) == (409, "conflict")
        back = await post(running, "mine/undo", amal)
        assert back.json()["ballot"] == ballot
        listed = await running.client.get(R, headers=amal)
    assert [(it["name"], it["progress"]["votes"]) for it in listed.json()["data"]] == [("mine", 0)]
    assert "triage" not in listed.text
    assert "seed" not in listed.text
    assert [entry.action for entry in two.registry.audit("mine")][::-1] == [
        "rating.create", "rating.collect", "rating.vote", "rating.undo",
    ]  # fmt: skip


async def test_a_vote_is_the_keys_holders_whatever_the_request_says(two: Any, start: Any) -> None:
    eva, amal = (two.key(name, role=Role.EVALUATOR) for name in ("eva", "amal"))
    async with start(two) as running:
        await post(running, "c/answers", eva, **conversation(two, "triage:1", "triage:2"))
        ballot = (await post(running, "c/next", amal, rater="eva")).json()["ballot"]
        await post(running, "c/votes", amal, ballot=ballot["id"], choice="both_bad", rater="eva")
    assert [vote.rater for vote in two.registry.ratings.ratings("c").votes] == ["amal"]


async def test_without_keys_the_request_says_who_rates(two: Any, start: Any) -> None:
    async with start(two) as running:
        await post(running, "c/answers", {}, **conversation(two, "triage:1", "triage:2"))
        ballot = (await post(running, "c/next", {}, rater="badr")).json()["ballot"]
        other = await post(running, "c/votes", {}, ballot=ballot["id"], choice="a", rater="dina")
        assert other.status_code == 404
        assert (await post(running, "c/votes", {}, ballot=ballot["id"], choice="a", rater="badr")).status_code == 200


async def test_a_campaign_that_reveals_tells_whose_answers_they_were_after_the_vote_alone(two: Any, start: Any) -> None:
    eva, amal = (two.key(name, role=Role.EVALUATOR) for name in ("eva", "amal"))
    async with start(two) as running:
        await post(running, "c/answers", eva, **conversation(two, "triage:1", "triage:2"))
        reveal(two, "c")
        ballot = (await post(running, "c/next", amal)).json()["ballot"]
        asked = f"{R}/c/votes/{ballot['id']}"
        assert (await running.client.get(asked, headers=amal)).json()["were"] is None
        were = (await post(running, "c/votes", amal, ballot=ballot["id"], choice="tie")).json()["were"]
        assert set(were.values()) == {"triage:1", "triage:2"}
        assert were["a"] == f"triage:{int(ballot['a'][-1]) + 1}"
        assert (await running.client.get(asked, headers=amal)).json()["were"] == were
        assert (await running.client.get(asked, headers=eva)).status_code == 404


def reveal(house: Any, name: str) -> None:
    from sqlalchemy import select, update

    from lifecycle.registry.rating_tables import campaigns

    with house.registry.ratings._database.write() as tx:
        body = tx.execute(select(campaigns.c.body).where(campaigns.c.name == name)).scalar_one()
        tx.execute(update(campaigns).values(body={**body, "reveal": True}))


async def test_a_closed_campaign_takes_no_vote_and_no_answers_and_says_so(two: Any, start: Any) -> None:
    eva = two.key("eva", role=Role.EVALUATOR)
    async with start(two) as running:
        await post(running, "c/answers", eva, **conversation(two, "triage:1", "triage:2"))
        closed = await post(running, "c/close", eva, reason="done")
        assert closed.json()["closed_at"]
        for path, body in (("next", {}), ("undo", {}), ("answers", conversation(two, "triage:1", "triage:2"))):
            refused = await post(running, f"c/{path}", eva, **body)
            assert (refused.status_code, "is closed" in refused.json()["error"]["message"]) == (403, True)
        page = await running.client.get(f"{R}?state=open", headers=eva)
        assert page.json() == {"object": "list", "data": [], "has_more": False}


@pytest.mark.parametrize("role", [Role.CALLER, Role.EVALUATOR])
async def test_rating_needs_an_evaluators_key(two: Any, start: Any, role: Role) -> None:
    key = two.key("app", role=role)
    async with start(two) as running:
        assert ((await running.client.get(R, headers=key)).status_code == 200) == (role is Role.EVALUATOR)
        made = await post(running, "c/answers", key, **conversation(two, "triage:1", "triage:2"))
        assert (made.status_code == 200) == (role is Role.EVALUATOR)


async def test_a_key_sees_the_campaigns_of_the_versions_that_it_covers_alone(two: Any, start: Any) -> None:
    eva = two.key("eva", role=Role.EVALUATOR)
    other = two.key("other", role=Role.EVALUATOR, models=["digest"])
    async with start(two) as running:
        await post(running, "c/answers", eva, **conversation(two, "triage:1", "triage:2"))
        assert (await running.client.get(R, headers=other)).json()["data"] == []
        for path in ("next", "undo", "close"):
            refused = await post(running, f"c/{path}", other)
            assert refused.status_code == 403
            assert "triage" not in refused.text
        refused = await post(running, "d/answers", other, **conversation(two, "triage:1", "triage:2"))
        assert refused.status_code == 403


async def test_the_base_can_be_rated_under_its_own_name(two: Any, start: Any) -> None:
    async with start(two) as running:
        asked = conversation(two, "triage:1")
        told = await running.chat("tiny")
        digest = told.headers["x-dabt-digest"]
        asked["answers"].append(
            {"version": "tiny", "digest": digest, "text": told.json()["choices"][0]["message"]["content"]}
        )
        made = await post(running, "c/answers", {}, **asked)
        assert made.status_code == 200, made.text
        assert (await post(running, "c/next", {})).json()["ballot"] is not None


async def test_what_cannot_be_rated_is_refused_with_its_reasons(two: Any, start: Any) -> None:
    async with start(two) as running:
        good = conversation(two, "triage:1", "triage:2")
        await post(running, "c/answers", {}, **good)
        first, second = good["answers"]
        cases = {
            "is sha256": [{**first, "digest": second["digest"]}, second],
            "there is no version": [{**first, "version": "triage:9"}, second],
            "is no version": [{**first, "version": "triage"}, second],
            "is there twice": [first, first],
        }
        for said, answers in cases.items():
            refused = await post(running, "d/answers", {}, **{**good, "answers": answers})
            assert (refused.status_code, said in refused.json()["error"]["message"]) == (400, True), refused.text
        two.version("triage", prompt={"system": "Be kind."})
        other = await post(running, "c/answers", {}, **conversation(two, "triage:1", "triage:3"))
        assert "choose another name" in other.json()["error"]["message"]
        named = await post(running, "No Name/answers", {}, **good)
        assert "is no name" in json.loads(named.text)["error"]["message"]
        nothing = await post(running, "e/answers", {}, messages=[], answers=[], folder="/etc")
        assert all(place in nothing.text for place in ("messages", "answers", "folder"))


async def test_a_list_of_campaigns_is_paged(two: Any, start: Any) -> None:
    async with start(two) as running:
        for name in ("a", "b", "c"):
            await post(running, f"{name}/answers", {}, **conversation(two, "triage:1", "triage:2"))
        first = (await running.client.get(f"{R}?limit=2")).json()
        assert ([it["name"] for it in first["data"]], first["has_more"]) == (["c", "b"], True)
        rest = (await running.client.get(f"{R}?limit=2&after=b")).json()
        assert ([it["name"] for it in rest["data"]], rest["has_more"]) == (["a"], False)
        assert (await running.client.get(f"{R}?state=lost")).status_code == 400
