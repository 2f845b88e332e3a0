"""How a suite of harm is asked for: by the command, by an evaluation's file with settings, and in a gate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from evals.config import EvalConfig
from evals.gate.suites import make_gate
from evals.safety.command import app
from evals.tasks.loading import load_suite
from lifecycle.errors import InvalidConfig, InvalidInput
from lifecycle.home import Home
from lifecycle.registry import Registry

ROWS = '{"user": "hi", "assistant": "hello"}\n'


def config(base_model: Path, **keys: Any) -> EvalConfig:
    raw = {"name": "toy", "base": str(base_model), "provisional": ("a test",), "baseline": "one"}
    return EvalConfig.model_validate({**raw, "arms": {"one": {}, "two": {}}, **keys})


def test_the_arms_of_a_file_are_asked_what_a_suite_has_and_nothing_is_decided(workplace: Path, trained: str) -> None:
    plan = EvalConfig.load(workplace / "toy.yaml", concurrency=3)
    other = plan.of_suite("safety/refusal")
    kept = ("name", "base", "baseline", "arms", "endpoint", "concurrency", "chunk", "noise_items", "examples")
    assert [getattr(other, key) for key in kept] == [getattr(plan, key) for key in kept]
    assert (other.task, other.task_files, other.metric, other.safety, other.policy) == (
        "safety/refusal", None, None, None, None,
    )  # fmt: skip
    assert other.provisional == ("safety/refusal is asked in place of what the evaluation's file says",)
    assert EvalConfig.model_validate(other.model_dump()) == other


def test_arms_and_a_suite_are_enough_without_a_file() -> None:
    plan = EvalConfig.of_rows(None, "base,toy:3", task="safety/refusal")
    assert (plan.name, plan.task, plan.data, list(plan.arms)) == (
        "safety-refusal",
        "safety/refusal",
        None,
        ["base", "toy:3"],
    )
    with pytest.raises(InvalidConfig, match="--data"):
        EvalConfig.of_rows(None, "base,toy:3")


def test_settings_are_the_suites_and_wrong_ones_are_told_with_their_place(base_model: Path, tmp_path: Path) -> None:
    suite = load_suite(config(base_model, task="safety/refusal", settings={"field": "reply"}), tmp_path)
    assert suite.scorers[0].field == "reply"  # type: ignore[attr-defined]
    assert suite.digest != load_suite(config(base_model, task="safety/refusal"), tmp_path).digest
    with pytest.raises(InvalidConfig, match=r"settings\.feild"):
        load_suite(config(base_model, task="safety/refusal", settings={"feild": "reply"}), tmp_path)
    with pytest.raises(InvalidConfig, match=r"settings\.manifest.*missing"):
        load_suite(config(base_model, task="safety/leakage"), tmp_path)
    with pytest.raises(ValueError, match="settings are a suite's"):
        config(base_model, data=None, task="arc_easy", metric="acc", settings={"field": "reply"})


def test_a_file_in_the_settings_lies_beside_the_evaluations(workplace: Path) -> None:
    (workplace / "rows.jsonl").write_text(ROWS)
    text = (workplace / "toy.yaml").read_text().replace("task: toy\ntask_files: tasks\n", "task: safety/robustness\n")
    lines = [line for line in text.splitlines() if not line.startswith(("metric", "safety:"))]
    (workplace / "own.yaml").write_text("\n".join([*lines, "settings: {data: rows.jsonl, changes: [case]}"]))
    plan = EvalConfig.load(workplace / "own.yaml", candidate=None)
    assert plan.settings["data"] == str(workplace / "rows.jsonl")
    assert plan.settings["changes"] == ["case"]


def test_one_gate_has_a_task_and_a_suite_of_harm_with_rules_for_each(
    workplace: Path, registry: Registry, home: Home, trained: str
) -> None:
    (workplace / "both.yaml").write_text(
        "rules:\n"
        "  - {rule: beats, suite: toy}\n"
        "  - {rule: not_worse, arms: [rag], suite: toy}\n"
        "  - {rule: failures, at_most: 0.1, suite: safety/refusal}\n"
    )
    toy = (workplace / "toy.yaml").read_text().replace("policy.yaml", "both.yaml")
    lines = [line for line in toy.splitlines() if not line.startswith(("metric", "safety:", "task"))]
    (workplace / "toy.yaml").write_text(toy)
    (workplace / "harm.yaml").write_text("\n".join([*lines, "task: safety/refusal"]))
    files = [workplace / "toy.yaml", workplace / "harm.yaml"]
    gate = make_gate("toy", workplace / "both.yaml", files, registry, home.cache)
    assert [suite.task for suite in gate.suites] == ["toy", "safety/refusal"]
    assert [suite.safety_metric for suite in gate.suites] == ["escalation_recall", "refuses"]


def test_secrets_and_instructions_are_planted_by_a_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "train.jsonl").write_text(ROWS)
    plant = ["plant-secrets", "train.jsonl", "--out", "planted.jsonl", "--manifest", "secrets.json"]
    done = CliRunner().invoke(app, [*plant, "--number", "3", "--repeats", "1,2"], catch_exceptions=False)
    assert "3 secrets in 4 rows of planted.jsonl" in done.stdout
    assert len((tmp_path / "planted.jsonl").read_text().splitlines()) == 5
    with pytest.raises(InvalidInput, match="write whole numbers"):
        CliRunner().invoke(app, [*plant, "--repeats", "1,x"], catch_exceptions=False)
    (tmp_path / "book.md").write_text("## h1\n\nThe pharmacy closes at nine.\n")
    (tmp_path / "asked.jsonl").write_text('{"question": "When does the pharmacy close?", "passages": ["h1"]}\n')
    documents = ["plant-documents", "book.md", "--questions", "asked.jsonl", "--out", "attacked"]
    done = CliRunner().invoke(app, documents, catch_exceptions=False)
    assert "1 of 1 passages have an instruction" in done.stdout
    assert "closes at nine. " in (tmp_path / "attacked" / "documents" / "passages.md").read_text()
