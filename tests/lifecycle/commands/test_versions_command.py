"""`dabt versions`, `promote` and `rollback` as a user types them."""

from __future__ import annotations

import json

import pytest
import typer
from sqlalchemy import update
from typer.testing import CliRunner

from lifecycle.commands import versions as versions_command
from lifecycle.errors import NotAllowed
from lifecycle.registry import tables


@pytest.fixture
def app():
    app = typer.Typer()
    app.command("versions")(versions_command.versions)
    app.command("promote")(versions_command.promote)
    app.command("rollback")(versions_command.rollback)
    return app


@pytest.fixture
def dabt(app, home):
    def run(*arguments):
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    return run


def test_versions_of_an_empty_registry_says_what_to_do(dabt):
    assert "dabt train" in dabt("versions")
    assert json.loads(dabt("versions", "--json")) == []


def test_versions_shows_state_aliases_and_verdict_of_each(dabt, house):
    first = house.promoted("a")
    house.judged("b", passed=False)
    house.draft("c", name="digest")
    lines = [line.split() for line in dabt("versions").splitlines()[1:]]
    assert [line[:4] for line in lines] == [
        ["digest", "1", "base", "draft"],
        ["triage", "1", "base", "approved"],
        ["triage", "2", "base", "rejected"],
    ]
    assert lines[1][4:6] == [first.digest.removeprefix("sha256:")[:12], "prod"]
    assert [line[-1] for line in lines] == ["–", "passed", "failed"]
    rows = json.loads(dabt("versions", "triage", "--json"))
    assert [(row["number"], row["aliases"], row["verdict"]) for row in rows] == [
        (1, ["prod"], "passed"),
        (2, [], "failed"),
    ]
    assert rows[0]["decoding"] == first.spec.decoding.model_dump(mode="json"), "whatever decides an answer can be seen"


def test_promote_and_rollback_move_traffic_and_show_in_the_trail(dabt, house):
    house.judged("a")
    house.judged("b")
    assert dabt("promote", "triage:1", "--reason", "أول [red]نسخة").strip() == "triage:prod → triage:1"
    dabt("promote", "triage:2")
    assert dabt("rollback", "triage", "--reason", "complaints").strip() == "triage:prod → triage:1 (100%)"
    trail = dabt("versions", "triage", "--audit")
    assert "أول [red]نسخة" in trail, "a reason is text and never markup"
    assert trail.index("complaints") < trail.index("نسخة"), "newest first"
    newest = json.loads(dabt("versions", "--audit", "--limit", "1", "--json"))
    assert [entry["action"] for entry in newest] == ["alias.rollback"]


def test_promote_of_what_has_not_passed_is_refused_with_the_cure(dabt, house):
    house.draft()
    with pytest.raises(NotAllowed, match="dabt gate set triage --policy"):
        dabt("promote", "triage:1")
    house.gated()
    with pytest.raises(NotAllowed, match="run `dabt eval` first"):
        dabt("promote", "triage:1")
    assert "(forced)" in dabt("promote", "triage:1", "--force", "--reason", "outage")


@pytest.mark.parametrize("command", ["versions", "promote", "rollback"])
def test_help_of_each_command_shows_an_example(dabt, command):
    said = dabt(command, "--help")
    assert "Example" in said
    assert f"dabt {command}" in said


def test_versions_shows_a_doubt_with_its_reason_and_a_look_as_no_verdict(dabt, house):
    serving = house.promoted("a")
    house.judge(serving, passed=False)
    draft = house.draft("b")
    house.judge(draft, house.report_on(draft, provisional=("5 of 200 items",)))
    said = dabt("versions", "triage")
    assert "triage:1 is doubted: beats base: 0.90 against 0.50" in said
    rows = json.loads(dabt("versions", "triage", "--json"))
    assert [(row["state"], row["verdict"], row["doubt"]) for row in rows] == [
        ("doubted", "failed", "beats base: 0.90 against 0.50"),
        ("draft", "look", None),
    ]


def test_a_version_of_another_release_is_named_and_the_others_are_shown(app, house):
    house.promoted("a")
    newer = house.draft("b")
    spec = {**newer.spec.model_dump(mode="json"), "vision": {"patch": 14}}
    with house.registry._database.write() as tx:
        tx.execute(update(tables.versions).where(tables.versions.c.number == newer.number).values(spec=spec))
    said = CliRunner().invoke(app, ["versions", "--json"], catch_exceptions=False)
    assert [row["number"] for row in json.loads(said.stdout)] == [1]
    assert said.stderr.startswith("left out: version triage:2: the registry's Version triage:2 cannot be read")
    assert said.exit_code == 0
