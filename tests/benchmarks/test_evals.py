"""The tasks of the benchmark of evaluations, and what of a run is replayed."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks.eval_tasks import CHOICE, _tasks
from benchmarks.evals import Recorder


def test_every_item_has_four_departments_with_the_right_one_at_every_place(tmp_path: Path) -> None:
    folder = _tasks(tmp_path / "tasks", items=230, tokens=8)
    rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text("utf-8").splitlines()]
    assert len({row["question"] for row in rows}) == len(rows) == 230
    assert all(len({*row["choices"]}) == 4 and row["choices"][row["gold"]] == row["target"] for row in rows)
    assert {row["gold"] for row in rows} == {0, 1, 2, 3}
    assert (folder / f"{CHOICE}.yaml").is_file()


def test_what_was_sent_is_replayed_arm_by_arm() -> None:
    recorder = Recorder(calls=[("/a", {"model": "x"}), ("/a", {"model": "y"}), ("/b", {"model": "x"})])
    assert recorder.by_model() == [[("/a", {"model": "x"}), ("/b", {"model": "x"})], [("/a", {"model": "y"})]]
