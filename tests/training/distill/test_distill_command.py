"""`dabt data distill` as a user types it, killed at any moment, and begun again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from lifecycle.errors import DabtError, InvalidConfig
from lifecycle.rows.files import read_rows
from tests.training.distill.conftest import KEY, SCHEMA
from tests.training.distill.fake_teacher import FakeTeacher, Reply, question_of
from training.data.commands.distill import distill

ROOT = Path(__file__).parents[3]
GOOD = json.dumps({"intent": "billing", "note": "ok"})


@pytest.fixture
def files(tmp_path: Path) -> list[str]:
    """Inputs, output and schema as the command takes them."""
    (tmp_path / "inputs.jsonl").write_text("".join(f'{{"text": "q{number}"}}\n' for number in range(12)))
    (tmp_path / "answer.schema.json").write_text(json.dumps(SCHEMA))
    (tmp_path / "task.txt").write_text("Sort the message.")
    given = ["--schema", str(tmp_path / "answer.schema.json"), "--instructions", str(tmp_path / "task.txt")]
    return [str(tmp_path / "inputs.jsonl"), str(tmp_path / "train.jsonl"), *given, "--model", "wise"]


def dabt(*arguments: str) -> str:
    app = typer.Typer()
    app.command()(distill)
    return CliRunner().invoke(app, arguments, catch_exceptions=False).output


def test_it_tells_what_it_wrote_and_what_that_took(files: list[str], teacher: FakeTeacher) -> None:
    teacher.script["q3"].extend([Reply("{"), Reply("{")])
    given = ["--endpoint", teacher.url, "--key-env", "TEACHERS_KEY"]
    prices = ["--price-input", "10", "--price-output", "100", "--max-cost", "9"]
    said = dabt(*files, *given, *prices)
    assert "read: text (text): 12 rows" in said
    assert f"11 of 12 inputs labelled → {files[1]}" in said
    assert "1 set aside (off_schema 1)" in said
    assert "in all 13 requests, 520 tokens sent, 130 answered, cost 0.0182" in said
    assert teacher.bodies[0]["messages"][0] == {"role": "system", "content": "Sort the message."}


def test_a_dry_run_tells_the_most_that_it_could_take_and_asks_nothing(
    files: list[str], teacher: FakeTeacher, tmp_path: Path
) -> None:
    said = dabt(*files, "--endpoint", teacher.url, "--dry-run", "--max-tokens", "100", "--price-output", "1000000")
    assert "12 inputs, of which 12 differ; nothing was asked" in said
    assert "1,200 answered, cost 1,200.0000" in said
    assert (teacher.bodies, (tmp_path / "train.journal.jsonl").exists()) == ([], False)


def test_a_run_that_stopped_ends_in_an_error_behind_what_it_wrote(files: list[str], teacher: FakeTeacher) -> None:
    with pytest.raises(DabtError, match="the cap of 5 requests"):
        dabt(*files, "--endpoint", teacher.url, "--max-requests", "5")
    (rows,) = read_rows(Path(files[1]))
    assert len(rows) == 5


@pytest.mark.parametrize("endpoint", ["localhost:8000/v1", "ftp://x/v1"])
def test_an_endpoint_that_is_none_is_refused(files: list[str], endpoint: str) -> None:
    with pytest.raises(InvalidConfig, match="nothing was asked"):
        dabt(*files, "--endpoint", endpoint)


def test_killed_at_any_moment_it_goes_on_and_pays_for_no_answer_twice(
    files: list[str], teacher: FakeTeacher, tmp_path: Path
) -> None:
    """Three kills: each when some answers are there and others under way, which hang until the process is gone."""
    gone = threading.Event()
    reached = threading.Event()
    lives = 0

    def says(question: str) -> Reply:
        if lives < 3 and int(question[1:]) % 12 >= 3 * (lives + 1):
            reached.set()
            gone.wait(30)
            return Reply(cut=True)
        return Reply(json.dumps({"intent": "advice", "note": question}))

    teacher.says = says
    command = [sys.executable, str(ROOT / "dabt.py"), "data", "distill", *files, "--endpoint", teacher.url]
    given = [*command, "--key-env", "TEACHERS_KEY", "--concurrency", "2"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    journal = tmp_path / "train.journal.jsonl"
    for lives in range(3):
        gone.clear()
        reached.clear()
        process = subprocess.Popen(given, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        assert reached.wait(60)
        while told(journal) < 3 * (lives + 1):
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.wait()
        gone.set()
        assert not Path(files[1]).exists()
    answered_before = set(answered(journal))
    asked_before = len(teacher.bodies)
    lives = 3
    last = subprocess.run(given, env=environment, capture_output=True, text=True, check=True)
    assert "12 of 12 inputs labelled" in last.stdout
    again = [question_of(body) for body in teacher.bodies[asked_before:]]
    assert len(answered_before) == 9
    assert not answered_before & set(again), "an answer that came is not paid for again"
    assert max(Counter(answered(journal)).values()) == 1
    (rows,) = read_rows(Path(files[1]))
    assert [row.question for row in rows] == [f"q{number}" for number in range(12)]
    assert set(teacher.keys) == {f"Bearer {KEY}"}


def answered(journal: Path) -> list[str]:
    """The questions whose answers the journal holds; the fake teacher's note is the question."""
    if not journal.exists():
        return []
    lines = journal.read_text(encoding="utf-8").split("\n")[:-1]
    told = [json.loads(line)["answer"]["text"] for line in lines if line.startswith('{"told"')]
    return [json.loads(text)["note"] for text in told]


def told(journal: Path) -> int:
    return len(answered(journal))
