"""A run that is stopped at any moment goes on, and ends in the weights of a run that was not."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import NoRoom
from tests.training.test_train import HOW, Place, Recorder, make_place
from training import checkpoints, golden, supervised
from training.progress import Silent

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains

# An answer is learnt with dropout, in windows of two batches, and the last window of an epoch is a short one; the best
# epoch is the one whose answers are best.
HOW_LONG = {**HOW, "epochs": 2, "accumulation": 4, "save_minutes": 0, "best_by": "chrf", "best_by_rows": 4}
METHOD = {"type": "lora", "r": 8, "alpha": 16, "dropout": 0.1}

_KILLED = """
import os, signal, sys
from pathlib import Path
from tests.training.test_train import place_at
from tests.training.test_checkpoints import HOW_LONG, METHOD
from training.progress import Silent

folder, base, when = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
at = int(when.removeprefix("save "))

class Killing(Silent):
    def step(self, done, total):
        if when.startswith("save"):
            return
        if done == at:
            os.kill(os.getpid(), signal.SIGKILL)

if when.startswith("save"):
    from transformers import Trainer
    original = Trainer._save_rng_state
    def dies(self, output_dir):
        if self.state.global_step == at:
            os.kill(os.getpid(), signal.SIGKILL)
        original(self, output_dir)
    Trainer._save_rng_state = dies

place_at(folder, base).train(Killing(), optimisation=HOW_LONG, method=METHOD)
"""


@pytest.fixture
def place(tmp_path: Path, bases: Callable[..., Path], colours: Callable[..., Any]) -> Place:
    return make_place(tmp_path / "home", bases(), colours)


def test_a_run_that_is_killed_ends_in_the_same_weights(
    tmp_path: Path, bases: Callable[..., Path], colours: Callable[..., Any], in_child: Callable[..., int]
) -> None:
    base = bases()
    whole = make_place(tmp_path / "whole", base, colours).train(optimisation=HOW_LONG, method=METHOD)
    place = make_place(tmp_path / "killed", base, colours)

    for when in ("1", "save 3"):  # inside the first epoch; in the middle of a save, in the second
        assert in_child(_KILLED, place.folder, base, when) == -signal.SIGKILL
    (run,) = place.home.runs.glob("[!.]*")
    assert (run / "checkpoints" / "checkpoint-3").is_dir()
    watch = Recorder()
    result = place.train(watch, optimisation=HOW_LONG, method=METHOD)

    assert "training, on from checkpoint-2" in watch.stages
    assert watch.steps[0] == (3, 4)
    assert result.record.artifact == whole.record.artifact
    assert result.record.golden == whole.record.golden
    assert [result.record.metrics[key] for key in ("eval_loss", "base_eval_loss", "chrf", "base_chrf", "steps")] == [
        whole.record.metrics[key] for key in ("eval_loss", "base_eval_loss", "chrf", "base_chrf", "steps")
    ]
    assert not (run / "checkpoints").exists()


def test_a_checkpoint_without_its_mark_is_none(tmp_path: Path) -> None:
    for step, whole in ((2, True), (10, True), (11, False)):
        folder = tmp_path / f"checkpoint-{step}"
        folder.mkdir()
        if whole:
            (folder / "complete").touch()
    assert checkpoints.newest(tmp_path) == tmp_path / "checkpoint-10"
    assert not (tmp_path / "checkpoint-11").exists()
    assert checkpoints.newest(tmp_path / "nowhere") is None


def test_golden_prompts_that_fail_cost_no_training(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    how = {**HOW, "epochs": 1}

    def no_room(*_: Any) -> None:
        raise MemoryError("no room")

    with monkeypatch.context() as broken:
        broken.setattr(golden, "record", no_room)
        with pytest.raises(NoRoom, match="memory ran out after training; what was trained is saved"):
            place.train(optimisation=how)
    monkeypatch.setattr(supervised, "train", no_room)  # is not asked again
    assert place.train(optimisation=how).version.ref == "colours:1"


def test_how_often_a_run_is_saved_makes_no_other_run(place: Place) -> None:
    from lifecycle.models.base import fingerprint, resolve_base
    from training.run import run_name

    base = fingerprint(resolve_base(place.job().base)).digest
    often, seldom = ({**HOW, "save_minutes": minutes} for minutes in (0, 60))
    assert run_name(place.job(optimisation=often), base) == run_name(place.job(optimisation=seldom), base)
    assert run_name(place.job(optimisation={**HOW, "max_steps": 3}), base) != run_name(place.job(), base)


def test_a_run_ends_after_so_many_steps_or_minutes(place: Place) -> None:
    steps = place.train(optimisation={**HOW, "max_steps": 2}).record.metrics
    assert (steps["steps"], steps["epochs"]) == (2, pytest.approx(1 / 3, abs=1e-3))
    # Of 1,200 steps every twelfth is told, and the first; without warm-up it moves something.
    minutes = place.train(optimisation={**HOW, "epochs": 200, "warmup": 0.0, "max_minutes": 1e-9}).record.metrics
    assert minutes["steps"] == 1
    assert minutes["train_loss"] > 0


def test_bfloat16_products_give_nearly_the_same_loss(place: Place) -> None:
    losses = {
        kind: place.train(optimisation={**HOW, "epochs": 1, "precision": kind}).record.metrics["eval_loss"]
        for kind in ("float32", "bfloat16")
    }
    assert losses["bfloat16"] == pytest.approx(losses["float32"], rel=0.02)
    assert losses["bfloat16"] != losses["float32"]


def test_an_interrupted_run_is_a_pause(place: Place) -> None:
    class Pausing(Silent):
        def step(self, done: int, total: int) -> None:
            if done == 8:
                raise KeyboardInterrupt

    how = {**HOW, "epochs": 2}
    with pytest.raises(KeyboardInterrupt):
        place.train(Pausing(), optimisation=how)
    watch = Recorder()
    place.train(watch, optimisation=how)
    assert "training, on from checkpoint-6" in watch.stages  # the last epoch's end
