"""What a job's run tells: figures by OpenAI's names, and when it will be done."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from lifecycle.jobs.nouns import Hyperparameters, Job, JobEvent, JobProgress, JobRequest
from lifecycle.jobs.states import JobState
from training.jobs.leaving import table
from training.jobs.plan import JobFiles, plan, settled, told_elsewhere
from training.jobs.watching import JobWatcher, figures_of
from training.jobs.worker import Lease, Pauses
from training.progress import Pace, Point

WANDB = {"type": "wandb", "wandb": {"project": "clinic", "name": None, "entity": "team", "tags": ["a"]}}


def job(**request: object) -> Job:
    return Job(
        id="ftjob-0123456789",
        owner="amal",
        state=JobState.RUNNING,
        base="sha256:" + "0" * 64,
        name="triage",
        request=JobRequest.model_validate({"model": "tiny", "training_file": "file-a", "seed": 1, **request}),
        created_at=datetime.now(UTC),
    )


def watcher(of: Job, folder: Path, clock: list[float]) -> JobWatcher:
    return JobWatcher(of, folder, Hyperparameters(), seal=lambda: None, pace=Pace(lambda: clock[0]))


def test_the_estimated_finish_is_told_from_the_second_step_and_follows_the_pace(tmp_path: Path) -> None:
    clock = [0.0]
    watch = watcher(job(), tmp_path, clock)
    watch.step(1, 100)
    assert watch.progress().estimated_finish is None
    for at, step, left in ((10.0, 2, 980.0), (40.0, 3, 1940.0)):
        clock[0] = at
        watch.step(step, 100)
        told = watch.progress().estimated_finish
        assert told is not None
        assert abs(told - datetime.now(UTC) - timedelta(seconds=left)) < timedelta(seconds=30)
        assert (watch.progress().step, watch.progress().total_steps) == (step, 100)


def test_events_and_checkpoints_have_losses_and_token_accuracies(tmp_path: Path) -> None:
    watch = watcher(job(), tmp_path, [0.0])
    watch.step(4, 8)
    watch.loss("train", Point(4, 0.5, 0.7, {"mean_token_accuracy": 0.8, "learning_rate": 1e-4}))
    watch.loss("validation", Point(4, 0.5, 0.9, {"mean_token_accuracy": 0.6}))
    first, second = watch.events
    assert first.data == {"step": 4, "total_steps": 8, "train_loss": 0.7, "train_mean_token_accuracy": 0.8}
    assert second.data == {
        "step": 4,
        "total_steps": 8,
        "valid_loss": 0.9,
        "valid_mean_token_accuracy": 0.6,
        "full_valid_loss": 0.9,
        "full_valid_mean_token_accuracy": 0.6,
    }
    assert [event.message for event in watch.events] == [
        "Step 4/8: training loss=0.70",
        "Step 4/8: validation loss=0.90",
    ]
    assert table(watch.figures).splitlines() == [
        "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy",
        "4,0.7,0.8,0.9,0.6",
    ]


def test_a_figure_that_is_not_known_is_left_out(tmp_path: Path) -> None:
    assert figures_of("validation", {"loss": 0.5, "mean_token_accuracy": None}) == {
        "valid_loss": 0.5,
        "full_valid_loss": 0.5,
    }
    assert table({1: {"train_loss": 0.5}}).splitlines()[1] == "1,0.5,,,"


def test_figures_that_another_worker_told_are_not_told_again_and_those_that_it_did_not_are(tmp_path: Path) -> None:
    """It was at step 5, and was lost before it told of the validation at 4 and of the training at 5."""
    before = job().model_copy(update={"progress": JobProgress(step=5)})
    watch = watcher(before, tmp_path, [0.0])
    watch.told = {"step": 4, "total_steps": 4, "train_loss": 4, "valid_loss": 2, "full_valid_loss": 2}
    for step in (2, 4, 5):
        watch.loss("train", Point(step, 0.5, 0.7))
        watch.loss("validation", Point(step, 0.5, 0.7))
    assert [event.message for event in watch.events] == [
        "Step 4: validation loss=0.70",
        "Step 5: training loss=0.70",
        "Step 5: validation loss=0.70",
    ]


def test_an_integration_is_a_tracker_kept_offline_where_there_is_no_key(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    asked = job(integrations=[WANDB])
    expected = {"type": "wandb", "project": "clinic", "entity": "team", "tags": ["a"], "name": asked.id}
    trackers, note = told_elsewhere(asked)
    assert trackers == [{**expected, "mode": "offline"}]
    assert "wandb sync" in note
    monkeypatch.setenv("WANDB_API_KEY", "k")
    assert told_elsewhere(asked) == ([{**expected, "mode": None}], "")
    several = asked.request.model_copy(
        update={"integrations": (WANDB, {"type": "wandb", "wandb": {"project": "other"}}, WANDB)}
    )
    projects = [tracker["project"] for tracker in told_elsewhere(asked.model_copy(update={"request": several}))[0]]
    assert projects == ["clinic", "other"]
    assert told_elsewhere(job()) == ([], "")
    monkeypatch.setattr("training.jobs.plan.find_spec", lambda name: None)
    assert told_elsewhere(asked) == ([], "This worker has no wandb: nothing is told to Weights & Biases")


@pytest.mark.parametrize(("asked", "rank"), [({}, 16), ({"lora_rank": "auto"}, 16), ({"lora_rank": 8}, 8)])
def test_the_rank_that_was_asked_for_is_that_of_the_run(asked: dict[str, object], rank: int, tmp_path: Path) -> None:
    of = job(hyperparameters=asked)
    for name in ("config.json", "rows.jsonl"):
        (tmp_path / name).write_text("{}")
    run = plan(of, JobFiles(tmp_path / "rows.jsonl"), tmp_path, settled(of, 100))
    assert run.config.method.model_dump()["r"] == rank
    assert "lora_rank" not in job().request.hyperparameters.model_dump(), "other releases read what nobody asked for"


def test_the_bases_own_loss_is_told_once_whichever_worker_goes_on(tmp_path: Path) -> None:
    before = Point(0, 0.0, 2.5, {"mean_token_accuracy": 0.1})
    watch = watcher(job(), tmp_path, [0.0])
    watch.loss("validation", before)
    watch.loss("train", Point(0, 0.0, 2.4, {}))
    (event,) = watch.events
    assert event.data == {"base_valid_loss": 2.5}
    again = watcher(job(), tmp_path, [0.0])
    again.told = {"base_valid_loss": 0}
    again.loss("validation", before)
    assert list(again.events) == []


def test_what_a_run_says_last_is_told_however_seldom_the_worker_gives_a_sign_of_life() -> None:
    told: list[JobEvent] = []
    leases = SimpleNamespace(tell=lambda id_, name, events: told.extend(events))
    shelf = SimpleNamespace(registry=SimpleNamespace(leases=leases))
    worker = SimpleNamespace(shelf=shelf, pauses=Pauses(beat=3600.0), stop=threading.Event(), name="worker")
    with Lease(worker, job()) as lease:  # type: ignore[arg-type]
        lease.events.append(JobEvent(message="Step 1"))
        lease.tell()
        lease.events.append(JobEvent(message="Step 2"))
    assert [event.message for event in told] == ["Step 1", "Step 2"]
