"""What a person sees of a run."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from lifecycle.commands.lines import Lines
from training.cli import _print_result
from training.progress import Bar, Curve, Pace, Point, Told, keep, watcher


def shown(steps: int, error: type[Exception] | None = None) -> str:
    out = io.StringIO()
    try:
        with Bar("triage", Console(file=out, width=120, force_terminal=False)) as bar:
            bar.stage("training")
            for step in range(1, steps + 1):
                bar.step(step, 3)
                bar.loss("validation", Point(step, 1.0, 1 / step))
            if error:
                raise error
    except ValueError:
        pass
    return out.getvalue()


def test_the_bar_ends_with_the_steps_and_the_last_loss() -> None:
    assert "triage: done" in shown(3)
    assert "3/3" in shown(3)
    assert "validation 0.333" in shown(3)


def test_the_bar_of_a_run_that_failed_does_not_say_done() -> None:
    assert "triage: training" in shown(2, ValueError)
    assert "done" not in shown(2, ValueError)


def test_a_reused_run_leaves_no_bar() -> None:
    assert shown(0).strip() == ""


def test_losses_are_kept_in_the_curve_and_in_the_log(tmp_path: Path) -> None:
    curve = Curve()
    add = keep(curve, tmp_path / "log.jsonl")
    add("validation", Point(0, 0.0, 2.0))
    add("train", Point(5, 0.5, 1.5))
    assert (curve.train, curve.validation) == ([Point(5, 0.5, 1.5)], [Point(0, 0.0, 2.0)])
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert lines[1] == {"kind": "train", "step": 5, "epoch": 0.5, "loss": 1.5}


def test_the_log_has_all_figures_of_a_step_and_null_where_one_is_not_finite(tmp_path: Path) -> None:
    add = keep(Curve(), tmp_path / "log.jsonl")
    add("train", Point(5, 0.5, 1.5, {"learning_rate": 1e-4, "grad_norm": float("inf")}))
    assert json.loads((tmp_path / "log.jsonl").read_text()) == {
        "kind": "train",
        "step": 5,
        "epoch": 0.5,
        "loss": 1.5,
        "learning_rate": 1e-4,
        "grad_norm": None,
    }


def test_lines_in_a_pipe_are_whole_however_narrow_it_is_taken_to_be(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    long = "checking the rows, " * 20 + "[all] of them"
    with watcher("triage", Console()) as told:
        told.stage(long)
        told.say(long)
        told.step(1, 90)
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:] == [f"triage: {long}"] * 2 + ["triage: done, step 1 of 90"]

    out = io.StringIO()
    with Bar("triage", Console(file=out, width=40, force_terminal=False)) as bar:
        bar.say(long)
    assert long in out.getvalue().splitlines()


def test_what_came_of_a_run_is_whole_lines_in_a_pipe(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    metrics = {"base_eval_loss": 2.0, "eval_loss": 1.0, "validation_rows": 8.0, "train_rows": 64.0}
    record = SimpleNamespace(metrics=metrics, notes=("an epoch sees 10 of 20 of a [long] name.jsonl, 5 of 5 of b",))
    result = SimpleNamespace(
        record=record, version=SimpleNamespace(ref="triage:3"), reused=False, folder=tmp_path / ("x" * 90)
    )
    _print_result(result)  # type: ignore[arg-type]
    first, run, note, _ = capsys.readouterr().out.splitlines()
    assert first == ("triage:3 is a draft (trained): validation loss 2.000 → 1.000 on 8 rows after 64 to learn from")
    assert (run, note) == (f"  run: {result.folder}", f"  note: {record.notes[0]}")


def test_without_a_terminal_every_stage_and_how_far_it_is_are_lines() -> None:
    said: list[str] = []
    now = [0.0]
    lines = Lines(said.append, every=8.0, clock=lambda: now[0])
    with Told("triage", lines, Pace(lambda: now[0])) as told:
        told.stage("training")
        told.loss("validation", Point(0, 0.0, 2.5))
        now[0] = 4.0  # the base's own loss took that long
        told.step(1, 90)
        lines.look()
        now[0] = 8.0
        told.step(5, 90)
        lines.look()
        told.stage("publishing")
    assert said == [
        "triage: loading PyTorch",
        "triage: training",
        "triage: training, step 5 of 90, validation 2.500, 1.0 steps/s, 1:25 left (8 s)",
        "triage: publishing",
        "triage: done, step 5 of 90, validation 2.500",
    ]


def paced(*steps: tuple[float, int], total: int) -> Pace:
    """After (seconds, steps done), in order."""
    now = [0.0]
    pace = Pace(lambda: now[0])
    for now[0], done in steps:
        pace.step(done, total)
    return pace


@pytest.mark.parametrize(
    ("steps", "rate", "left"),
    [
        (((5.0, 1),), "", ""),  # what came before the first step says nothing of the next
        (((5.0, 1), (7.5, 2)), "2.5 s/step", "4:05 left"),
        (((5.0, 1), (6.0, 2)), "1.0 steps/s", "1:38 left"),
        (((5.0, 1), (6.0, 5)), "4.0 steps/s", "0:24 left"),
        (((5.0, 1), (105.0, 2)), "100.0 s/step", "2:43:20 left"),
        (((0.0, 90), (1.0, 91)), "1.0 steps/s", "0:09 left"),  # taken up again in the middle
        (((0.0, 99), (1.0, 100)), "1.0 steps/s", "0:00 left"),
        (((0.0, 1), (50.0, 100), (60.0, 1)), "", ""),  # a second run
    ],
)
def test_rate_and_time_left_follow_from_the_steps_since_the_first_one_seen(
    steps: tuple[tuple[float, int], ...], rate: str, left: str
) -> None:
    pace = paced(*steps, total=100)
    assert (pace.rate, pace.left) == (rate, left)


def test_the_bar_shows_the_rate_beside_the_loss() -> None:
    assert re.search(r"3/3 .*\d steps/s +validation 0\.333", shown(3))


def test_a_run_that_failed_or_trained_nothing_is_not_called_done() -> None:
    said: list[str] = []

    def fails() -> None:
        with Told("triage", Lines(said.append)) as told:
            told.step(1, 2)
            raise ValueError("lost")

    with pytest.raises(ValueError, match="lost"):
        fails()
    with Told("triage", Lines(said.append)):
        pass
    assert not any("done" in line for line in said)


@pytest.mark.parametrize(("terminal", "kind"), [(True, Bar), (False, Told)])
def test_bars_are_for_terminals(terminal: bool, kind: type) -> None:
    assert type(watcher("triage", Console(file=io.StringIO(), force_terminal=terminal))) is kind
