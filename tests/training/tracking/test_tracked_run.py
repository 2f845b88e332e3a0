"""A real run at real trackers: what it tells, and that being stopped doubles nothing."""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.training.test_train import HOW, Place, make_place
from training.progress import Silent
from training.run import TrainResult

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains

STEPS = list(range(1, 13))
"""Two epochs of six, each logged."""


class Pausing(Silent):
    def step(self, done: int, total: int) -> None:
        if done == 9:
            raise KeyboardInterrupt


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory, bases: Callable[..., Path], colours: Callable[..., Any]) -> Any:
    """A run that was stopped in its second epoch and went on, told to all three."""
    place = make_place(tmp_path_factory.mktemp("tracked"), bases(), colours)
    everywhere = ["tensorboard", {"type": "mlflow", "experiment": "صبغ"}, {"type": "wandb", "mode": "offline"}]
    asked: dict[str, Any] = {"optimisation": {**HOW, "epochs": 2}, "tracking": everywhere}
    with pytest.raises(KeyboardInterrupt):
        place.train(Pausing(), **asked)
    return place, place.train(**asked)


def test_tensorboard_has_every_step_once(stopped: tuple[Place, TrainResult]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(stopped[1].folder / "tensorboard"), purge_orphaned_data=False)
    events.Reload()
    assert [event.step for event in events.Scalars("train/loss")] == STEPS
    assert [event.step for event in events.Scalars("validation/loss")] == [0, 6, 12]
    tags = set(events.Tags()["scalars"])
    assert {"train/learning_rate", "train/grad_norm", "train/tokens_per_second", "train/mean_token_accuracy"} <= tags
    assert "configuration/text_summary" in events.Tags()["tensors"]
    (version,) = events.Tensors("version/text_summary")
    assert version.tensor_proto.string_val[0] == b"colours:1"


def test_mlflow_has_every_step_once_and_what_was_published(stopped: tuple[Place, TrainResult]) -> None:
    from mlflow import MlflowClient

    place, result = stopped
    client = MlflowClient(tracking_uri=f"sqlite:///{place.folder / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("صبغ")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "train/loss")] == STEPS
    assert [metric.step for metric in client.get_metric_history(run.info.run_id, "validation/loss")] == [0, 6, 12]
    assert run.info.run_name == result.record.run
    assert run.info.status == "FINISHED"
    assert run.data.tags["version"] == "colours:1"
    assert run.data.tags["data_digest"] == result.record.data_digest
    assert run.data.tags["base"] == result.record.base_name
    assert run.data.params["method.r"] == "8"
    assert run.data.metrics["final/eval_loss"] == pytest.approx(result.record.metrics["eval_loss"])


def test_wandb_offline_has_every_step_once_under_one_id(stopped: tuple[Place, TrainResult]) -> None:
    files = sorted((stopped[1].folder / "wandb").glob("offline-run-*/*.wandb"))
    assert len({file.name for file in files}) == 1
    steps: dict[str, list[int]] = defaultdict(list)
    for file in files:
        for figures in histories(file):
            for name in ("train/loss", "validation/loss"):
                if name in figures:
                    steps[name].append(int(figures["step"]))
    assert steps == {"train/loss": STEPS, "validation/loss": [0, 6, 12]}


def histories(file: Path) -> list[dict[str, str]]:
    """The figures that an offline run keeps: records of a LevelDB log, behind a header of 7 bytes."""
    from wandb.proto import wandb_internal_pb2

    data, at, records, part = file.read_bytes(), 7, [], b""
    while at + 7 <= len(data):
        if (left := 32768 - at % 32768) < 7:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + 7])
        part += data[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # whole, or the last part of one
            record = wandb_internal_pb2.Record()
            record.ParseFromString(part)
            records.append(record)
            part = b""
    return [
        {(item.key or "/".join(item.nested_key)): item.value_json for item in record.history.item}
        for record in records
        if record.WhichOneof("record_type") == "history"
    ]


def test_where_a_run_is_tracked_makes_no_other_run(stopped: tuple[Place, TrainResult]) -> None:
    place, result = stopped
    again = place.train(optimisation={**HOW, "epochs": 2}, tracking="none")
    assert again.reused
    assert again.folder == result.folder
    assert "tracking" not in result.record.config
