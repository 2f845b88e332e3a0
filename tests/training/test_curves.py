"""The pictures of a run, and the figures that they are drawn from."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from training import curves
from training.figures import Speed, beside


def logged(folder: Path, *entries: dict[str, Any], end: str = "") -> Path:
    (folder / "log.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in entries) + end, encoding="utf-8")
    return folder


def entry(kind: str, step: int, **figures: float | None) -> dict[str, Any]:
    return {"kind": kind, "step": step, "epoch": step / 10, **figures}


ENTRIES = (
    entry("validation", 0, loss=3.0, exact_match=0.0),
    entry("train", 5, loss=2.0, learning_rate=1e-3),
    entry("validation", 10, loss=2.5, exact_match=0.5),
    entry("train", 15, loss=None, learning_rate=5e-4),
    entry("validation", 20, loss=2.6, exact_match=0.75),
    entry("train", 25, loss=1.0, learning_rate=1e-4),
    entry("validation", 30, loss=2.6, exact_match=0.75),
)


def test_a_line_has_a_gap_where_the_figure_was_not_finite(tmp_path: Path) -> None:
    steps, values = curves.lines_of(logged(tmp_path, *ENTRIES) / "log.jsonl")["train", "loss"]
    assert steps == [5, 15, 25]
    assert values[0] == 2.0
    assert math.isnan(values[1])


def test_matplotlib_leaves_the_gap_empty() -> None:
    from matplotlib.figure import Figure

    (line,) = Figure().subplots().plot([1, 2, 3], [1.0, math.nan, 2.0])
    assert [math.isnan(value) for value in line.get_ydata()] == [False, True, False]


@pytest.mark.parametrize(("best_by", "step"), [("loss", 10), ("exact_match", 20), ("nothing", None)])
def test_what_is_kept_is_the_first_best_after_training_began(tmp_path: Path, best_by: str, step: int | None) -> None:
    lines = curves.lines_of(logged(tmp_path, *ENTRIES) / "log.jsonl")
    assert curves.best_step(lines, best_by) == step


def test_loss_rate_and_metrics_are_pictures(tmp_path: Path) -> None:
    curves.draw(logged(tmp_path, *ENTRIES), "تجربة triage")
    assert sorted(path.name for path in tmp_path.glob("*.png")) == ["learning_rate.png", "loss.png", "metrics.png"]
    for picture in tmp_path.glob("*.png"):
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_the_figures_of_each_label_share_a_panel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures: dict[str, Any] = {}
    monkeypatch.setattr(curves, "_picture", lambda panels, title, path, best: pictures.update({path.name: panels}))
    figures = {"loss": 1.0, "f1[good]": 0.5, "f1[bad]": 0.25, "accuracy": 0.5}
    curves.draw(logged(tmp_path, entry("validation", 1, **figures)), "mood", "accuracy")
    assert pictures["metrics.png"] == {
        "accuracy": {"validation": ([1], [0.5])},
        "f1": {"good": ([1], [0.5]), "bad": ([1], [0.25])},
    }


def test_a_run_without_a_log_or_with_one_that_was_cut_short_has_what_there_is(tmp_path: Path) -> None:
    curves.draw(tmp_path, "triage")
    assert list(tmp_path.iterdir()) == []
    curves.draw(logged(tmp_path, ENTRIES[0], end='{"kind": "tra'), "triage")
    assert (tmp_path / "loss.png").is_file()


def test_figures_are_named_without_the_trainers_prefix_and_its_clocks() -> None:
    logs = {"loss": 1.0, "learning_rate": 0.1, "epoch": 2.0, "num_input_tokens_seen": 9, "train_runtime": 3.0}
    assert beside("train", {**logs, "tokens_per_second": 7.0}) == {"learning_rate": 0.1, "tokens_per_second": 7.0}
    logs = {"eval_loss": 1.0, "eval_macro_f1": 0.5, "eval_runtime": 3.0, "eval_samples_per_second": 4.0, "epoch": 2.0}
    assert beside("validation", logs) == {"macro_f1": 0.5}


def test_tokens_a_second_are_those_of_the_steps_alone() -> None:
    now = [0.0]
    speed = Speed(lambda: now[0])
    speed.take(100)  # a run that goes on had seen them before
    speed.begins()
    now[0] = 2.0
    speed.ends()
    now[0] = 60.0  # a validation
    speed.begins()
    now[0] = 62.0
    speed.ends()
    assert speed.take(500) == {"tokens_per_second": 100.0}
    assert speed.take(500) == {}
