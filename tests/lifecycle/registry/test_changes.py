"""What changed since a mark: read at one moment, by what the trail says, and without what cannot be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sqlalchemy import event, select, update

from lifecycle.access.keys import KeyGrant
from lifecycle.aliases import Target
from lifecycle.errors import InvalidInput, NotFound, Unreadable
from lifecycle.registry import changes, tables
from lifecycle.registry.changes import Mark

ROOT = Path(__file__).parents[3]


def refs(told):
    return {version.ref for version in told.now.versions}, {alias.ref for alias in told.now.aliases}


def test_without_a_mark_everything_is_told_and_with_one_what_changed_since(registry, house):
    house.promoted("one")
    house.draft("other", name="answer")
    registry.keys.create(KeyGrant(name="app"), actor="amal")
    first = registry.changes.traffic(None)
    assert first.whole
    assert refs(first) == ({"triage:1", "answer:1"}, {"triage:prod"})
    assert first.mark == registry.changes.newest() == registry.changes.keys(None).mark
    assert first.mark.revision == registry.revision()

    house.promoted("two")
    second = registry.changes.traffic(first.mark)
    assert not second.whole
    assert refs(second) == ({"triage:2"}, {"triage:prod"})
    assert registry.changes.keys(first.mark).now.readable == ()

    registry.keys.revoke("app", actor="amal")
    third = registry.changes.traffic(second.mark)
    assert refs(third) == (set(), set())
    (revoked,) = registry.changes.keys(second.mark).now.readable
    assert revoked.revoked_at is not None


def test_an_empty_trail_is_followed_from_its_first_entry(registry, house):
    before = registry.changes.traffic(None)
    assert (before.mark, before.whole) == (Mark(revision=0), True)
    house.draft("one")
    assert refs(registry.changes.traffic(before.mark)) == ({"triage:1"}, set())


@pytest.mark.parametrize("mark", ["another moment", "ahead"])
def test_a_trail_that_does_not_go_on_from_the_mark_is_read_whole(registry, house, mark):
    house.draft("one")
    here = registry.changes.newest()
    other = (
        Mark(revision=here.revision + 5, at=here.at)
        if mark == "ahead"
        else Mark(revision=here.revision, at=here.at.replace(year=2020))
    )
    told = registry.changes.traffic(other)
    assert told.whole
    assert refs(told) == ({"triage:1"}, set())


def test_past_so_many_changes_all_is_read(registry, house, monkeypatch):
    mark = registry.changes.newest()
    house.draft("zero")
    mark = registry.changes.newest()
    for text in ("one", "two", "three"):
        house.draft(text)
    monkeypatch.setattr(changes, "_MOST", 3)
    assert not registry.changes.traffic(mark).whole
    house.draft("four")
    assert registry.changes.traffic(mark).whole


def test_every_action_that_this_release_writes_is_known_here():
    written = set()
    for file in (ROOT / "lifecycle").rglob("*.py"):
        if file.name != "changes.py":
            kinds = "index|version|report|verdict|gate|alias|key|file|upload|job|checkpoint|artifact|pin"
            written |= set(re.findall(rf'"((?:{kinds})\.[a-z]+)"', file.read_text(encoding="utf-8")))
    written |= {f"{kind}.{deed}" for kind in ("adapter", "weights", "classifier") for deed in ("add", "golden")}
    written |= {"model.delete", *(f"upload.{end}" for end in ("completed", "cancelled"))}
    known = changes.OF_VERSIONS | changes.OF_ALIASES | changes.OF_KEYS | changes.OF_ARTIFACTS | changes.OF_NOTHING_KEPT
    known |= changes.OF_PINS
    assert written == known


def test_a_reading_is_of_one_moment_whatever_is_written_meanwhile(registry, house):
    """Answers name the revision that they were decided by, and the trail must say the same."""
    house.promoted("one")
    house.promoted("two")
    pending = [True]

    def write_between(connection, cursor, statement, *_):
        if pending and "alias_moves" in statement and statement.startswith("SELECT"):
            pending.clear()
            registry.rollback("triage", actor="amal", reason="in the middle")

    event.listen(registry._database._engine, "before_cursor_execute", write_between)
    try:
        told = registry.changes.traffic(None)
    finally:
        event.remove(registry._database._engine, "before_cursor_execute", write_between)
    assert not pending
    assert told.mark.revision < registry.revision()
    (alias,) = told.now.aliases
    assert alias.targets == (Target(number=2),)
    (alias,) = registry.changes.traffic(told.mark).now.aliases
    assert alias.targets == (Target(number=1),)


def test_rows_of_another_release_are_left_out_on_both_databases(registry, house):
    house.promoted("one")
    newer = house.draft("two")
    registry.keys.create(KeyGrant(name="app"), actor="amal")
    registry.keys.create(KeyGrant(name="newer"), actor="amal")
    with registry._database.write() as tx:
        spec = {**newer.spec.model_dump(mode="json"), "vision": {"patch": 14}}
        tx.execute(update(tables.versions).where(tables.versions.c.number == 2).values(spec=spec))
        tx.execute(update(tables.api_keys).where(tables.api_keys.c.name == "newer").values(role="auditor"))
    told = registry.changes.traffic(None)
    assert refs(told) == ({"triage:1"}, {"triage:prod"})
    assert [(one.kind, one.ref) for one in told.left_out] == [("version", "triage:2")]
    keys = registry.changes.keys(None)
    assert [key.name for key in keys.now.readable] == ["app"]
    ((digest, id_),) = keys.now.unreadable
    with registry._database.read() as tx:
        row = tx.execute(select(tables.api_keys).where(tables.api_keys.c.name == "newer")).one()
    assert (digest, id_) == (row.digest, row.id)


def test_of_many_rows_each_broken_one_is_left_out_and_all_others_are_read(registry, house, monkeypatch):
    """A driver fetches all rows or none, so the broken ones are cornered by halves."""
    if not registry._database._sqlite:
        pytest.skip("PostgreSQL takes no broken JSON")
    monkeypatch.setattr("lifecycle.registry.readable._AT_ONCE", 16)
    for number in range(40):
        house.draft(str(number))
    broken = {1, 2, 16, 17, 33, 40}
    with registry._database.write() as tx:
        for number in broken:
            tx.exec_driver_sql(f"UPDATE versions SET spec = '{{' WHERE number = {number}")
    told = registry.changes.traffic(None)
    assert {version.number for version in told.now.versions} == set(range(1, 41)) - broken
    assert {one.ref for one in told.left_out} == {f"triage:{number}" for number in broken}


def test_an_alias_that_cannot_be_read_is_in_no_other_aliass_way(registry, house):
    house.promoted("one")
    house.promoted("two")
    registry.promote("triage:1", actor="amal", reason="x", alias="canary")
    with registry._database.write() as tx:
        canary = tables.moves.c.alias == "canary"
        tx.execute(update(tables.moves).where(canary).values(targets=[{"number": 1, "weight": 1, "region": "eu"}]))
    assert registry.rollback("triage", actor="amal", reason="x").targets == (Target(number=1),)
    assert registry.promote("triage:2", actor="amal", reason="x").targets == (Target(number=2),)
    with pytest.raises(Unreadable, match="triage:canary"):
        registry.alias("triage", "canary")
    with pytest.raises(NotFound, match="there is triage:canary, triage:prod"):
        registry.alias("triage", "blue")


def test_a_key_that_cannot_be_read_is_in_no_other_keys_way(registry):
    old, _ = registry.keys.create(KeyGrant(name="app"), actor="amal")
    with registry._database.write() as tx:
        tx.execute(update(tables.api_keys).values(role="auditor"))
    assert registry.keys.all() == []
    assert [one.ref for one in registry.keys.left_out()] == [old.id]
    with pytest.raises(InvalidInput, match="cannot be read by this release"):
        registry.keys.create(KeyGrant(name="app"), actor="amal")
    with pytest.raises(Unreadable, match=f"ApiKey {old.id} cannot be read"):
        registry.keys.revoke("app", actor="amal")
    other, _ = registry.keys.create(KeyGrant(name="other"), actor="amal")
    assert registry.keys.revoke("other", actor="amal").id == other.id
