"""What a configuration may track by, and that no tracker costs a run anything."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest

from lifecycle.errors import InvalidConfig
from training.config import TrainJob
from training.progress import Point, Silent
from training.tracking.mlflow import MLflow
from training.tracking.tensorboard import TensorBoard
from training.tracking.tracker import RunFacts, Tracker, flat
from training.tracking.trackers import Trackers
from training.tracking.wandb import Wandb


def tracking(folder: Path, **more: Any) -> tuple[Tracker, ...]:
    (folder / "rows.jsonl").touch()
    raw = {"name": "triage", "base": "x", "data": {"train": "rows.jsonl"}, **more}
    return TrainJob.from_mapping(raw, folder).config.tracking


@pytest.mark.parametrize(
    ("written", "means"),
    [
        ("none", ()),
        (None, ()),
        ([], ()),
        ("mlflow", (MLflow(),)),
        ("wandb", (Wandb(),)),
        (["tensorboard", "mlflow"], (TensorBoard(), MLflow())),
        ({"type": "mlflow", "experiment": "triage"}, (MLflow(experiment="triage"),)),
        ([{"type": "wandb", "mode": "offline"}, "tensorboard"], (Wandb(mode="offline"), TensorBoard())),
        (["wandb", {"type": "wandb", "project": "x"}], (Wandb(), Wandb(project="x"))),
    ],
)
def test_a_tracker_is_one_line_of_the_configuration(tmp_path: Path, written: Any, means: tuple[Tracker, ...]) -> None:
    assert tracking(tmp_path, tracking=written) == means


def test_tensorboard_is_the_default(tmp_path: Path) -> None:
    assert tracking(tmp_path) == (TensorBoard(),)


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ("comet", "'comet' is no tracker; write tensorboard, mlflow, wandb"),
        (["mlflow", "mlflow"], "named twice"),
        (["mlflow", {"type": "mlflow", "experiment": "x"}], "named twice"),
        ([{"type": "wandb", "project": "x"}] * 2, "named twice"),
        ({"experiment": "x"}, "is no tracker"),
        ({"type": "mlflow", "experimant": "x"}, "did you mean experiment?"),
        ({"type": "wandb", "mode": "sometimes"}, "tracking"),
        (7, "is no tracker"),
    ],
)
def test_what_is_no_tracker_is_refused_with_what_is(tmp_path: Path, written: Any, said: str) -> None:
    with pytest.raises(InvalidConfig, match="tracking") as refused:
        tracking(tmp_path, tracking=written)
    assert said in str(refused.value)


def test_tracking_is_written_back_as_it_was_read(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").touch()
    raw = {"name": "triage", "base": "x", "data": {"train": "rows.jsonl"}, "tracking": ["mlflow", "tensorboard"]}
    job = TrainJob.from_mapping(raw, tmp_path)
    assert TrainJob.from_mapping(job.anywhere(), tmp_path).config.tracking == (MLflow(), TensorBoard())


def test_a_tracker_that_is_not_installed_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    for tracker in (MLflow(), Wandb(mode="offline")):
        (problem,) = tracker.problems()
        assert (problem.place, problem.cure.split(", ")[0]) == (
            f"tracking.{tracker.type}",
            "pip install 'dabt[tracking]'",
        )


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("./mlruns", "names no database and no server"),
        ("file:///mlruns", "names no database and no server"),
        ("postgresql://me:secret@host/db", "holds a password"),
        ("https://host/?token=secret", "holds a password"),
    ],
)
def test_a_uri_that_is_no_store_or_holds_a_secret_is_refused(uri: str, said: str) -> None:
    (problem,) = MLflow(uri=uri).problems()
    assert said in problem.fault
    assert "secret" not in str(problem)


@pytest.mark.parametrize("uri", ["sqlite:///a.db", "https://host", "postgresql+psycopg://me@host/db"])
def test_a_store_or_a_server_is_taken(uri: str) -> None:
    assert MLflow(uri=uri).problems() == []


def test_wandb_online_wants_a_key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_BASE_URL"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (problem,) = Wandb().problems()
    assert "wandb login" in problem.cure
    assert Wandb(mode="offline").problems() == []
    (tmp_path / "netrc").write_text("machine api.wandb.ai\n  login user\n  password x\n")
    assert Wandb().problems() == []


def test_settings_are_one_key_each() -> None:
    assert flat({"method": {"type": "lora", "r": 8, "lora": None}, "data": {"train": ["a", "b"]}}) == {
        "method.type": "lora",
        "method.r": 8,
        "data.train": "['a', 'b']",
    }


class Book:
    """A run at `Noted`, which breaks at a step."""

    def __init__(self, known: str, breaks: int | None) -> None:
        self.id, self.breaks = known or "new", breaks
        self.told: list[tuple[int, dict[str, float]]] = []
        self.ended: list[bool] = []

    def figures(self, step: int, figures: Mapping[str, float]) -> None:
        if step == self.breaks:
            raise ConnectionError("the server is gone\nand more")
        self.told.append((step, dict(figures)))

    def end(self, said: Mapping[str, str | float], *, whole: bool) -> None:
        self.ended.append(whole)


class Noted(Tracker):
    type: Literal["noted"] = "noted"
    package: ClassVar[str] = "json"
    breaks: int | None = None
    books: ClassVar[list[Book]] = []

    def begin(self, run: RunFacts, known: str) -> Book:
        self.books.append(Book(known, self.breaks))
        return self.books[-1]


class Heard(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(autouse=True)
def no_books() -> None:
    Noted.books.clear()


def facts(folder: Path) -> RunFacts:
    return RunFacts("triage-1", folder, folder, {}, {})


def test_a_tracker_that_fails_is_left_alone_and_that_is_said_once(tmp_path: Path) -> None:
    heard = Heard()
    with Trackers((Noted(breaks=2),), heard) as trackers:
        trackers.begin(facts(tmp_path))
        trackers.stage("training")
        for step in (1, 2, 3):
            trackers.loss("train", Point(step, 0.1, 1.0))
    (book,) = Noted.books
    assert [step for step, _ in book.told] == [1]
    note = "noted is told nothing more of this run: the server is gone"
    assert heard.said == trackers.notes == [note]


def test_a_run_that_goes_on_is_told_in_the_same_run_and_no_step_twice(tmp_path: Path) -> None:
    for steps in ((1, 2, 3), (1, 2, 3, 4)):  # the checkpoint was at step 0
        with Trackers((Noted(),), Silent()) as trackers:
            trackers.begin(facts(tmp_path))
            for step in steps:
                trackers.loss("train", Point(step, 0.1, 1.0, {"learning_rate": 0.5}))
                trackers.loss("validation", Point(step, 0.1, 2.0))
    first, second = Noted.books
    assert (first.id, second.id) == ("new", "new")
    assert first.told[0] == (1, {"train/loss": 1.0, "train/epoch": 0.1, "train/learning_rate": 0.5})
    assert [step for step, _ in (*first.told, *second.told)] == [1, 1, 2, 2, 3, 3, 4, 4]
    assert [*first.ended, *second.ended] == [False, False]  # nothing was published


def test_of_two_trackers_of_a_kind_each_has_its_own_run_and_its_own_fate(tmp_path: Path) -> None:
    for _ in range(2):
        with Trackers((Noted(), Noted(breaks=2)), Silent()) as trackers:
            trackers.begin(facts(tmp_path))
            for step in (1, 2, 3):
                trackers.loss("train", Point(step, 0.1, 1.0))
        assert trackers.notes in ([], ["noted 2 is told nothing more of this run: the server is gone"])
    assert [[step for step, _ in book.told] for book in Noted.books] == [[1, 2, 3], [1], [], [3]]


def test_a_full_disk_costs_the_tracker_and_not_the_run(tmp_path: Path) -> None:
    with Trackers((Noted(),), Silent()) as trackers:
        trackers.begin(facts(tmp_path / "gone"))
        trackers.loss("train", Point(1, 0.1, 1.0))
    assert len(trackers.notes) == 1
