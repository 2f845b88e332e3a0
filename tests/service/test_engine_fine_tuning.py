"""OpenAI's guide of a fine-tuning job, step by step by its clients: `dabt serve` on the real engine, its own worker."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from evals.gate.suites import make_gate
from lifecycle.access.keys import KeyGrant
from lifecycle.home import Home
from lifecycle.registry import Registry
from tests.service import node_client
from tests.service.dabt_serve import REPOSITORY, served, wait_until_ready

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

CLINIC = REPOSITORY / "examples/clinic"
ROWS = [json.loads(line) for line in (CLINIC / "data/triage/train.jsonl").read_text(encoding="utf-8").splitlines()]
ASKED = ROWS[40]["messages"][:2]
BEFORE = "3.51.0"
"""The release of OpenAI's Python client before the one in the lock file."""
ENDED = ("succeeded", "failed", "cancelled")
HEAD = "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
EVALUATION = """
name: triage
task: few
task_files: tasks
base: {base}
metric: valid_json
policy: policy.yaml
noise_items: 0
arms:
  base: {{prompt: {{system: {system}}}}}
  adapter: {{version: triage:newest}}
"""
TASK = """
task: few
custom_dataset: !function evals.chat_rows.dataset
dataset_kwargs: {data: ../few.jsonl}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: target
generation_kwargs: {until: [], max_gen_toks: 8}
metric_list:
  - {metric: valid_json, required: [intent]}
metadata: {version: 1}
"""


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def conversations(start: int, end: int) -> bytes:
    return jsonl([{"messages": row["messages"]} for row in ROWS[start:end]])


def pairs(start: int, end: int) -> bytes:
    return jsonl(
        [
            {
                "input": {"messages": row["messages"][:-1]},
                "preferred_output": row["messages"][-1:],
                "non_preferred_output": [{"role": "assistant", "content": "no"}],
            }
            for row in ROWS[start:end]
        ]
    )


@dataclass(frozen=True)
class Walk:
    """The service, and a trainer's key."""

    url: str
    key: str
    home: Home
    log: Path

    @property
    def openai(self) -> openai.OpenAI:
        return openai.OpenAI(base_url=f"{self.url}/v1", api_key=self.key)

    @property
    def azure(self) -> openai.AzureOpenAI:
        return openai.AzureOpenAI(azure_endpoint=self.url, api_key=self.key, api_version="2025-04-01-preview")

    def ended(self, ask: Callable[[], Any]) -> Any:
        """The job once it has ended, asked for as often as callers do."""
        while (job := ask()).status not in ENDED:
            time.sleep(0.2)  # between two askings of another process
        assert job.status == "succeeded", (job.error, self.log.read_text(errors="replace")[-3000:])
        return job


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    root = tmp_path_factory.mktemp("walk")
    home, log, evals = Home.at(root / "home"), root / "service.log", root / "evals"
    (evals / "tasks").mkdir(parents=True)
    (evals / "tasks/few.yaml").write_text(TASK)
    (evals / "few.jsonl").write_bytes(jsonl(ROWS[60:64]))
    (evals / "policy.yaml").write_text("name: clinic\nrules: [{rule: at_least, value: 0.9}]\n")
    (evals / "triage.yaml").write_text(
        EVALUATION.format(base=CLINIC / "base_model", system=CLINIC / "prompts/triage.txt")
    )
    with Registry.open(home.registry_url) as registry:
        _, key = registry.keys.create(KeyGrant(name="amal", role="trainer"), actor="test")
    flags = ("--worker", "--evals", str(evals), "--embedding-model", "none")
    with served(str(CLINIC / "base_model"), home.root, log, *flags) as (process, url):
        with Registry.open(home.registry_url) as registry:  # while the engine starts
            gate = make_gate("triage", evals / "policy.yaml", [evals / "triage.yaml"], registry, home.cache)
            registry.set_gate(gate, actor="test", reason="for the test")
        wait_until_ready(process, url, log)
        yield Walk(url, key, home, log)


