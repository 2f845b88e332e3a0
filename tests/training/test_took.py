"""How long a run trained: over all of its stretches, those that were killed too, and what a teacher's labels took."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lifecycle.manifests import Spent
from training import took


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    at = SimpleNamespace(now=1000.0)
    monkeypatch.setattr(took.time, "time", lambda: at.now)
    monkeypatch.setattr(took.processes, "is_first", lambda: True)
    monkeypatch.setattr(took, "machine", lambda: "2 cores")
    return at


def test_stretches_add_up_and_the_note_of_them_goes_when_it_is_read(tmp_path: Path, clock: Any) -> None:
    with took.timed(tmp_path):
        clock.now += 30
    clock.now += 86_400
    with contextlib.suppress(KeyboardInterrupt), took.timed(tmp_path):
        clock.now += 12.5
        raise KeyboardInterrupt
    assert took.taken(tmp_path) == Spent(seconds=42.5, machine="2 cores")
    assert list(tmp_path.iterdir()) == []
    assert took.taken(tmp_path) is None, "nobody timed it"


def test_a_stretch_that_was_killed_counts_as_far_as_its_log_goes(tmp_path: Path, clock: Any) -> None:
    (tmp_path / "took.json").write_text(json.dumps({"seconds": 5.0, "began": 1000.0}))
    (tmp_path / "log.jsonl").write_text("{}\n")
    os.utime(tmp_path / "log.jsonl", (1060.0, 1060.0))
    clock.now = 9000.0
    with took.timed(tmp_path):
        clock.now += 10
    spent = took.taken(tmp_path)
    assert spent is not None
    assert spent.seconds == 75.0


def test_a_note_that_cannot_be_read_is_no_reason_to_lose_what_was_trained(tmp_path: Path, clock: Any) -> None:
    (tmp_path / "took.json").write_text("{")
    with took.timed(tmp_path):
        clock.now += 7
    spent = took.taken(tmp_path)
    assert spent is not None
    assert spent.seconds == 7.0


def test_a_teachers_tokens_are_those_that_the_rows_name() -> None:
    row = SimpleNamespace(meta={"distilled": {"prompt_tokens": 100, "completion_tokens": 7}})
    plain = SimpleNamespace(meta={})
    spent = took.with_teacher(Spent(seconds=9.0), [row, plain, row])
    assert spent == Spent(seconds=9.0, teacher_prompt=200, teacher_completion=14)
    assert took.with_teacher(None, [plain]) is None
    assert took.with_teacher(None, [row]) == Spent(teacher_prompt=100, teacher_completion=7)
