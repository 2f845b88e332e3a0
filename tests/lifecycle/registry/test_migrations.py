"""Registries of earlier releases open with all that was in them; those of later ones are refused in one sentence."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy
from sqlalchemy import select, text, update

from lifecycle.access.keys import KeyGrant, digest_of_secret
from lifecycle.errors import InvalidConfig, NotAllowed
from lifecycle.registry import Registry, database, tables
from lifecycle.registry.migrations import migrate
from lifecycle.states import State
from lifecycle.verdict import Ruling

HOMES = Path(__file__).parents[1] / "homes"
ROOT = Path(__file__).parents[3]
DROPPED = {4: (), 3: ("canary_outcomes",), 2: ("canary_outcomes", "alias_policies")}
"""What the earlier schemas lack of the fourth's tables."""
DROPPED[1] = (*DROPPED[2], "api_keys", "key_usage")


def fill(url: str, script: str) -> None:
    if url.startswith("sqlite"):
        with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
            connection.executescript(script)
        connection.close()
        return
    import psycopg

    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(script.encode())


@pytest.fixture
def old_url(registry_url: str) -> str:
    """A database that holds the registry of the last release before migrations."""
    kind = "sqlite" if registry_url.startswith("sqlite") else "postgresql"
    fill(registry_url, (HOMES / f"schema4.{kind}.sql").read_text(encoding="utf-8"))
    return registry_url


@pytest.fixture
def old(old_url: str):
    with Registry.open(old_url) as opened:
        yield opened


# -- what an older release wrote --------------------------------------------------------------------------------------


def test_versions_are_there_with_their_digests_and_what_was_approved_is_doubted_with_the_reason(old):
    versions = {version.number: version for version in old.versions("triage")}
    assert {number: version.state for number, version in versions.items()} == {
        1: State.EVALUATED,
        2: State.REJECTED,
        3: State.DOUBTED,
        4: State.REJECTED,
        5: State.DOUBTED,
        6: State.EVALUATED,
        7: State.DRAFT,
        8: State.RETIRED,
    }
    assert versions[3].digest == "sha256:a509ef704a7dc63e6b705a28ad4b5a1a17b3a8f75d4fe3b23d893862d9a29f22"
    assert (versions[3].created_by, versions[3].lineage.note) == ("سلمى", "تدريب أول")
    assert old.adapter(versions[3].spec.adapter).base_name == "clinic-base"
    assert old.artifact(versions[3].spec.adapter) == old.adapter(versions[3].spec.adapter)
    assert old.index("handbook").facts == {"documents": 12, "passages": 73}
    for number in (3, 5):
        assert "run `dabt eval`" in old.doubt(f"triage:{number}")
    assert old.doubt("triage:4") is None


def test_verdicts_and_reports_are_readable_and_count_as_nothing_but_a_memory(old):
    (verdict,) = old.verdicts("triage:3")
    assert (verdict.ruling, [check.ruling for check in verdict.checks]) == (Ruling.PASSED, [Ruling.PASSED] * 2)
    assert (verdict.suite_digest, verdict.deployment, verdict.decides) == (None, None, False)
    assert [one.ruling for one in old.verdicts("triage:2")] == [Ruling.FAILED]
    assert len(old.reports()) == 3
    report = old.report(verdict.evaluation_digest)
    assert (report.task, report.n_items, len(report.arms), report.suite) == ("triage", 200, 4, None)


def test_aliases_keys_usage_and_trail_are_as_they_were(old):
    aliases = {alias.alias: alias for alias in old.aliases("triage")}
    assert {target.number: target.weight for target in aliases["prod"].targets} == {3: 0.1, 5: 0.9}
    assert (aliases["prod"].incumbent, aliases["prod"].policy.shadow.version) == (5, 6)
    assert aliases["prod"].policy.canary.max_error_rate == 0.05
    keys = {key.name: key for key in old.keys.all()}
    for name, letter in (("clinic-app", "A"), ("ops", "B"), ("old", "C")):
        assert keys[name].digest == digest_of_secret("dabt-" + letter * 43)
    assert keys["old"].revoked_at is not None
    (use,) = old.usage.between(None, None, None)
    assert (use.day, use.version, use.requests, use.tokens) == (date(2026, 11, 1), "triage:3", 7, 770)
    trail = old.audit(limit=1000)
    assert [entry.id for entry in trail] == list(range(41, 0, -1))
    assert trail[11].reason == "أفضل بالعربية"
    assert {(entry.actor, entry.action, entry.subject) for entry in trail[:2]} == {
        ("dabt", "version.state", "triage:3"),
        ("dabt", "version.state", "triage:5"),
    }


