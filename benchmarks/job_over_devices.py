"""One fine-tuning job over two devices of a Ray cluster, killed in the middle: `python -m benchmarks.job_over_devices`.

Two nodes on this machine, each with one device, which is the processor: Ray counts it as a GPU, so that no node has
room for both. Gateway, engine and the queue's worker are on the head. The same job is asked for over the API three
times, each time with a home of its own: once it is left alone, once the training's process on the second node is
killed with -9 when the first checkpoint is there, and once all of that node is, and another one is started. The table
says where the job went on, and whether it left the weights of the one that was left alone.
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from subprocess import Popen
from typing import Any

import psutil
import yaml
from openai import OpenAI

from benchmarks.beside_a_job import CLINIC, ROWS
from benchmarks.lost_head import Cluster, free_port, kill
from lifecycle.home import Home
from lifecycle.registry import Registry

_BASE = CLINIC / "base_model"
_ROWS, _EPOCHS, _BATCH = 32, 4, 8
_LOOK_S = 0.2
"""Between two looks at what other processes do."""
_ENDED = ("succeeded", "failed", "cancelled")


@dataclass(frozen=True)
class Outcome:
    """What became of a job."""

    state: str
    steps: list[int]
    """That it told of, in order."""
    went_on: list[str]
    """From which checkpoint."""
    loss: float
    """The last that it told."""
    adapter: str
    """The digest of its weights."""
    seconds: float


class Nodes:
    """The cluster's processes."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._head, self._second = cluster.head(), cluster.worker()

    def kill_process(self) -> None:
        """The one that trains on the second node."""
        training = [each for each in _below(self._second) if "RayTrainWorker" in _command_of(each)]
        assert len(training) == 1, training
        training[0].kill()

    def kill_node(self) -> None:
        """The second one; another comes in its place."""
        kill(self._second)
        self._second = self._cluster.worker()

    def end(self) -> None:
        for node in (self._second, self._head):
            with suppress(psutil.NoSuchProcess):
                kill(node)


def _below(node: Popen[bytes]) -> list[psutil.Process]:
    return list(psutil.Process(node.pid).children(recursive=True))


def _command_of(process: psutil.Process) -> str:
    with suppress(psutil.NoSuchProcess):
        return " ".join(process.cmdline())
    return ""


def deployed(cluster: Cluster, root: Path, port: int) -> Home:
    """The application with a new home, whose queue is empty."""
    root.mkdir()
    home = Home(root=root / "home", registry_url=f"sqlite:///{root}/registry.db", artifacts_url=str(root / "artifacts"))
    home.root.mkdir()
    Registry.open(home.registry_url).close()
    workers = {"least": 1, "most": 1, "devices": 2, "each": {"cpus": 0, "gpus": 1}}
    told = {
        "bases": [{"base": str(_BASE), "engine": "fake", "workers": workers}],
        "serve": {"embedding_model": "none", "ui": False, "log_level": "warning"},
        "home": str(home.root), "registry": home.registry_url, "artifacts": home.artifacts_url, "port": port,
    }  # fmt: skip
    file = root / "cluster.yaml"
    file.write_text(yaml.safe_dump(told))
    cluster.up(file)
    return home


def trained(client: OpenAI, home: Home, disturb: Callable[[], None] | None) -> Outcome:
    """The job, asked for and waited for; `disturb` is called when its first checkpoint is there."""
    rows = (json.loads(line)["messages"] for line in ROWS.read_text(encoding="utf-8").splitlines()[:_ROWS])
    written = "".join(json.dumps({"messages": each}, ensure_ascii=False) + "\n" for each in rows)
    file = client.files.create(file=("rows.jsonl", written.encode()), purpose="fine-tune")
    how: Any = {"n_epochs": _EPOCHS, "batch_size": _BATCH}
    began = time.monotonic()
    job = client.fine_tuning.jobs.create(
        model="base_model", training_file=file.id, suffix="triage", seed=3, hyperparameters=how
    )
    while job.status not in _ENDED:
        if disturb is not None and any(home.runs.glob("*/checkpoints/checkpoint-*/complete")):
            disturb()
            disturb = None
        time.sleep(_LOOK_S)
        job = client.fine_tuning.jobs.retrieve(job.id)
    seconds = time.monotonic() - began
    if job.status != "succeeded" or disturb is not None:
        raise SystemExit(f"the job ended otherwise than it should: {job}")
    told = list(client.fine_tuning.jobs.list_events(job.id, limit=100))[::-1]
    figures: list[Any] = [each.data or {} for each in told]
    losses = [each for each in figures if "train_loss" in each]
    with Registry.open(home.registry_url) as registry:
        adapter = registry.version(registry.jobs.get(job.id, None).result.version).spec.adapter
    assert adapter is not None
    return Outcome(
        job.status,
        [each["step"] for each in losses],
        [each.message.partition("on from ")[2] for each in told if "on from " in each.message],
        losses[-1]["train_loss"],
        adapter,
        seconds,
    )


def row(killed: str, of: Outcome, alone: Outcome) -> str:
    went_on = ", ".join(of.went_on) or "–"
    steps = f"{len(of.steps)}, each once" if of.steps == alone.steps else str(of.steps)
    weights = "the same, byte by byte" if of.adapter == alone.adapter else "others"
    return f"| {killed} | {of.state} | {went_on} | {steps} | {of.loss:.6f} | {weights} | {of.seconds:.0f} s |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        root, port = Path(folder), free_port()
        cluster = Cluster(root, free_port(), "", ["--num-cpus=8", "--num-gpus=1"], ["--num-cpus=0", "--num-gpus=1"])
        cluster.told["DABT_DEVICE"] = "cpu"
        nodes = Nodes(cluster)
        stack.callback(nodes.end)
        client = OpenAI(base_url=f"http://127.0.0.1:{port}/v1", api_key="none is asked for here")
        print(
            "| killed | job | goes on from | steps told | last loss | weights | took |\n|---|---|---|---|---|---|---|"
        )
        alone = None
        for killed, disturb in (("nothing", None), ("a process", nodes.kill_process), ("a node", nodes.kill_node)):
            home = deployed(cluster, root / killed.replace(" ", "-"), port)
            made = trained(client, home, disturb)
            alone = alone or made
            print(row(killed, made, alone), flush=True)


if __name__ == "__main__":
    main()
