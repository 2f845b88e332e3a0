"""Lists show all that can be read, whatever another release wrote beside it, and name the rest."""

from __future__ import annotations

import pytest
from sqlalchemy import update

from lifecycle.aliases import Target
from lifecycle.errors import Unreadable
from lifecycle.registry import tables


def refs(listed):
    return [row.version.ref for row in listed.rows]


def left_out(listed):
    return [(row.kind, row.ref) for row in listed.left_out]


def change(registry, table, where, **values):
    with registry._database.write() as tx:
        tx.execute(update(table).where(where).values(**values))


def test_each_version_is_listed_with_what_points_at_it_and_what_was_said_of_it(registry, house):
    house.promoted("one")
    house.judged("two", passed=False)
    house.draft("three", name="digest")
    listed = registry.listings.versions()
    assert refs(listed) == ["digest:1", "triage:1", "triage:2"]
    _, first, second = listed.rows
    assert [alias.ref for alias in first.aliases] == ["triage:prod"]
    assert [verdict.passed for verdict in first.verdicts] == [True]
    assert [verdict.passed for verdict in second.verdicts] == [False]
    assert (second.aliases, second.doubt) == ((), None)
    assert refs(registry.listings.versions("digest")) == ["digest:1"]
    assert refs(registry.listings.versions("none")) == []
    assert listed.left_out == ()


def test_verdicts_are_listed_newest_first_and_a_doubt_with_its_reason(registry, house):
    version = house.promoted("one")
    house.judged("one", passed=False)
    (row,) = registry.listings.versions().rows
    assert [verdict.passed for verdict in row.verdicts] == [
        verdict.passed for verdict in registry.verdicts(version.ref)
    ]
    assert row.doubt == registry.doubt(version.ref) is not None


def test_a_version_that_another_release_wrote_hides_no_other(registry, house):
    house.promoted("one")
    newer = house.draft("two")
    spec = {**newer.spec.model_dump(mode="json"), "vision": {"patch": 14}}
    change(registry, tables.versions, tables.versions.c.number == newer.number, spec=spec)
    with pytest.raises(Unreadable):
        registry.versions()  # what decides does not go on without it
    listed = registry.listings.versions()
    assert refs(listed) == ["triage:1"]
    assert left_out(listed) == [("version", "triage:2")]
    assert "upgrade to the release that wrote it" in listed.left_out[0].why
    assert registry.listings.versions("digest").left_out == (), "only of the name that was asked for"


def test_an_alias_or_a_verdict_that_cannot_be_read_costs_no_version(registry, house):
    house.promoted("one")
    house.promoted("two")
    registry.promote("triage:1", actor="amal", reason="x", alias="canary")
    canary = tables.moves.c.alias == "canary"
    change(registry, tables.moves, canary, targets=[{"number": 1, "weight": 1, "region": "eu"}])
    verdict = registry.verdicts("triage:2")[0]
    body = {**verdict.model_dump(mode="json"), "jury": 3}
    change(registry, tables.verdicts, tables.verdicts.c.digest == verdict.digest, body=body)
    listed = registry.listings.versions("triage")
    assert refs(listed) == ["triage:1", "triage:2"]
    assert [len(row.verdicts) for row in listed.rows] == [1, 0]
    assert left_out(listed) == [("alias", "triage:canary"), ("verdict", f"{verdict.digest} of triage:2")]
    aliases = registry.listings.aliases()
    assert [row.alias.ref for row in aliases.rows] == ["triage:prod"]
    assert aliases.rows[0].alias.targets == (Target(number=2),)
    assert left_out(aliases) == [("alias", "triage:canary")]


def test_a_gate_that_cannot_be_read_hides_no_other_and_the_newest_of_a_name_counts(registry, house):
    house.gated("digest", policy="older")
    newest = house.gated("digest")
    newer = house.gated("triage")
    body = {**newer.model_dump(mode="json"), "jury": 3}
    change(registry, tables.gates, tables.gates.c.name == "triage", body=body)
    listed = registry.listings.gates()
    assert listed.rows == (newest,)
    assert left_out(listed) == [("gate", "triage")]
    assert registry.listings.gates("digest").left_out == ()
    assert left_out(registry.listings.gates("triage")) == [("gate", "triage")]
    assert registry.listings.gates("none").rows == ()


def test_a_row_that_cannot_even_be_fetched_is_named_too(registry, house):
    if not registry._database._sqlite:
        pytest.skip("PostgreSQL takes no broken JSON")
    house.promoted("one")
    house.gated("digest")
    with registry._database.write() as tx:
        tx.exec_driver_sql("UPDATE gates SET body = '{' WHERE name = 'digest'")
        tx.exec_driver_sql("UPDATE verdicts SET body = '{'")
    assert ("gate", "digest") in left_out(registry.listings.gates())
    listed = registry.listings.versions("triage")
    assert refs(listed) == ["triage:1"]
    assert [row.kind for row in listed.left_out] == ["verdict"]
    assert listed.left_out[0].why == "a column of it is broken"
