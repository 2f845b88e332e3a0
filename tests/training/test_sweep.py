"""A sweep tries what it is told, goes on where it was stopped, and publishes the best alone."""

from __future__ import annotations

import json
from collections.abc import Callable
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
from training.sweep import Sweep, Trial, search

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
    dies: type[BaseException] = KeyboardInterrupt
    refuses: int | None = None
    """A rank that there is no memory for."""
    looked: list[Any] = field(default_factory=list)

    def learn(self, job: Any, home: Any, shelf: Any, *, watch: Any, looked: Any) -> Any:
        if len(self.learnt) == self.dies_at:
            raise self.dies
        self.learnt.append(job.config)
        self.looked.append(looked)
        if job.config.method.r == self.refuses:
            raise InvalidConfig("memory ran out in training")
        loss = abs(job.config.optimisation.lr - 0.01) + job.config.method.r / 100
        watch.say("2 rows hold an e-mail address")
        watch.loss("validation", Point(1, 1.0, loss))
        watch.loss("validation", Point(2, 2.0, loss))
        return "colours-1", SimpleNamespace(metrics={"eval_loss": loss, "eval_macro_f1": -loss})

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


def test_all_that_was_tried_is_on_record_with_what_came_of_it(tmp_path: Path, runs: Runs) -> None:
    runs.refuses = 16
    swept = search(Sweep.load(write(tmp_path, pruner="none")), home(tmp_path), None)
    kept = [Trial.model_validate(each) for each in json.loads((swept.folder / "trials.json").read_text())]
    assert (tuple(kept), len(kept), swept.tried) == (swept.trials, 8, 8)
    assert [trial.number for trial in kept] == [*range(1, 9)]
    for trial, config in zip(kept, runs.learnt, strict=True):
        assert trial.settings["optimisation.lr"] == config.optimisation.lr
        refused = config.method.r == 16
        assert (trial.came_to, trial.run) == (("refused", "") if refused else ("its end", "colours-1"))
        assert (trial.value is None, trial.why) == (refused, "memory ran out in training" if refused else "")
    assert {trial.came_to for trial in kept} == {"refused", "its end"}


def test_what_was_refused_before_a_stop_is_not_tried_again(tmp_path: Path, runs: Runs) -> None:
    runs.refuses, runs.dies_at = 16, 6
    told = Sweep.load(write(tmp_path, pruner="none"))
    with pytest.raises(KeyboardInterrupt):
        search(told, home(tmp_path), None)
    runs.dies_at = None
    search(told, home(tmp_path), None)
    assert any(config.method.r == 16 for config in runs.learnt[:6])
    assert len(runs.learnt) == 8


def test_where_all_settings_are_refused_the_last_reason_is_told(tmp_path: Path, runs: Runs) -> None:
    runs.refuses = 8
    told = Sweep.load(write(tmp_path, keys={"method.r": [8], "optimisation.epochs": [1, 2]}, trials=2))
    with pytest.raises(InvalidConfig, match="memory ran out in training"):
        search(told, home(tmp_path), None)
    assert not runs.published


def test_a_trial_that_ends_the_process_twice_is_left(tmp_path: Path, runs: Runs) -> None:
    runs.dies_at, runs.dies = 1, SystemExit  # as one that is killed: nothing is noted
    told = Sweep.load(write(tmp_path, pruner="none", trials=3))
    for _ in range(2):
        with pytest.raises(SystemExit):
            search(told, home(tmp_path), None)
    runs.dies_at = None
    swept = search(told, home(tmp_path), None)
    assert [trial.came_to for trial in swept.trials] == ["its end", "cut short", "refused", "its end"]
    assert swept.trials[1].settings == swept.trials[2].settings
    assert "ended in it twice" in swept.trials[2].why
    assert (swept.tried, len(runs.learnt)) == (3, 2)


def test_one_that_a_person_stops_twice_goes_on(tmp_path: Path, runs: Runs) -> None:
    runs.dies_at = 1
    told = Sweep.load(write(tmp_path, pruner="none", trials=3))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            search(told, home(tmp_path), None)
    runs.dies_at = None
    assert search(told, home(tmp_path), None).tried == len(runs.learnt) == 3


def test_rows_are_looked_at_once_for_all_trials(tmp_path: Path, runs: Runs) -> None:
    search(Sweep.load(write(tmp_path, trials=3)), home(tmp_path), None)
    assert len({id(looked) for looked in runs.looked}) == 1


@pytest.mark.e2e
def test_a_real_sweep_tells_its_trials_and_publishes_the_run_of_the_best(
    tmp_path: Path, bases: Callable[..., Path], colours: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from dabt import app
    from tests.training.test_train import HOW, make_place
    from training.data import run_checks

    place = make_place(tmp_path / "home", bases(), colours)
    how = {**HOW, "epochs": 1, "batch_size": 16}
    told = {"trials": 2, "keys": {"optimisation.lr": {"low": 1e-5, "high": 2e-2, "log": True}}}
    (place.folder / "sweep.yaml").write_text(yaml.safe_dump({**place.raw, "optimisation": how, "sweep": told}))
    looked: list[int] = []
    look = run_checks.look
    monkeypatch.setattr(run_checks, "look", lambda rows, *a, **k: looked.append(len(rows)) or look(rows, *a, **k))
    words = ["sweep", str(place.folder / "sweep.yaml"), "--home", str(place.home.root)]
    first = CliRunner().invoke(app, words)
    assert first.exit_code == 0, first.output
    (record,) = place.home.root.glob("sweeps/*/trials.json")
    trials = [Trial.model_validate(each) for each in json.loads(record.read_text())]
    assert [trial.came_to for trial in trials] == ["its end"] * 2
    assert trials[0].run != trials[1].run
    assert looked == [48]
    best = min(trials, key=lambda trial: trial.value or 0.0)
    assert all(trial.run in first.output for trial in trials)
    assert f"the best of 2: optimisation.lr {best.settings['optimisation.lr']}" in first.output
    (published,) = place.shelf.registry.versions()
    assert published.lineage.run == best.run
    assert "the best of 2 configurations that were tried" in published.lineage.note
    again = CliRunner().invoke(app, words)  # nothing is left to try
    assert again.exit_code == 0, again.output
    assert looked == [48]
    assert len(place.shelf.registry.versions()) == 1
