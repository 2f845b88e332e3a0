"""The whole loop through the command line, small: data → adapter → index → service → evaluation → gate → promotion."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from openai import NotFoundError, OpenAI, PermissionDeniedError

from examples.service_process import ServiceProcess
from tests.e2e.command import BASE, CLINIC, Command

pytestmark = [pytest.mark.e2e, pytest.mark.engine]

ITEMS = 12


@pytest.fixture(scope="module")
def trained(dabt: Command, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A draft of `triage`, trained for a moment on some of the clinic's rows: enough to change answers, not to pass."""
    folder = tmp_path_factory.mktemp("training")
    rows = (CLINIC / "data/triage/train.jsonl").read_text("utf-8").splitlines()[:96]
    (folder / "train.jsonl").write_text("\n".join(rows) + "\n", "utf-8")
    shutil.copy(CLINIC / "data/triage/validation.jsonl", folder)
    config: dict[str, Any] = yaml.safe_load((CLINIC / "training/triage.yaml").read_text("utf-8"))
    config["base"] = str(BASE)
    config["data"] = {"train": "train.jsonl", "validation": "validation.jsonl"}
    config["prompt"] = {"system": str(CLINIC / "prompts/triage.txt")}
    config["optimisation"] |= {"epochs": 1}
    (folder / "triage.yaml").write_text(yaml.safe_dump(config), "utf-8")
    said = dabt.ok("train", str(folder / "triage.yaml"))
    assert "triage:1 is a draft" in said
    return "triage:1"


@pytest.fixture(scope="module")
def evaluated(dabt: Command, service: ServiceProcess, trained: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The clinic's own evaluation of triage, on a few items; returns its report's folder."""
    dabt.ok("index", str(CLINIC / "handbook"), "--name", "handbook")
    said = dabt.ok(
        *("eval", str(CLINIC / "evals/triage.yaml"), "--endpoint", f"{service.url}/v1"),
        *("--base", str(BASE), "--limit", str(ITEMS)),
    )
    for arm in ("base", "few-shot", "rag", "adapter", "hybrid"):
        assert arm in said
    (report,) = dabt.home.glob("evaluations/*/report.html")
    return report.parent


def client(service: ServiceProcess, **headers: str) -> OpenAI:
    return OpenAI(base_url=f"{service.url}/v1", api_key="none", max_retries=0, default_headers=headers)


def ask(client: OpenAI, model: str, text: str = "My tooth hurts since Monday.") -> Any:
    messages: Any = [{"role": "user", "content": text}]
    return client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=48)


def test_data_check_reads_the_clinic_rows_and_finds_no_leak(dabt: Command) -> None:
    data = CLINIC / "data/triage"
    found = json.loads(
        dabt.ok("data", "check", str(data / "train.jsonl"), "--against", str(data / "test.jsonl"), "--json")
    )
    assert not [one for one in found["findings"] if one["level"] == "error"]


def test_a_draft_answers_an_evaluation_and_nobody_else(trained: str, service: ServiceProcess) -> None:
    with pytest.raises(PermissionDeniedError, match="x-dabt-purpose"):
        ask(client(service), trained)
    answer = ask(client(service, **{"x-dabt-purpose": "evaluation"}), trained)
    assert answer.model_extra["dabt"]["version"] == trained


def test_five_arms_are_compared_and_the_report_is_written(evaluated: Path) -> None:
    report = json.loads((evaluated / "report.json").read_text("utf-8"))
    text = json.dumps(report)
    assert all(arm in text for arm in ("base", "few-shot", "rag", "adapter", "hybrid"))
    assert (evaluated / "report.md").stat().st_size > 0
    assert 'dir="auto"' in (evaluated / "report.html").read_text("utf-8")


def test_a_second_evaluation_asks_nothing_again(dabt: Command, evaluated: Path, service: ServiceProcess) -> None:
    answers = {path: path.stat().st_size for path in dabt.home.rglob("cache/answers/*.jsonl")}
    assert answers
    dabt.ok(
        *("eval", str(CLINIC / "evals/triage.yaml"), "--endpoint", f"{service.url}/v1"),
        *("--base", str(BASE), "--limit", str(ITEMS)),
    )
    assert {path: path.stat().st_size for path in dabt.home.rglob("cache/answers/*.jsonl")} == answers


def test_what_failed_the_gate_is_promoted_only_with_a_written_reason(
    dabt: Command, evaluated: Path, trained: str, service: ServiceProcess
) -> None:
    refused = dabt.run("promote", trained, "--reason", "looks fine")
    assert refused.returncode == 1
    assert "Traceback" not in refused.stderr
    with pytest.raises(NotFoundError):
        ask(client(service), "triage")
    assert dabt.run("promote", trained, "--force").returncode != 0
    dabt.ok("promote", trained, "--force", "--reason", "a test of the emergency exit")
    assert "emergency exit" in dabt.ok("versions", "--audit", "--json")


def test_a_promotion_made_elsewhere_is_served_and_a_rollback_brings_back_the_answers(
    dabt: Command, evaluated: Path, service: ServiceProcess
) -> None:
    """Each alias move is by another process; the service must follow without a restart."""
    numbers = [one["number"] for one in dabt.versions("triage")]
    first, second = f"triage:{numbers[0]}", f"triage:{numbers[1]}"
    dabt.ok("promote", first, "--force", "--reason", "first")
    before = wait_for(service, first)
    dabt.ok("promote", second, "--force", "--reason", "second")
    wait_for(service, second)
    dabt.ok("rollback", "triage", "--reason", "back")
    assert wait_for(service, first) == before


def wait_for(service: ServiceProcess, version: str) -> str:
    """The answer of `triage` once it is given by `version`: bounded by a number of questions, not by a clock."""
    for _ in range(2_000):
        try:
            answer = ask(client(service), "triage")
        except NotFoundError:
            continue
        if answer.model_extra["dabt"]["version"] == version:
            return str(answer.choices[0].message.content)
    raise AssertionError(f"triage is not answered by {version} after 2,000 questions")


def test_errors_on_the_command_line_are_one_message_without_a_traceback(dabt: Command, tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    bad.write_text("name: x\nlora: {r: 7, dropout: 2}\nsurprise: 1\n", "utf-8")
    done = dabt.run("train", str(bad))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "surprise" in done.stderr
    assert dabt.run("promote", "nothing:1", "--reason", "x").returncode == 1
