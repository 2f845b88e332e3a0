"""OpenAI's guide of a fine-tuning job, step by step by its client: `dabt serve` on the real engine, its own worker."""

from __future__ import annotations

import base64
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest

from lifecycle.access.keys import KeyGrant
from lifecycle.home import Home
from lifecycle.registry import Registry
from tests.service.dabt_serve import REPOSITORY, served, wait_until_ready

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

BASE = REPOSITORY / "examples/clinic/base_model"
ROWS = (REPOSITORY / "examples/clinic/data/triage/train.jsonl").read_text(encoding="utf-8").splitlines()
ASKED = json.loads(ROWS[40])["messages"][:2]
STEPS = {"n_epochs": 2, "batch_size": 6, "learning_rate_multiplier": 2}
ENDED = ("succeeded", "failed", "cancelled")


def jsonl(rows: list[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def conversations(start: int, end: int) -> bytes:
    return jsonl([{"messages": json.loads(row)["messages"]} for row in ROWS[start:end]])


def pairs(start: int, end: int) -> bytes:
    return jsonl(
        [
            {
                "input": {"messages": (turns := json.loads(row)["messages"])[:-1]},
                "preferred_output": turns[-1:],
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

    def ended(self, ask: Callable[[], Any]) -> Any:
        """The job once it has ended, asked for as often as callers do."""
        while (job := ask()).status not in ENDED:
            time.sleep(0.2)  # between two askings of another process
        assert job.status == "succeeded", (job.error, self.log.read_text(errors="replace")[-3000:])
        return job


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Walk]:
    root = tmp_path_factory.mktemp("walk")
    home, log = Home.at(root / "home"), root / "service.log"
    with Registry.open(home.registry_url) as registry:
        _, key = registry.keys.create(KeyGrant(name="amal", role="trainer"), actor="test")
    with served(str(BASE), home.root, log, "--worker", "--embedding-model", "none") as (process, url):
        wait_until_ready(process, url, log)
        yield Walk(url, key, home, log)


def test_a_supervised_job_from_file_to_answer(walk: Walk) -> None:
    client = walk.openai
    file = client.files.create(file=("train.jsonl", conversations(0, 12)), purpose="fine-tune")
    held = client.files.create(file=("held.jsonl", conversations(20, 24)), purpose="fine-tune")
    assert client.files.wait_for_processing(file.id).status == "processed"
    job = client.fine_tuning.jobs.create(
        model="base_model",
        training_file=file.id,
        validation_file=held.id,
        suffix="triage",
        seed=3,
        method={"type": "supervised", "supervised": {"hyperparameters": STEPS}},
    )
    done = walk.ended(lambda: client.fine_tuning.jobs.retrieve(job.id))
    assert done.fine_tuned_model == f"ft:base_model:dabt:triage:{job.id[-8:]}"
    checkpoints = list(client.fine_tuning.jobs.checkpoints.list(job.id))
    assert [each.step_number for each in checkpoints] == [4, 2]
    for name in (done.fine_tuned_model, *(each.fine_tuned_model_checkpoint for each in checkpoints)):
        answer = client.chat.completions.create(model=name, messages=ASKED, max_tokens=8)
        assert answer.model == name
        assert answer.choices[0].message.content
    (figures,) = done.result_files
    table = base64.b64decode(client.files.content(figures).read()).decode().splitlines()
    assert table[0] == "step,train_loss,train_accuracy,valid_loss,valid_mean_token_accuracy"
