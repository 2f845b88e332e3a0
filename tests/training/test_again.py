"""A run's folder is enough to repeat it, and says what was trained."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig, NotFound
from tests.training.test_train import HOW, Place, Recorder, make_place
from training.again import job_of
from training.run import train

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains


@pytest.fixture
def place(tmp_path: Path, bases: Callable[..., Path], colours: Callable[..., Any]) -> Place:
    return make_place(tmp_path / "home", bases(), colours)


def test_a_run_is_done_again_from_its_folder(place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = place.train(optimisation={**HOW, "epochs": 1})
    monkeypatch.chdir(tmp_path)
    job = job_of(first.folder)
    reused = train(job, place.home, place.shelf, same_as=first.folder.name)
    assert reused.reused
    renamed = first.folder.rename(first.folder.with_name("the-good-one"))
    with pytest.raises(InvalidConfig, match="the-good-one: the folder was renamed: the run in it is colours-"):
        job_of(renamed)
    renamed.rename(first.folder)
    again = train(job, place.home, place.shelf, same_as=first.folder.name, force=True)
    assert not again.reused
    assert again.record.artifact == first.record.artifact
    assert again.version == first.version


def test_a_run_that_was_stopped_goes_on_from_its_folder(place: Place) -> None:
    class Stopping(Recorder):
        def step(self, done: int, total: int) -> None:
            if done == 8:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        place.train(Stopping(), optimisation={**HOW, "epochs": 2})
    (folder,) = place.home.runs.glob("[!.]*")
    watch = Recorder()
    train(job_of(folder), place.home, place.shelf, same_as=folder.name, watch=watch)
    assert "training, on from checkpoint-6" in watch.stages


def test_other_rows_are_another_run_and_are_told(place: Place) -> None:
    first = place.train(optimisation={**HOW, "epochs": 1})
    with (place.folder / "train.jsonl").open("a", encoding="utf-8") as rows:
        rows.write('{"prompt": "what colour is coal?", "completion": "black"}\n')
    with pytest.raises(InvalidConfig, match="its base, its rows, its prompt or the code of its method has changed"):
        train(job_of(first.folder), place.home, place.shelf, same_as=first.folder.name)
    (place.folder / "train.jsonl").unlink()
    with pytest.raises(InvalidConfig, match="there is no file"):
        job_of(first.folder)


def test_a_folder_without_a_run_is_told(tmp_path: Path) -> None:
    for told in (None, "{", "[1]"):
        folder = tmp_path / f"{told}"
        folder.mkdir()
        if told is not None:
            (folder / "given.json").write_text(told)
        with pytest.raises(NotFound, match="holds no run that can be done again"):
            job_of(folder)


def test_the_runs_card_is_that_of_its_version(place: Place) -> None:
    result = place.train(optimisation={**HOW, "epochs": 1})
    card = (result.folder / "README.md").read_text(encoding="utf-8")
    assert "# colours:1\n" in card
    assert result.record.data_digest in card