def test_a_supervised_job_from_upload_to_answer_and_verdict(walk: Walk, tmp_path: Path) -> None:
    client, path = walk.openai, tmp_path / "train.jsonl"
    path.write_bytes(conversations(0, 12))
    # 1. The files.
    upload = client.uploads.upload_file_chunked(
        file=path, mime_type="application/jsonl", purpose="fine-tune", part_size=2000
    )
    file = upload.file
    assert file is not None
    held = client.files.create(file=("held.jsonl", conversations(20, 24)), purpose="fine-tune")
    assert client.files.wait_for_processing(file.id).status == "processed"
    # 2. The job.
    job = client.fine_tuning.jobs.create(
        model="base_model",
        training_file=file.id,
        validation_file=held.id,
        suffix="triage",
        seed=3,
        method={
            "type": "supervised",
            "supervised": {"hyperparameters": {"n_epochs": 2, "batch_size": 6, "learning_rate_multiplier": 2}},
        },
        metadata={"dabt_eval": "triage"},
        integrations=[{"type": "wandb", "wandb": {"project": "clinic"}}],
    )
    done = walk.ended(lambda: client.fine_tuning.jobs.retrieve(job.id))
    assert done.fine_tuned_model == f"ft:base_model:dabt:triage:{job.id[-8:]}"
    assert done.trained_tokens
    # 3. What it told on its way.
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=10))[::-1]
    said = [event.message for event in events]
    assert said[:2] == [f"Created fine-tuning job: {job.id}", "Validating training file"]
    assert said[-1] == "The job has successfully completed"
    assert any("no key of Weights & Biases" in line for line in said)
    assert [*walk.home.runs.glob("triage-*/wandb/offline-run-*")]
    told = [event.data for event in events if event.type == "metrics"]
    assert {data["step"] for data in told} == {1, 2, 3, 4}  # type: ignore[index]
    assert {*told[0]} == {"step", "total_steps", "train_loss", "train_mean_token_accuracy"}  # type: ignore[misc]
    # 4. Its checkpoints, each of which answers, as the model does.
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [each.step_number for each in checkpoints] == [4, 2]
    for each in checkpoints:
        metrics = each.metrics.to_dict()
        assert len(metrics) == 7
        assert None not in metrics.values()
    names = [done.fine_tuned_model, *(each.fine_tuned_model_checkpoint for each in checkpoints)]
    for name in names:
        answer = client.chat.completions.create(model=name, messages=ASKED, max_tokens=4)
        assert answer.model == name
        assert answer.choices[0].message.content
    # 5. Its figures.
    (figures,) = done.result_files
    table = base64.b64decode(client.files.content(figures).read()).decode().splitlines()
    assert table[0] == HEAD
    assert all(table[3].split(","))  # step 2 ends an epoch
    # 6. The verdict of the evaluation that it asked for.
    verdict = done.to_dict()["dabt"]["evaluation"]
    assert (verdict["name"], verdict["ruling"]) == ("triage", "failed"), verdict  # after four steps
    assert said[-2] == f"Evaluation triage: failed; {verdict['opens']}"
    assert "did not pass" in verdict["opens"]
    with Registry.open(walk.home.registry_url) as registry:
        version = done.to_dict()["dabt"]["version"]
        assert [each.digest for each in registry.verdicts(version)] == [verdict["verdict"]]
        assert registry.version(version).state == "rejected"
        assert [key.name for key in registry.keys.all() if key.revoked_at is None] == ["amal"]
    # 7. What it made is listed, and goes when it is deleted.
    assert {*names} <= {model.id for model in client.models.list()}
    assert client.models.delete(names[-1]).deleted
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model=names[-1], messages=ASKED)
    assert names[-1] not in {model.id for model in client.models.list()}


