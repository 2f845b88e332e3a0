"""`dabt gate show` as a user types it; `dabt gate set` is in tests/evals, since it reads an evaluation."""

from __future__ import annotations

import json

import typer
from sqlalchemy import update
from typer.testing import CliRunner

from lifecycle.commands import gates
from lifecycle.registry import tables


def shown(*arguments):
    app = typer.Typer()
    app.command("show")(gates.show)
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_a_registry_without_gates_says_that_prod_takes_nothing(house):
    assert "no name has a gate yet, so prod takes nothing" in shown()
    assert "triage has no gate yet" in shown("triage")
    assert json.loads(shown("--json")) == []


def test_each_name_is_shown_with_its_newest_gates_policy_and_suites(house):
    house.gated("triage", policy="older")
    other = house.suite.model_copy(update={"task": "safety", "rivals": {"few-shot": house.suite.task_digest}})
    gate = house.gated("triage", house.suite, other)
    house.gated("digest")
    lines = [line.split() for line in shown().splitlines()[1:]]
    assert [(line[0], line[1], line[3], line[4]) for line in lines] == [
        ("digest", "policy", "triage", "accuracy"),
        ("triage", "policy", "triage", "accuracy"),
        ("triage", "policy", "safety", "accuracy"),
    ]
    assert "few-shot" in lines[2]
    assert json.loads(shown("triage", "--json")) == [gate.model_dump(mode="json")]
    assert len(shown("digest").splitlines()) == 2


def test_a_gate_of_another_release_is_named_and_the_others_are_shown(house):
    newer = house.gated("triage")
    kept = house.gated("digest")
    with house.registry._database.write() as tx:
        body = {**newer.model_dump(mode="json"), "jury": 3}
        tx.execute(update(tables.gates).where(tables.gates.c.name == "triage").values(body=body))
    app = typer.Typer()
    app.command("show")(gates.show)
    said = CliRunner().invoke(app, ["--json"], catch_exceptions=False)
    assert json.loads(said.stdout) == [kept.model_dump(mode="json")]
    assert said.stderr.startswith("left out: gate triage: the registry's Gate of triage cannot be read by this release")
    assert "yet" not in CliRunner().invoke(app, ["triage"], catch_exceptions=False).stdout