def test_rollback_works_and_a_promotion_asks_for_a_gate_and_an_evaluation(old):
    with pytest.raises(NotAllowed, match="triage has no gate"):
        old.promote("triage:3", actor="amal", reason="again")
    assert old.rollback("triage", actor="amal", reason="complaints").targets[0].number == 5
    assert old.rollback("triage", actor="amal", reason="complaints").targets[0].number == 3
    assert old.audit()[0].id == 43


def test_a_version_of_before_is_approved_again_by_a_verdict_under_a_gate(old, house):
    house = type(house)(old)
    house.gated()
    version = old.version("triage:3")
    with pytest.raises(NotAllowed, match="no verdict in suite triage"):
        old.promote(version.ref, actor="amal", reason="again")
    assert house.judge(version).state is State.APPROVED
    old.promote(version.ref, actor="amal", reason="passed")


def test_a_second_opening_migrates_nothing(old, old_url):
    revision = old.revision()
    with Registry.open(old_url) as again:
        assert again.revision() == revision
        assert [version.state for version in again.versions()] == [version.state for version in old.versions()]


@pytest.mark.parametrize("schema", [1, 2, 3, 4])
def test_every_schema_from_before_migrations_is_brought_to_this_one(old_url, schema):
    drops = "".join(f"DROP TABLE {table};" for table in DROPPED[schema])
    fill(old_url, f"{drops} UPDATE dabt_meta SET value = '{schema}' WHERE key = 'schema';")
    with Registry.open(old_url) as opened:
        assert len(opened.versions("triage")) == 8
        assert len(opened.keys.all()) == (3 if schema > 1 else 0)
        assert opened.aliases("triage")[1].incumbent == 5
        with opened._database.read() as tx:
            assert tx.execute(select(tables.meta.c.value)).scalar() == str(tables.SCHEMA_VERSION)
            assert tx.execute(select(tables.alembic_version.c.version_num)).scalar() == tables.REVISION


def test_a_migration_that_fails_leaves_the_registry_as_it_was(old_url, monkeypatch):
    def half(tx):
        migrate(tx)
        raise InvalidConfig("the disk is full")

    monkeypatch.setattr(database, "migrate", half)
    with pytest.raises(InvalidConfig, match="full"):
        Registry.open(old_url)
    monkeypatch.undo()
    engine = sqlalchemy.create_engine(database.parse(old_url))
    with engine.connect() as connection:
        assert not sqlalchemy.inspect(connection).has_table("gates")
        assert not sqlalchemy.inspect(connection).has_table("artifacts")
        assert connection.execute(text("SELECT count(*) FROM adapters")).scalar() > 0
        assert connection.execute(text("SELECT value FROM dabt_meta")).scalar() == "4"
    engine.dispose()
    with Registry.open(old_url) as opened:
        assert opened.version("triage:3").state is State.DOUBTED


@pytest.mark.e2e
def test_processes_that_open_an_old_registry_at_once_all_find_it_migrated_once(old_url, at_once):
    script = """
from lifecycle.registry import Registry
go()
registry = Registry.open(sys.argv[1])
print(registry.revision(), registry.version("triage:3").state)
"""
    assert {said.strip() for said in at_once(script, [[old_url]] * 4)} == {"41 doubted"}


# -- what a newer release wrote ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("mark", ["schema", "revision"])
def test_a_registry_of_a_newer_release_is_refused_in_one_sentence_and_left_alone(registry, registry_url, mark):
    with registry._database.write() as tx:
        if mark == "schema":
            tx.execute(update(tables.meta).values(value=str(tables.SCHEMA_VERSION + 1)))
        else:
            tx.execute(update(tables.alembic_version).values(version_num=f"{tables.SCHEMA_VERSION + 1:04}"))
    before = registry.revision()
    says = f"this release reads {tables.SCHEMA_VERSION}; use the release that wrote it"
    with pytest.raises(InvalidConfig, match=says) as caught:
        Registry.open(registry_url)
    assert "\n" not in str(caught.value)
    assert registry.revision() == before


def test_a_release_from_before_migrations_refuses_a_migrated_registry(old):
    """It compares this number with its own, 4, and nothing else."""
    with old._database.read() as tx:
        assert int(tx.execute(select(tables.meta.c.value).where(tables.meta.c.key == "schema")).scalar()) > 4


# -- what owned by its name -------------------------------------------------------------------------------------------


