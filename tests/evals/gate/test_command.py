"""`dabt gate set` as a user types it: what it computes is what a run of the evaluation is held to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from evals.gate.command import set_
from lifecycle.errors import InvalidConfig
from lifecycle.gates import Gate
from lifecycle.home import Home
from lifecycle.registry import Registry


@pytest.fixture
def gate_set(workplace: Path, trained: str, home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DABT_REGISTRY_URL", home.registry_url)
    app = typer.Typer()
    app.command("set")(set_)

    def run(*more: str) -> str:
        files = ["--policy", str(workplace / "policy.yaml"), "--eval", str(workplace / "toy.yaml")]
        arguments = ["toy", *files, "--home", str(home.root), *more]
        return CliRunner().invoke(app, arguments, catch_exceptions=False).output

    return run


def test_the_command_sets_the_gate_with_its_reason_in_the_trail(gate_set, gated, registry: Registry) -> None:
    before = registry.revision()
    assert gate_set().strip() == "toy:prod now asks for policy toy policy in toy (by fields)"
    assert registry.revision() == before, "the very gate that the function makes was there already"


def test_its_reason_and_who_set_it_are_in_the_trail(gate_set, registry: Registry) -> None:
    gate_set("--reason", "اتفقنا")
    entry = registry.audit("toy")[0]
    assert (entry.action, entry.subject, entry.reason) == ("gate.set", "toy", "اتفقنا")
    assert entry.detail["to"] == registry.gate("toy").digest


def test_a_dry_run_prints_what_the_api_takes_and_sets_nothing(gate_set, registry: Registry) -> None:
    said = gate_set("--dry-run")
    assert registry.gate("toy") is None
    gate = Gate.model_validate(json.loads(said))
    gate_set()
    assert registry.gate("toy") == gate


def test_a_policy_that_is_none_sets_nothing(gate_set, workplace: Path, registry: Registry) -> None:
    (workplace / "policy.yaml").write_text("name: x\nrules: []\n")
    with pytest.raises(InvalidConfig):
        gate_set()
    assert registry.gate("toy") is None
