"""API keys: the secret is shown once and not kept, a key's end is final, and every change is in the trail."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from pydantic import ValidationError
from sqlalchemy import inspect, select, update

from lifecycle.access.keys import SECRET, KeyGrant, KeyLimits, Role, allows, digest_of_secret
from lifecycle.errors import InvalidConfig, InvalidInput, NotFound
from lifecycle.registry import Registry, tables

NOW = datetime.now(UTC)


def test_a_key_is_found_again_as_it_was_made(registry, registry_url):
    grant = KeyGrant(
        name="clinic-app",
        role=Role.EVALUATOR,
        models=("triage", "digest:prod"),
        limits=KeyLimits(requests_per_minute=60, tokens_per_day=1000),
        expires_at=NOW + timedelta(days=90),
    )
    key, secret = registry.keys.create(grant, actor="amal")
    assert SECRET.fullmatch(secret)
    assert (key.hint, key.digest, key.created_by) == (secret[-4:], digest_of_secret(secret), "amal")
    with Registry.open(registry_url) as other:
        assert other.keys.all() == [key]
        assert other.keys.find("clinic-app") == other.keys.find(key.id) == key


def test_the_secret_is_nowhere_in_the_registry_and_its_digest_in_nothing_that_is_shown(registry):
    key, secret = registry.keys.create(KeyGrant(name="ci"), actor="amal")
    with registry._database.read() as tx:
        everything = [str(row) for table in tables.metadata.sorted_tables for row in tx.execute(select(table))]
    assert any(key.digest in row for row in everything)
    assert not any(secret in row for row in everything)
    for shown in (repr(key), str(key), key.model_dump_json(), str(registry.audit())):
        assert key.digest not in shown
        assert secret not in shown


def test_secrets_are_never_the_same(registry):
    secrets = {registry.keys.create(KeyGrant(name=f"k{n}"), actor="amal")[1] for n in range(20)}
    assert len(secrets) == 20


def test_making_and_revoking_are_in_the_trail_and_move_the_revision(registry):
    before = registry.revision()
    key, _ = registry.keys.create(KeyGrant(name="ci", models=("triage",)), actor="amal")
    made = registry.revision()
    registry.keys.revoke("ci", actor="badr", reason="leaked")
    assert before < made < registry.revision()
    ended, begun = registry.audit(key.id)
    assert (begun.action, begun.actor, begun.detail["models"]) == ("key.create", "amal", ["triage"])
    assert (ended.action, ended.actor, ended.reason) == ("key.revoke", "badr", "leaked")


def test_revoking_is_final_and_may_be_done_twice(registry):
    key, _ = registry.keys.create(KeyGrant(name="ci"), actor="amal")
    assert key.problem(NOW) is None
    ended = registry.keys.revoke(key.id, actor="amal")
    assert "revoked" in str(ended.problem(NOW))
    assert registry.keys.revoke(key.id, actor="badr") == registry.keys.find("ci") == ended
    assert len(registry.audit(key.id)) == 2
    with pytest.raises(NotFound, match="keys list"):
        registry.keys.revoke("nobody", actor="amal")


def test_one_usable_key_a_name_so_that_a_name_says_which(registry):
    first, _ = registry.keys.create(KeyGrant(name="ci"), actor="amal")
    with pytest.raises(InvalidInput, match="keys revoke ci"):
        registry.keys.create(KeyGrant(name="ci"), actor="amal")
    registry.keys.revoke("ci", actor="amal")
    second, _ = registry.keys.create(KeyGrant(name="ci"), actor="amal")
    assert registry.keys.find("ci") == second
    assert [key.id for key in registry.keys.all()] == [first.id, second.id]


def test_an_expired_key_cannot_be_used_and_frees_its_name(registry):
    with pytest.raises(InvalidInput, match="in the past"):
        registry.keys.create(KeyGrant(name="ci", expires_at=NOW - timedelta(days=1)), actor="amal")
    moment = NOW + timedelta(days=1)
    key, _ = registry.keys.create(KeyGrant(name="ci", expires_at=moment), actor="amal")
    assert key.problem(moment - timedelta(seconds=1)) is None
    assert "expired" in str(key.problem(moment))
    with registry._database.write() as tx:
        tx.execute(update(tables.api_keys).values(expires_at=NOW - timedelta(days=1)))
    assert registry.keys.create(KeyGrant(name="ci"), actor="amal")[0].id != key.id


def test_a_moment_without_a_zone_is_taken_as_utc():
    assert KeyGrant(name="ci", expires_at=datetime(2100, 1, 1)).expires_at == datetime(2100, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "A key"},
        {"role": "king"},
        {"models": ()},
        {"models": ("",)},
        {"limits": {"tokens_per_day": 0}},
        {"x": 1},
    ],
)
def test_a_grant_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ValidationError):
        KeyGrant.model_validate({"name": "ci", **wrong})


def test_each_role_may_do_what_the_ones_before_it_may():
    roles = [Role.CALLER, Role.EVALUATOR, Role.TRAINER, Role.PUBLISHER, Role.ADMIN]
    assert [[role.includes(other) for other in roles] for role in roles] == [
        [True, False, False, False, False],
        [True, True, False, False, False],
        [True, True, True, False, False],
        [True, True, True, True, False],
        [True, True, True, True, True],
    ]


@pytest.mark.parametrize(
    ("patterns", "covered", "not_covered"),
    [
        (("*",), ["triage:prod", "triage:3", "tiny"], []),
        (("triage",), ["triage:prod", "triage:3", "triage:canary"], ["triage-2:prod", "tiny"]),
        (("triage:prod",), ["triage:prod"], ["triage:3", "triage:canary", "tiny"]),
        (("triage:*",), ["triage:prod", "triage:3"], ["triage2:prod"]),
        (("*:prod",), ["triage:prod", "digest:prod"], ["triage:3", "tiny"]),
        (("tr*", "tiny"), ["triage:prod", "triage:3", "tiny"], ["digest:prod"]),
        (("Org/Base",), ["Org/Base"], ["org/base"]),
    ],
)
def test_patterns_cover_what_they_say_and_no_more(patterns, covered, not_covered):
    assert [ref for ref in covered + not_covered if allows(patterns, ref)] == covered


def test_a_registry_from_before_there_were_keys_gets_their_tables_and_keeps_what_it_has(registry, registry_url, house):
    version = house.draft()
    with registry._database.write() as tx:
        of_tuning = (tables.files, tables.jobs, tables.job_events, tables.job_checkpoints, tables.tuned_models)
        of_tuning += (tables.uploads, tables.upload_parts)
        since = (tables.key_usage, tables.api_keys, tables.gates, tables.tries, tables.alembic_version, *of_tuning)
        for table in since:
            table.drop(tx)
        tx.execute(update(tables.meta).values(value="1"))
    with Registry.open(registry_url) as opened:
        assert opened.keys.all() == []
        assert opened.version(version.ref) == version
        opened.keys.create(KeyGrant(name="ci"), actor="amal")
        with opened._database.read() as tx:
            assert tx.execute(select(tables.meta.c.value)).scalar_one() == str(tables.SCHEMA_VERSION)
            assert inspect(tx).has_table("key_usage")


def test_a_registry_that_a_newer_release_wrote_is_left_alone(registry, registry_url):
    with registry._database.write() as tx:
        tx.execute(update(tables.meta).values(value=str(tables.SCHEMA_VERSION + 1)))
    with pytest.raises(InvalidConfig, match="use the release that wrote it"):
        Registry.open(registry_url)


def test_a_limit_that_is_not_set_is_not_written_so_that_an_earlier_release_reads_the_key(registry):
    limits = KeyLimits(tokens_per_day=5, requests_at_once=2)
    registry.keys.create(KeyGrant(name="app", limits=limits), actor="test")
    registry.keys.create(KeyGrant(name="plain"), actor="test")
    with registry._database.read() as tx:
        written = [row.limits for row in tx.execute(select(tables.api_keys.c.limits))]
    assert written == [{"tokens_per_day": 5, "requests_at_once": 2}, {}]
    assert [key.limits for key in registry.keys.all()] == [limits, KeyLimits()]


def test_no_key_may_have_more_choices_than_a_request_has():
    assert KeyLimits(choices_per_request=128).choices_per_request == 128
    with pytest.raises(ValidationError):
        KeyLimits(choices_per_request=129)
