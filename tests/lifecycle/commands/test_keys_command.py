"""`dabt keys …` as a user types it."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest
import typer
from sqlalchemy import update
from typer.testing import CliRunner

from lifecycle.access.keys import SECRET, digest_of_secret
from lifecycle.access.usage import Usage
from lifecycle.commands import keys as keys_command
from lifecycle.errors import InvalidInput, NotFound
from lifecycle.registry import tables


@pytest.fixture
def dabt(registry):
    app = typer.Typer()
    app.command("create")(keys_command.create)
    app.command("list")(keys_command.list_)
    app.command("revoke")(keys_command.revoke)
    app.command("usage")(keys_command.usage)
    return lambda *arguments: CliRunner().invoke(app, arguments, catch_exceptions=False)


def test_create_prints_the_secret_alone_so_that_a_shell_can_take_it(dabt, registry):
    limits = ["--requests-per-minute", "60", "--tokens-per-minute", "900", "--tokens-per-day", "5000"]
    limits += ["--requests-at-once", "7", "--choices-per-request", "3", "--prompts-per-request", "9"]
    limits += ["--training-jobs", "2", "--storage-mib", "100"]
    said = dabt("create", "app", "--model", "triage", "--model", "digest:prod", *limits, "--days", "3")
    assert SECRET.fullmatch(said.stdout.strip())
    (key,) = registry.keys.all()
    assert key.digest == digest_of_secret(said.stdout.strip())
    assert (key.name, key.role, key.models) == ("app", "caller", ("triage", "digest:prod"))
    assert [*key.limits.model_dump().values()] == [60, 900, 5000, 7, 3, 9, 2, 100]
    assert key.expires_at is not None
    assert timedelta(days=2) < key.expires_at - datetime.now(UTC) <= timedelta(days=3)
    assert all(word in said.stderr for word in (key.id, "triage, digest:prod", "60 requests/min", "not shown again"))


def test_every_fault_of_a_key_is_told_at_once(dabt, registry):
    with pytest.raises(InvalidInput) as caught:
        dabt("create", "A Key", "--role", "king", "--model", "")
    assert [problem.place for problem in caught.value.problems] == ["name", "role", "models"]
    assert registry.keys.all() == []


def test_list_shows_what_can_be_used_and_never_a_secret(dabt, registry):
    secrets = [dabt("create", name).stdout.strip() for name in ("old", "new")]
    dabt("revoke", "old", "--reason", "leaked")
    assert [row["name"] for row in json.loads(dabt("list", "--json").stdout)] == ["new"]
    table = dabt("list", "--all").stdout
    old, new = table.splitlines()[1:]
    assert "was revoked" in old
    assert f"…{secrets[1][-4:]}" in new
    assert not any(secret in table for secret in secrets)
    assert registry.audit()[0].reason == "leaked"


def test_revoke_names_a_key_that_is_not_there(dabt):
    with pytest.raises(NotFound, match="nobody"):
        dabt("revoke", "nobody")


def test_usage_is_told_as_a_table_as_csv_and_as_json(dabt, registry):
    key = json.loads(dabt("create", "app", "--json").stdout)
    day = datetime(2026, 11, 23, tzinfo=UTC).date()
    spent = Usage(day=day, key=key["id"], version="triage:1", requests=2, prompt_tokens=1234, completion_tokens=5)
    registry.usage.add([spent], day)
    assert dabt("usage").stdout.splitlines()[1].split() == ["2026-11-23", "app", "triage:1", "2", "1,234", "5"]
    assert dabt("usage", "--csv", "--key", "app").stdout.splitlines()[1].endswith(",app,triage:1,2,1234,5")
    assert json.loads(dabt("usage", "--json", "--since", "2026-11-23").stdout) == [spent.model_dump(mode="json")]
    assert "no usage" in dabt("usage", "--until", "2026-11-22").stdout
    with pytest.raises(InvalidInput, match="YYYY-MM-DD"):
        dabt("usage", "--since", "yesterday")


@pytest.mark.parametrize("command", ["create", "list", "revoke", "usage"])
def test_help_of_each_command_shows_an_example(dabt, command):
    said = dabt(command, "--help").output
    assert "Example" in said
    assert f"dabt keys {command}" in said


def test_a_key_that_cannot_be_read_is_named_and_the_others_are_listed(dabt, registry):
    for name in ("app", "newer"):
        dabt("create", name)
    with registry._database.write() as tx:
        tx.execute(update(tables.api_keys).where(tables.api_keys.c.name == "newer").values(role="auditor"))
    said = dabt("list", "--json")
    assert [row["name"] for row in json.loads(said.stdout)] == ["app"]
    (left_out,) = registry.keys.left_out()
    assert said.stderr.startswith(f"left out: key {left_out.ref}: ")
    dabt("revoke", "app", "--reason", "x")
    assert "no keys" not in dabt("list").stdout, "there is one, which cannot be read"
