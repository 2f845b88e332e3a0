"""A row that another release wrote costs itself: calling it says to upgrade, and everything else works."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import update

from lifecycle.registry import Registry, audit, tables

pytestmark = pytest.mark.timeout(300)


def spoil(house: Any, table: Any, where: Any, **values: Any) -> None:
    """With the trail told, as a newer release would."""
    with house.registry._database.write() as tx:
        assert tx.execute(update(table).where(where).values(values)).rowcount == 1
        audit.append(tx, "a newer release", "newer.release", "x")


def newer_version(house: Any, number: int) -> None:
    spoil(house, tables.versions, tables.versions.c.number == number, state="frozen")


async def refused(reply: Any, what: str) -> None:
    assert reply.status_code == 503
    error = reply.json()["error"]
    assert error["code"] == "unreadable"
    assert error["message"].startswith(f"{what}: this release of the service cannot read it")
    assert error["message"].endswith("upgrade the service")
    assert reply.headers["x-should-retry"] == "false", "to try again does not help"
    assert "retry-after" not in reply.headers


async def test_a_version_of_another_release_is_refused_with_the_cure_and_all_else_is_answered(
    house: Any, start: Any
) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.prod("answer", prompt={"system": "two"})
    house.version("triage", prompt={"system": "newer"})
    newer_version(house, 2)
    headers = {"x-dabt-purpose": "evaluation"}
    async with start(house) as running:
        assert (await running.chat("triage")).json()["dabt"]["version"] == "triage:1"
        assert (await running.chat("answer")).status_code == 200
        await refused(await running.chat("triage:2", headers=headers), "triage:2")
        listed = (await running.client.get("/v1/models", headers=headers)).json()["data"]
        assert [card["id"] for card in listed] == ["tiny", "answer", "answer:1", "triage", "triage:1"]
        missing = await running.chat("triage:9")
        assert (missing.status_code, "it has 1" in missing.json()["error"]["message"]) == (404, True)


async def test_an_alias_is_refused_for_the_share_of_what_cannot_be_read_behind_it(house: Any, start: Any) -> None:
    house.prod("triage", prompt={"system": "one"})
    house.version("triage", prompt={"system": "newer"})
    house.registry.promote("triage:2", actor="x", reason="x", share=0.5, force=True)
    newer_version(house, 2)
    async with start(house) as running:
        replies = [await running.chat("triage", user=f"user {number}") for number in range(40)]
        answered = [reply for reply in replies if reply.status_code == 200]
        assert 0 < len(answered) < 40
        for reply in replies:
            if reply not in answered:
                await refused(reply, "triage:2, behind triage:prod")
        listed = (await running.client.get("/v1/models")).json()["data"]
        assert "triage" in [card["id"] for card in listed]
        assert (await running.client.get("/metrics")).status_code == 200


@pytest.mark.parametrize("only", [True, False], ids=["the only one of its name", "beside another"])
async def test_an_alias_of_another_release_is_refused_with_the_cure(house: Any, start: Any, only: bool) -> None:
    house.version("triage", prompt={"system": "one"})
    house.registry.promote("triage:1", actor="x", reason="x", alias="canary", force=True)
    if not only:
        house.registry.promote("triage:1", actor="x", reason="x", force=True)
    spoil(house, tables.moves, tables.moves.c.alias == "canary", targets={"by": "region"})
    async with start(house) as running:
        await refused(await running.chat("triage:canary"), "triage:canary")
        assert (await running.chat("triage")).status_code == (404 if only else 200)


async def test_an_adapter_of_another_release_is_refused_with_the_cure(house: Any, start: Any) -> None:
    for name in ("kept", "newer"):
        house.adapter(name)
        house.prod(name, adapter=name)
    digest = house.adapters["newer"]
    spoil(house, tables.artifacts, tables.artifacts.c.digest == digest, manifest={"dora": True})
    async with start(house) as running:
        assert (await running.chat("kept")).status_code == 200
        await refused(await running.chat("newer"), f"the adapter of newer:1, {digest}")
        assert running.engine.starts == 1
        assert (await running.client.get("/ready")).status_code == 200


async def test_a_key_of_another_release_is_refused_with_the_cure_and_still_closes_the_service(
    house: Any, start: Any
) -> None:
    """If it did not count, a registry whose only keys are newer ones would let everybody in."""
    newer = house.key("newer")
    spoil(house, tables.api_keys, tables.api_keys.c.name == "newer", role="auditor")
    (row,) = house.registry.keys.left_out()
    async with start(house) as running:
        await refused(await running.chat("tiny", headers=newer), f"the API key {row.ref}")
        assert (await running.chat("tiny")).status_code == 401


async def test_a_revoked_key_is_refused_whatever_else_cannot_be_read(house: Any, start: Any, until: Any) -> None:
    app, admin = house.key("app"), house.key("admin", role="admin")
    house.prod("triage", prompt={"system": "one"})
    async with start(house, poll_seconds=0.05) as running:
        assert (await running.chat("triage", headers=app)).status_code == 200
        newer_version(house, 1)
        spoil(house, tables.moves, tables.moves.c.name == "triage", targets=7)
        spoil(house, tables.api_keys, tables.api_keys.c.name == "admin", limits={"gpu_seconds": 1})
        with Registry.open(house.home.registry_url) as other:
            other.keys.revoke("app", actor="elsewhere")

        async def gone() -> bool:
            return bool((await running.chat("tiny", headers=app)).status_code == 401)

        await until(gone)
        assert (await running.chat("tiny", headers=admin)).status_code == 503


async def test_ready_counts_what_cannot_be_read_and_tells_none_of_it(house: Any, start: Any) -> None:
    house.version("triage", prompt={"system": "the dose of Mrs Haddad"})
    newer_version(house, 1)
    async with start(house) as running:
        ready = await running.client.get("/ready")
        page = (await running.client.get("/metrics")).text
    assert ready.status_code == 200
    assert ready.json()["registry"] == {"revision": house.registry.revision(), "problem": None, "unreadable": 1}
    assert "Haddad" not in ready.text
    assert "frozen" not in ready.text
    assert 'dabt_registry_unreadable{kind="version"} 1.0' in page