@pytest.mark.parametrize("whose", ["azure", "openai"])
def test_a_dpo_job_from_file_to_answer(walk: Walk, whose: str) -> None:
    """Asked for by each client with the same seed, so that it is trained once."""
    client: openai.OpenAI = getattr(walk, whose)
    file = client.files.create(file=("pairs.jsonl", pairs(0, 10)), purpose="fine-tune")
    assert client.files.wait_for_processing(file.id).status == "processed"
    job = client.fine_tuning.jobs.create(
        model="base_model",
        training_file=file.id,
        suffix="preferred",
        seed=5,
        method={"type": "dpo", "dpo": {"hyperparameters": {"n_epochs": 1, "batch_size": 10, "beta": 0.2}}},
    )
    done = walk.ended(lambda: client.fine_tuning.jobs.retrieve(job.id))
    assert (done.method.type, done.method.dpo.hyperparameters.beta) == ("dpo", 0.2)  # type: ignore[union-attr]
    (checkpoint,) = client.fine_tuning.jobs.checkpoints.list(job.id)
    for name in (done.fine_tuned_model, checkpoint.fine_tuned_model_checkpoint):
        answer = client.chat.completions.create(model=name or "", messages=ASKED, max_tokens=4)
        assert answer.choices[0].message.content
    (figures,) = done.result_files
    assert base64.b64decode(client.files.content(figures).read()).decode().startswith(HEAD)


def test_a_supervised_job_from_file_to_answer_by_azures_client(walk: Walk) -> None:
    client = walk.azure
    file = client.files.create(file=("rows.jsonl", conversations(0, 10)), purpose="fine-tune")
    supervised: Any = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 1, "batch_size": 10}}}
    job = client.fine_tuning.jobs.create(model="base_model", training_file=file.id, suffix="azure", method=supervised)
    done = walk.ended(lambda: client.fine_tuning.jobs.retrieve(job.id))
    events = list(client.fine_tuning.jobs.list_events(job.id, limit=3))
    assert events[0].message == "The job has successfully completed"
    answer = client.chat.completions.create(model=done.fine_tuned_model or "", messages=ASKED, max_tokens=4)
    assert (answer.model, bool(answer.choices[0].message.content)) == (done.fine_tuned_model, True)
    (figures,) = done.result_files
    assert base64.b64decode(client.files.content(figures).read()).decode().startswith(HEAD)


def check(said: dict[str, Any]) -> None:
    """Of a client that went its own way, in a process of its own."""
    assert (said["file"], said["status"], said["error"]) == ("processed", "succeeded", None)
    assert said["answered_by"] == said["model"]
    assert said["answer"]
    assert said["events"][0] == "The job has successfully completed"
    assert len(said["events"]) > 10
    assert said["checkpoints"] == [1]
    assert said["table"].startswith(HEAD)
    assert (said["cancelled"], said["deleted"]) == ("cancelled", True)
    assert said["jobs"][:2] == said["ids"]


def test_the_node_client_walks_the_same_way(walk: Walk, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(conversations(0, 11))
    (tmp_path / "pairs.jsonl").write_bytes(pairs(0, 10))
    rows, preferences = str(tmp_path / "rows.jsonl"), str(tmp_path / "pairs.jsonl")
    said = node_client.run("jobs.mjs", f"{walk.url}/v1", walk.key, rows, "base_model", preferences)
    check(said)
    assert (said["upload"], said["same"], said["files"] > 1) == ("completed", True, True)
    assert (said["dpo"]["status"], said["dpo"]["called"]) == ("succeeded", True)
    assert said["dpo"]["method"]["dpo"]["hyperparameters"]["beta"] == 0.2
    assert said["stops"] == ["paused", "queued"]
    assert said["refused"] == {"name": "BadRequestError", "status": 400, "code": "invalid_job_state"}


def test_the_python_client_of_one_release_before_walks_the_same_way(walk: Walk, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(conversations(0, 11))
    installed = tmp_path / "before"
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(installed)]
    made = subprocess.run([*pip, f"openai=={BEFORE}"], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"openai {BEFORE} cannot be had: {made.stderr.strip()[-300:]}")
    program = str(Path(__file__).parent / "fine_tuning/walk_client.py")
    arguments = [f"{walk.url}/v1", walk.key, str(tmp_path / "rows.jsonl"), "base_model"]
    done = subprocess.run(
        [sys.executable, program, *arguments],
        env={**os.environ, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["client"] == BEFORE
    check(said)
