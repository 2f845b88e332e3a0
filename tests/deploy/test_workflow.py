"""The workflow file that users copy: YAML that GitHub takes, over commands and folders that are there."""

from __future__ import annotations

import re
from pathlib import Path

import typer
import yaml

import dabt
from evals.ci.files import JUNIT, SUMMARY
from evals.ci.outcome import Outcome
from evals.cli import eval_
from lifecycle.home import Home

TEXT = (Path(__file__).parents[2] / "deploy" / "ci" / "github-actions.yaml").read_text(encoding="utf-8")
STEPS = yaml.safe_load(TEXT)["jobs"]["evaluate"]["steps"]


def test_the_step_calls_the_command_with_options_that_it_has() -> None:
    (line,) = [step["run"] for step in STEPS if "dabt eval" in step.get("run", "")]
    command = typer.main.get_command(dabt.app).commands["eval"]
    known = {option for parameter in command.params for option in parameter.opts}
    options = set(re.findall(r"--[a-z-]+", line))
    assert "--ci" in options
    assert options <= known


def test_what_it_keeps_is_where_the_command_writes(monkeypatch, tmp_path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("DABT_HOME", raising=False)
    kept = {line.rstrip("/") for step in STEPS for line in str(step.get("with", {}).get("path", "")).splitlines()}
    home = Home.at()
    assert str(eval_.__defaults__[-2]) in kept
    assert {str(path.relative_to(tmp_path)) for path in (home.evaluations, home.cache)} <= kept
    assert (SUMMARY, JUNIT) == ("summary.md", "junit.xml")


def test_it_says_the_exit_codes_and_hands_no_text_of_a_caller_to_the_shell() -> None:
    told = re.search(r"# (0 passed.*?)\.", TEXT)
    assert told is not None
    assert told[1] == ", ".join(f"{int(outcome)} {outcome.name.lower()}" for outcome in Outcome)
    assert not [step["run"] for step in STEPS if "${{" in step.get("run", "")]
