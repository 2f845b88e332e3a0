"""A sweep tries what it is told, goes on where it was stopped, and publishes the best alone."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from lifecycle.errors import InvalidConfig
from lifecycle.home import Home
from training import run, sweep
from training.progress import Point, Silent
from training.sweep import Sweep, search

KEYS = {"optimisation.lr": {"low": 1e-4, "high": 1e-1, "log": True}, "method.r": [8, 16], "optimisation.epochs": [1, 3]}


def write(folder: Path, **settings: Any) -> Path:
    for name in ("train", "validation"):
        row = {"prompt": f"{name}?", "completion": "blue"}
        (folder / f"{name}.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    raw = {"name": "colours", "base": "base", "data": {"train": "train.jsonl", "validation": "validation.jsonl"}}
    path = folder / "run.yaml"
    path.write_text(yaml.safe_dump({**raw, "sweep": {"keys": KEYS, "trials": 8, **settings}}), encoding="utf-8")
    return path


@dataclass
class Runs:
    """In place of `run.py`: the loss is a function of the settings, and nothing is trained."""

    learnt: list[Any] = field(default_factory=list)
    published: list[tuple[Any, tuple[str, ...]]] = field(default_factory=list)
    dies_at: int | None = None

    def learn(self, job: Any, home: Any, shelf: Any, *, watch: Any) -> Any:
        if len(self.learnt) == self.dies_at:
            raise KeyboardInterrupt
        self.learnt.append(job.config)
        loss = abs(job.config.optimisation.lr - 0.01) + job.config.method.r / 100
        watch.say("2 rows hold an e-mail address")
        watch.loss("validation", Point(1, 1.0, loss))
        watch.loss("validation", Point(2, 2.0, loss))
        return SimpleNamespace(metrics={"eval_loss": loss, "eval_macro_f1": -loss})

    def train(self, job: Any, home: Any, shelf: Any, *, watch: Any, notes: tuple[str, ...]) -> Any:
        self.published.append((job.config, notes))
        return SimpleNamespace(version=SimpleNamespace(ref="colours:1"))


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> Runs:
    made = Runs()
    monkeypatch.setattr(sweep, "run", SimpleNamespace(learn=made.learn, train=made.train, data_digest=run.data_digest))
    return made


def tried(runs: Runs) -> list[tuple[float, int, float]]:
    return [(config.optimisation.lr, config.method.r, config.optimisation.epochs) for config in runs.learnt]


def home(folder: Path) -> Home:
    return Home(root=folder, registry_url="sqlite://", artifacts_url=str(folder / "artifacts"))


def test_the_best_is_published_alone_and_says_how_many_were_tried(tmp_path: Path, runs: Runs) -> None:
    swept = search(Sweep.load(write(tmp_path, pruner="none")), home(tmp_path), None)
    assert len(runs.learnt) == swept.tried == 8
    assert all(1e-4 <= lr <= 1e-1 and r in (8, 16) and epochs in (1, 3) for lr, r, epochs in tried(runs))
    ((config, notes),) = runs.published
    assert config == min(runs.learnt, key=lambda c: abs(c.optimisation.lr - 0.01) + c.method.r / 100)
    assert notes == ("the best of 8 configurations that were tried, by eval_loss on the validation rows",)
    assert swept.chosen == {
        "optimisation.lr": config.optimisation.lr,
        "method.r": config.method.r,
        "optimisation.epochs": config.optimisation.epochs,
    }


def test_a_sweep_that_was_stopped_tries_what_one_that_was_not_would_have_tried(
    tmp_path: Path, runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = Sweep.load(write(tmp_path, pruner="none"))
    search(told, home(tmp_path / "whole"), None)
    whole = tried(runs)
    runs.learnt.clear()
    runs.dies_at = 3
    with pytest.raises(KeyboardInterrupt):
        search(told, home(tmp_path / "stopped"), None)
    runs.dies_at = None
    search(told, home(tmp_path / "stopped"), None)
    assert tried(runs) == whole


def test_more_trials_go_on_from_those_that_there_are(tmp_path: Path, runs: Runs) -> None:
    search(Sweep.load(write(tmp_path, trials=3)), home(tmp_path), None)
    search(Sweep.load(write(tmp_path, trials=5)), home(tmp_path), None)
    assert len(runs.learnt) == 5
    search(Sweep.load(write(tmp_path, trials=5)), home(tmp_path), None)
    assert len(runs.learnt) == 5


def test_a_figure_that_is_no_loss_is_to_be_high(tmp_path: Path, runs: Runs) -> None:
    swept = search(Sweep.load(write(tmp_path, metric="eval_macro_f1")), home(tmp_path), None)
    assert swept.value == max(-abs(c.optimisation.lr - 0.01) - c.method.r / 100 for c in runs.learnt)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"keys": {}}, r"sweep\.keys"),
        ({"trials": 0}, r"sweep\.trials"),
        ({"keys": {"optimisation.lr": {"low": 1, "high": 1}}}, "low must be below high"),
        ({"keys": {"optimisation.lr": {"low": 0, "high": 1e-2, "log": True}}}, "starts above 0"),
        ({"keys": {"optimisation.lr": {"low": 1e-3, "high": 5.0}}}, r"sweep\.keys\.optimisation\.lr: 5\.0: "),
        ({"keys": {"method.r": [8, 7]}}, r"sweep\.keys\.method\.r: 7: "),
        ({"keys": {"data.train": ["other.jsonl"]}}, r"sweep\.keys\.data\.train: cannot be tried"),
    ],
)
def test_what_cannot_be_tried_is_told_before_anything_is(tmp_path: Path, settings: dict[str, Any], said: str) -> None:
    with pytest.raises(InvalidConfig, match=said):
        Sweep.load(write(tmp_path, **settings))


def test_a_file_that_says_nothing_to_try_is_no_sweep(tmp_path: Path) -> None:
    path = write(tmp_path)
    raw = yaml.safe_load(path.read_text())
    del raw["sweep"]
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(InvalidConfig, match="sweep: is missing"):
        Sweep.load(path)


def test_what_a_trial_says_of_its_rows_is_heard(tmp_path: Path, runs: Runs) -> None:
    heard: list[str] = []

    class Hearing(Silent):
        def say(self, text: str) -> None:
            heard.append(text)

    search(Sweep.load(write(tmp_path, trials=2)), home(tmp_path), None, lambda name: Hearing())
    assert heard == ["2 rows hold an e-mail address"] * 2