def test_keys_of_schema_7_keep_what_they_had_by_their_name_and_new_ones_own_by_their_id(registry_url):
    new = Registry.later(registry_url, new=True)
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    with new._database._transaction(writes=True) as tx:
        migrate(tx, "0007")
        tx.execute(text("INSERT INTO dabt_meta (key, value) VALUES ('schema', '7')"))
        kept = {"role": "trainer", "hint": "AAAA", "models": ["*"], "limits": {}, "created_by": "ops"}
        for number, revoked in ((1, moment), (2, None)):
            key = {"id": f"key-{number}", "name": "amal", "digest": f"sha256:{number:064}", "revoked_at": revoked}
            columns = [column for column in tables.api_keys.c if column.name != "owner"]
            of_seven = sqlalchemy.Table("api_keys", sqlalchemy.MetaData(), *(c._copy() for c in columns))
            tx.execute(of_seven.insert().values(created_at=moment, **key, **kept))
        columns = [column for column in tables.files.c if column.name != "arrived_at"]
        of_seven = sqlalchemy.Table("files", sqlalchemy.MetaData(), *(c._copy() for c in columns))
        file = {"id": "file-1", "owner": "amal", "purpose": "fine-tune", "filename": "a.jsonl", "bytes": 3}
        tx.execute(of_seven.insert().values(digest=f"sha256:{9:064}", created_at=moment, **file))
    new.close()
    with Registry.open(registry_url) as opened:
        assert {key.owner for key in opened.keys.all()} == {"amal"}
        assert opened.files.get("file-1", "amal").created_at == moment
        assert opened.files.left() == []
        opened.keys.revoke("amal", actor="ops")
        namesake, _ = opened.keys.create(KeyGrant(name="amal"), actor="ops")
        heir, _ = opened.keys.create(KeyGrant(name="amal-2"), actor="ops", shares_with="key-2")
        assert (namesake.owner, heir.owner) == (namesake.id, "amal")
        assert {key.id: key.owner for key in opened.keys.all()}[namesake.id] == namesake.id


# -- the tables -------------------------------------------------------------------------------------------------------


def shape(connection: Any) -> dict[str, Any]:
    """All tables with columns, keys, indexes and constraints, as the database tells them."""
    inspector = sqlalchemy.inspect(connection)

    def of(table: str) -> dict[str, Any]:
        columns = [
            (one["name"], str(one["type"]), one["nullable"], one["default"]) for one in inspector.get_columns(table)
        ]
        unique = {tuple(one["column_names"]) for one in inspector.get_unique_constraints(table)}
        indexes = {
            (one["name"], tuple(one["column_names"]), bool(one["unique"])) for one in inspector.get_indexes(table)
        }
        foreign = {
            (tuple(one["constrained_columns"]), one["referred_table"]) for one in inspector.get_foreign_keys(table)
        }
        key = inspector.get_pk_constraint(table)
        return {"columns": columns, "unique": unique, "indexes": indexes, "foreign": foreign, "key": key}

    return {table: of(table) for table in inspector.get_table_names()}


def test_a_registry_made_new_and_one_made_by_migrations_have_the_same_tables(registry, registry_url):
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with registry._database.write() as tx:
        made = shape(tx)
        tables.metadata.drop_all(tx)
        assert shape(tx) == {}
        migrate(tx)
        assert shape(tx) == made
        assert tx.execute(select(tables.alembic_version.c.version_num)).scalar() == tables.REVISION
        assert compare_metadata(MigrationContext.configure(tx), tables.metadata) == []


def test_the_newest_migration_is_the_one_that_new_registries_are_stamped_with():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(ROOT / "lifecycle" / "registry" / "migrations"))
    script = ScriptDirectory.from_config(config)
    assert script.get_heads() == [tables.REVISION]
    assert int(tables.REVISION) == tables.SCHEMA_VERSION


def test_opening_a_current_or_a_new_registry_does_not_load_alembic(tmp_path):
    code = (
        "import json, sys; from lifecycle.registry import Registry; "
        f"Registry.open({f'sqlite:///{tmp_path}/registry.db'!r}).close(); "
        f"Registry.open({f'sqlite:///{tmp_path}/registry.db'!r}).close(); "
        "print(json.dumps('alembic' in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


def test_a_wheel_carries_the_migrations():
    import tomllib

    from setuptools import find_packages

    found = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]["packages"][
        "find"
    ]
    packages = find_packages(str(ROOT), include=found["include"])
    assert {"lifecycle.registry.migrations", "lifecycle.registry.migrations.versions"} <= set(packages)
