"""`dabt promote --share`, `dabt traffic` and `dabt shadow start | stop` as a user types them."""

from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.commands import traffic as traffic_command
from lifecycle.commands import versions as versions_command
from lifecycle.errors import InvalidConfig, InvalidInput, NotAllowed


@pytest.fixture
def dabt(home):
    app = typer.Typer()
    commands = {
        "promote": versions_command.promote,
        "rollback": versions_command.rollback,
        "versions": versions_command.versions,
        "show": traffic_command.show,
        "split": traffic_command.split,
        "policy": traffic_command.policy,
        "start": traffic_command.shadow_start,
        "stop": traffic_command.shadow_stop,
    }
    for name, command in commands.items():
        app.command(name)(command)

    def run(*arguments):
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    return run


def test_a_canary_that_cannot_be_rolled_back_is_shown_with_the_reason_until_the_alias_is_changed(dabt, two):
    registry = two.registry
    registry.promote("triage:2", actor="amal", reason="x", share=0.1)
    judged = registry.alias("triage", "prod")
    assert json.loads(dabt("show", "--json"))[0]["stuck"] is None
    for problem in ("triage:1 is retired", "triage:1 is retired", "triage:1 is gone"):
        registry.note_stuck(judged, actor="canary-guard", problem=problem, reason="triage:2: 9 of 9 failed")
    noted = [entry for entry in registry.audit("triage") if entry.action == "alias.stuck"]
    assert [entry.detail["problem"] for entry in noted] == ["triage:1 is gone", "triage:1 is retired"]
    assert {(entry.actor, entry.reason) for entry in noted} == {("canary-guard", "triage:2: 9 of 9 failed")}
    assert "the canary of triage:prod broke a bound and is not rolled back: triage:1 is gone" in dabt("show")
    assert json.loads(dabt("show", "--json"))[0]["stuck"] == "triage:1 is gone"
    registry.rollback("triage", actor="amal", reason="by hand")
    assert "not rolled back" not in dabt("show")
    registry.note_stuck(judged, actor="canary-guard", problem="late", reason="r")
    assert "late" not in dabt("show"), "what was judged is behind the alias no more"


@pytest.fixture
def two(house):
    house.promoted("a")
    house.judged("b")
    return house


def test_a_canary_is_one_option_of_promote_and_shows_its_share(dabt, two):
    assert dabt("promote", "triage:2", "--share", "10%").strip() == "triage:prod → triage:1 (90%), triage:2 (10%)"
    rows = json.loads(dabt("versions", "--json"))
    assert [row["aliases"] for row in rows] == [["prod 90%"], ["prod 10%"]]
    assert dabt("rollback", "triage").strip() == "triage:prod → triage:1 (100%)"


def test_an_alias_is_split_by_percentages_or_by_weights(dabt, two):
    assert dabt("split", "triage", "1=50%", "2=50%").strip() == "triage:prod → triage:1 (50%), triage:2 (50%)"
    assert "triage:ab → triage:1 (75%)" in dabt("split", "triage:ab", "triage:1=3", "triage:2=1")


def test_all_faults_of_a_split_are_told_together_and_nothing_moves(dabt, two):
    with pytest.raises(InvalidInput) as caught:
        dabt("split", "triage", "1=50%", "two=10%", "2", "digest:2=1", "2=-1%")
    assert [problem.place for problem in caught.value.problems][:4] == ["two=10%", "2", "digest:2=1", "2=-1%"]
    with pytest.raises(InvalidInput, match="write all alike"):
        dabt("split", "triage", "1=50%", "2=0.5")
    assert two.prod() == {1: 1.0}


@pytest.mark.parametrize(
    ("written", "total"),
    [
        (("1=50%", "2=40%"), "90%"),
        (("1=50%", "2=60%"), "110%"),
        (("1=0.5", "2=0.4"), "90%"),
        (("1=33%", "2=66%"), "99%"),
    ],
)
def test_shares_that_do_not_come_to_all_requests_are_refused_and_not_scaled_in_silence(dabt, two, written, total):
    with pytest.raises(
        InvalidInput, match=f"the shares come to {total}, and not to 100%; write shares that come to 100%"
    ):
        dabt("split", "triage", *written)
    assert two.prod() == {1: 1.0}


def test_shares_that_were_rounded_as_they_were_written_are_all_requests(dabt, two):
    assert "triage:1 (33.33%), triage:2 (66.67%)" in dabt("split", "triage", "1=33.3%", "2=66.6%")
    assert "triage:ab → triage:1 (33.33%)" in dabt("split", "triage:ab", "1=0.5", "2=1")


def test_a_split_goes_through_the_gate(dabt, two):
    two.draft("c")
    with pytest.raises(NotAllowed, match="triage:3 has no verdict"):
        dabt("split", "triage", "1=50%", "3=50%")


def test_a_policy_is_a_file_that_can_be_read_back(dabt, two, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("canary:\n  max_error_rate: 0.02\n  max_ttft_ratio: 1.5\n  guards: {not_json: 0.05}\n")
    said = dabt("policy", "triage", str(file), "--reason", "before the first canary")
    assert said.startswith("# triage:prod\n")
    assert dabt("policy", "triage") == said, "what is shown is what stands"
    file.write_text(said)
    revision = two.registry.revision()
    dabt("policy", "triage", str(file))
    assert two.registry.revision() == revision, "what is shown can be given back"
    dabt("promote", "triage:2", "--share", "5%")
    shown = dabt("show", "triage")
    assert "error_rate, ttft, not_json" in shown
    assert "triage:1 (95%), triage:2 (5%)" in shown
    assert "canary" not in dabt("policy", "triage", "--clear")


def test_every_fault_of_a_policy_is_told_with_its_key(dabt, two, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("canary:\n  max_error_rate: 2\n  guards: {rude: 0.1}\nshadows: {}\n")
    with pytest.raises(InvalidConfig) as caught:
        dabt("policy", "triage", str(file))
    places = " ".join(problem.place for problem in caught.value.problems)
    assert all(key in places for key in ("canary.max_error_rate", "canary.guards.rude", "shadows"))
    file.write_text("canary: [")
    with pytest.raises(InvalidConfig, match="no YAML"):
        dabt("policy", "triage", str(file))
    with pytest.raises(InvalidConfig, match="cannot be read"):
        dabt("policy", "triage", str(tmp_path / "gone.yaml"))


def test_a_policy_belongs_to_an_alias_and_not_to_a_version(dabt, two):
    with pytest.raises(InvalidInput, match="name an alias"):
        dabt("policy", "triage:2")


def test_a_shadow_starts_and_stops_and_leaves_the_bounds_alone(dabt, two, tmp_path):
    file = tmp_path / "policy.yaml"
    file.write_text("canary: {max_error_rate: 0.02}\n")
    dabt("policy", "triage", str(file))
    assert dabt("start", "triage:2", "--share", "20%").strip() == (
        "20% of the requests to triage:prod are copied to triage:2"
    )
    policy = two.registry.alias("triage", "prod").policy
    assert (policy.shadow.version, policy.shadow.share, policy.shadow.record_bodies) == (2, 0.2, False)
    assert "triage:2 (20%)" in dabt("show")
    dabt("stop", "triage", "--reason", "enough seen")
    policy = two.registry.alias("triage", "prod").policy
    assert policy.shadow is None
    assert policy.canary.max_error_rate == 0.02
    assert two.registry.audit("triage", limit=1)[0].reason == "enough seen"


def test_a_name_without_aliases_says_what_to_do(dabt, registry):
    assert "dabt promote" in dabt("show")
    assert json.loads(dabt("show", "--json")) == []
