"""Every method goes on after it was killed, and ends in the weights of a run that was not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.methods_at_work import CASES, place_of, prepare
from tests.training.test_train import Recorder
from training.exact import EpochOrder

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains


DIES = """
import sys
from pathlib import Path
from tests.training.methods_at_work import dies

dies(Path(sys.argv[1]), sys.argv[2])
"""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, bases: Callable[..., Path], in_child: Callable[..., int]) -> Path:
    """A folder in which the run of every case was killed."""
    folder = prepare(tmp_path_factory.mktemp("stopped") / "place", bases())
    assert {name: in_child(DIES, folder, name) for name in CASES} == dict.fromkeys(CASES, 9)
    return folder


@pytest.fixture
def groups(monkeypatch: pytest.MonkeyPatch) -> list[int | None]:
    """How many rows of like length come together, in each run of a test; None where they come by chance."""
    made: list[int | None] = []
    init = EpochOrder.__init__

    def noting(self: EpochOrder, *told: Any, group: int | None, **more: Any) -> None:
        made.append(group)
        init(self, *told, group=group, **more)

    monkeypatch.setattr(EpochOrder, "__init__", noting)
    return made


@pytest.mark.parametrize("name", CASES)
def test_a_run_that_was_killed_goes_on_and_ends_in_the_same_weights(
    stopped: Path, name: str, groups: list[int | None]
) -> None:
    """Its rows come by chance unless it asks otherwise: grouped by length they cost loss (`benchmarks.orders`)."""
    place, settings = place_of(stopped, name, "whole")
    whole = place.train(**settings).record
    watch = Recorder()
    place, settings = place_of(stopped, name, "stopped")
    record = place.train(watch, **settings).record

    how = settings["optimisation"]
    grouped = how["batch_size"] * how.get("accumulation", 1) if how.get("group_by_length") else None
    assert groups == [grouped, grouped]
    assert any(stage.startswith("training, on from checkpoint-") for stage in watch.stages)
    assert record.artifact == whole.artifact
    assert record.metrics == whole.metrics
    assert record.golden == whole.golden
    if CASES[name].dies == "before the artifact":
        assert not watch.steps  # it had come to its end
    if name == "early stopping":
        assert whole.metrics["epochs"] < settings["optimisation"]["epochs"]
