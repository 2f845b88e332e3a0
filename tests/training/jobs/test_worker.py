"""The worker, for real: jobs become drafts, go on where they were, and leave nothing when they are stopped."""

from __future__ import annotations

import base64
import shutil
import signal
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from lifecycle.jobs.nouns import Hyperparameters, Job, JobCheckpoint
from lifecycle.jobs.states import JobState
from tests.training.jobs.queued import ALL, Queue
from training.jobs.worker import Worker

pytestmark = [
    pytest.mark.e2e,
    pytest.mark.timeout(300),
    pytest.mark.usefixtures("libraries", "undrawn"),
]  # imports torch and trains


def test_a_supervised_job_becomes_a_draft_with_checkpoints_figures_and_an_account(
    queue: Queue, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers import AutoModelForCausalLM

    load, loaded = AutoModelForCausalLM.from_pretrained, []
    monkeypatch.setattr(
        AutoModelForCausalLM, "from_pretrained", lambda base, **more: loaded.append(base) or load(base, **more)
    )
    job = queue.ask(queue.file(colours(48)), validation_file=queue.file(colours(8, start=100)))
    queue.worker().run(once=True)
    done = queue.job(job)
    assert (done.state, done.holder, done.result.fault) == (JobState.SUCCEEDED, "", None)
    assert done.result.model == f"ft:tiny:dabt:triage:{job.id[-8:]}"
    version = queue.registry.version(done.result.version)
    assert (version.state, version.lineage.source) == ("draft", "training")
    manifest = queue.registry.adapter(version.spec.adapter)
    assert manifest.golden
    assert manifest.metrics["eval_loss"] < 0.8 * manifest.metrics["base_eval_loss"]
    assert done.result.trained_tokens == round(manifest.metrics["learnt_tokens"] * 4)
    assert done.progress.hyperparameters == job.request.hyperparameters.model_copy(update={"beta": None})
    # The last three of four epochs, and no more.
    checkpoints = queue.registry.jobs.checkpoints(job.id, "amal", ALL).items
    assert [each.step for each in checkpoints] == [24, 18, 12]
    proofs = {}
    for each in checkpoints:
        assert queue.registry.jobs.tuned(each.model).version == each.version
        golden = queue.registry.adapter(queue.registry.version(each.version).spec.adapter).golden
        proofs[each.version] = [prompt.adapter_logprobs for prompt in golden]
        assert [prompt.prompt_ids for prompt in golden] == [prompt.prompt_ids for prompt in manifest.golden]
        assert each.metrics["full_valid_loss"] == each.metrics["valid_loss"] > 0
    assert len(set(map(str, proofs.values()))) == 3  # each by its own weights
    assert loaded.count(queue.base) == 3  # to train, for the model's golden prompts, and for those of the others
    # The last epoch was the best, so it is the version itself.
    assert [each.version for each in checkpoints] == ["triage:1", "triage:3", "triage:2"]
    assert queue.registry.version("triage:2").lineage.note == f"the checkpoint at step 12 of {job.id}"
    assert queue.registry.jobs.tuned(done.result.model).owner == "amal"
    # What users decode.
    (figures,) = done.result.result_files
    file = queue.registry.files.get(figures, "amal")
    table = base64.b64decode((queue.shelf.store.get(file.digest) / figures).read_bytes()).decode().splitlines()
    assert table[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
    assert [line.split(",")[0] for line in table[1:]] == [str(step) for step in range(25)]
    said = queue.said(job)
    for line in ("Files validated, moving job to queued state", "Fine-tuning job started", "Publishing"):
        assert line in said
    assert said[-1] == "The job has successfully completed"
    assert any("dabt gate set triage" in line for line in said)
    told = [event.data for event in queue.registry.jobs.events(job.id, None, ALL).items if event.data]
    assert sorted({data["step"] for data in told if "step" in data}) == list(range(1, 25))
    assert [data for data in told if "step" not in data] == [{"base_valid_loss": manifest.metrics["base_eval_loss"]}]
    assert not (queue.home.root / "jobs" / job.id).exists()
    check_equal_jobs(queue, job, checkpoints)
    assert loaded.count(queue.base) == 3  # nothing was trained again


def check_equal_jobs(queue: Queue, job: Job, checkpoints: Sequence[JobCheckpoint]) -> None:
    """An equal job has all of it too, under names of its own; not where its model was deleted for good."""
    version = queue.job(job).result.version
    files = {"file": job.request.training_file, "validation_file": job.request.validation_file}
    again = queue.ask(**files)
    queue.worker().run(once=True)
    same = queue.job(again)
    assert (same.state, same.result.version) == (JobState.SUCCEEDED, version)
    theirs = queue.registry.jobs.checkpoints(again.id, "amal", ALL).items
    assert [(each.step, each.version, each.metrics) for each in theirs] == [
        (each.step, each.version, each.metrics) for each in checkpoints
    ]
    for each in theirs:
        assert each.model == f"{same.result.model}:ckpt-step-{each.step}"
        assert queue.registry.jobs.tuned(each.model).version == each.version
    told = [event.data for event in queue.registry.jobs.events(again.id, None, ALL).items if event.data]
    assert sorted({data["step"] for data in told}) == list(range(1, 25))
    assert {name for data in told for name in data} >= {"train_loss", "valid_loss", "full_valid_loss", "total_steps"}
    assert "A job with the same rows and settings has trained this model before" in queue.said(again)
    queue.registry.retire(version, actor="amal", reason="for the test")
    late = queue.ask(**files)
    queue.worker().run(once=True)
    fault = queue.job(late).result.fault
    assert f"{version}, which an equal job has made, was deleted" in fault.message
    assert "seed" in fault.message


def test_a_dpo_job_learns_from_pairs_and_one_goes_on_from_another(queue: Queue, colours: Any) -> None:
    first = queue.ask(queue.file(colours(48)))
    pairs = [
        {
            "input": {"messages": row["messages"][:1]},
            "preferred_output": row["messages"][1:],
            "non_preferred_output": [{"role": "assistant", "content": "none"}],
        }
        for row in colours(24)
    ]
    queue.worker().run(once=True)
    start = queue.job(first).result.version
    hyper = Hyperparameters(n_epochs=1, batch_size="auto", learning_rate_multiplier=1.0, beta="auto")
    second = queue.ask(queue.file(pairs), method="dpo", hyperparameters=hyper, start=start)
    queue.worker().run(once=True)
    done = queue.job(second)
    assert done.result.fault is None
    assert done.progress.hyperparameters == Hyperparameters(
        n_epochs=1, batch_size=2, learning_rate_multiplier=1.0, beta=0.1
    )
    version = queue.registry.version(done.result.version)
    # Of both answers, in the one epoch: as many as a row of each would learn.
    manifest = queue.registry.adapter(version.spec.adapter)
    assert done.result.trained_tokens == manifest.metrics["learnt_tokens"] > 0
    assert version.lineage.started_from == queue.registry.version(start).spec.adapter


def test_files_that_cannot_be_trained_on_fail_the_job_with_line_and_field(queue: Queue, colours: Any) -> None:
    rows = colours(12)
    rows[2] = {"messages": [{"role": "user", "content": "سؤال بلا جواب"}]}
    rows[5] = {"messages": [{"role": "user", "content": 7}, {"role": "assistant", "content": "x"}]}
    bad, few, leak = queue.ask(queue.file(rows)), queue.ask(queue.file(colours(9))), queue.file(colours(12))
    leaky = queue.ask(leak, validation_file=leak)
    wrong = queue.ask(queue.file(colours(12)), method="dpo")
    queue.worker().run(once=True)
    fault = queue.job(bad).result.fault
    assert (fault.code, fault.param) == ("invalid_training_file", "training_file")
    assert f"{bad.request.training_file}.jsonl:3: " in fault.message
    assert f"{bad.request.training_file}.jsonl:6: " in fault.message
    assert "content" in fault.message
    assert str(queue.home.root) not in fault.message
    assert queue.job(few).result.fault.code == "invalid_n_examples"
    assert queue.job(leaky).result.fault.code == "invalid_training_file"
    assert "leak" in queue.job(leaky).result.fault.message
    assert "no preference rows" in queue.job(wrong).result.fault.message
    assert queue.registry.versions() == []


def stopping(worker: Worker, at: int, act: Callable[[], object], monkeypatch: pytest.MonkeyPatch) -> None:
    """`act` at the step, and wait until the worker's lease has heard of it."""
    from training.jobs.watching import JobWatcher

    plain = JobWatcher.step

    def step(watch: JobWatcher, done: int, total: int) -> None:
        if done == at:
            act()
            watch.stop.wait(60)
        plain(watch, done, total)

    monkeypatch.setattr(JobWatcher, "step", step)


@pytest.mark.parametrize("to", [JobState.CANCELLED, JobState.PAUSED])
def test_a_job_that_is_stopped_while_it_trains_leaves_nothing_half_registered(
    queue: Queue, colours: Any, to: JobState, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = queue.ask(queue.file(colours(48))), queue.worker()
    stopping(worker, 8, lambda: queue.registry.jobs.move(job.id, to, "amal", actor="amal"), monkeypatch)
    worker.run(once=True)
    monkeypatch.undo()
    assert queue.job(job).state is to
    assert (queue.registry.versions(), queue.registry.jobs.checkpoints(job.id, None, ALL).items) == ([], [])
    assert queue.registry.leases.held([job.base]) == {}
    runs = [path for path in queue.home.runs.iterdir() if path.is_dir()]
    assert len(runs) == (to is JobState.PAUSED)  # what one that can be resumed goes on from stays
    if to is JobState.PAUSED:
        queue.registry.jobs.move(job.id, JobState.QUEUED, "amal", actor="amal")
        queue.worker().run(once=True)
        assert queue.job(job).state is JobState.SUCCEEDED
        assert "Training, on from checkpoint-6" in queue.said(job)


def test_a_worker_that_is_asked_to_stop_gives_its_job_back(
    queue: Queue, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job, worker = queue.ask(queue.file(colours(48))), queue.worker()
    stopping(worker, 8, worker.stop.set, monkeypatch)
    worker.run(once=True)
    monkeypatch.undo()
    given = queue.job(job)
    assert (given.state, given.holder, given.tries) == (JobState.QUEUED, "", 0)
    queue.worker().run(once=True)
    assert queue.job(job).state is JobState.SUCCEEDED


SCRIPT = """
import os, signal, sys
from pathlib import Path
from lifecycle.errors import Unavailable
from lifecycle.home import Home
from lifecycle.publishing import Shelf
from lifecycle.store.artifacts import ArtifactStore
from training.jobs import leaving, worker
from training.jobs.watching import JobWatcher
import training.jobs.files as files

root, base, where = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
home = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

if where == "validating":
    files.look = die
elif where == "running":
    plain = JobWatcher.step
    JobWatcher.step = lambda watch, done, total: die() if done == 8 else plain(watch, done, total)
elif where == "finishing":
    leaving.leave = die
elif where.startswith("store"):
    place, tries = int(where[-1]), []
    plain_put = ArtifactStore.put
    def put(store, folder):
        tries.append(folder)
        if len(tries) == place:
            raise Unavailable("the store cannot be reached")
        return die() if len(tries) > place else plain_put(store, folder)
    ArtifactStore.put = put
pauses = worker.Pauses(poll=0.01, beat=0.01, lapse=0.05)
worker.Worker(home, Shelf.at(home, actor="worker"), base, pauses).run(once=True)
"""


@pytest.mark.parametrize("where", ["validating", "running", "finishing", "store 1", "store 2"])
def test_the_job_of_a_killed_worker_is_done_by_another(
    queue: Queue, colours: Any, where: str, in_child: Callable[..., int]
) -> None:
    job = queue.ask(queue.file(colours(48)))
    assert in_child(SCRIPT, queue.home.root, queue.base, where) == -signal.SIGKILL
    states = {"validating": JobState.VALIDATING, "running": JobState.RUNNING}
    assert queue.job(job).state is states.get(where, JobState.FINISHING)
    # Killed while the store was away: for the model itself, or for the first checkpoint behind it.
    assert len(queue.registry.versions()) == (where in ("store 2", "finishing"))
    clock = iter(range(0, 10_000, 10))
    other = queue.worker(clock=lambda: float(next(clock)))
    other.lapsed()  # it has seen the other's lease before
    other.run(once=True)
    assert queue.job(job).state is JobState.SUCCEEDED
    said = queue.said(job)
    assert ("The worker of this job has gone; another goes on with it" in said) is (where != "validating")
    assert ("Training, on from checkpoint-6" in said) is (where == "running")
    assert queue.results() == 1
    assert len(queue.registry.versions("triage")) == 3  # of the last three epochs, one of which is the best
    model = queue.job(job).result.model
    assert said.count(f"New fine-tuned model created: {model}, which is triage:1, a draft") == 1


def test_a_file_that_is_deleted_while_a_job_reads_it_stays_until_the_job_has_ended(
    queue: Queue, colours: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    id_ = queue.file(colours(48))
    digest = queue.registry.files.get(id_, "amal").digest
    job, worker = queue.ask(id_), queue.worker()
    queue.registry.files.delete(id_, "amal", actor="amal")
    queue.worker()._sweep()
    assert queue.shelf.store.has(digest)
    worker.run(once=True)
    assert queue.job(job).state is JobState.SUCCEEDED
    worker._sweep()
    assert not queue.shelf.store.has(digest)


def test_a_base_that_is_not_there_fails_the_job_with_its_name(queue: Queue, colours: Any, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    shutil.copytree(queue.base, moved)
    job, worker = queue.ask(queue.file(colours(12))), replace(queue.worker(), base=moved)
    worker.validate()
    shutil.rmtree(moved)
    worker.run(once=True)
    fault = queue.job(job).result.fault
    assert (fault.code, "the base moved is not there" in fault.message) == ("base_missing", True)
    assert queue.registry.versions() == []
