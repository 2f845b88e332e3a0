"""What callers wait for while a fine-tuning job trains on the same machine: `python -m benchmarks.beside_a_job`.

One `dabt serve` over the clinic's base with the worker that it starts. The same requests are made without a job and
beside one, by turns, and the ratio of each pair of turns is printed: the median of the turns, and their range.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import httpx
import numpy

from benchmarks import load, machine
from benchmarks.load import Ask, Run
from benchmarks.servers import Recipe, Server
from lifecycle.home import Home

CLINIC = Path(__file__).parents[1] / "examples/clinic"
ROWS = CLINIC / "data/triage/train.jsonl"
TOKENS = 32
_LET_GO = 8.0
"""Seconds after which a worker has let go of a job that was cancelled: it does so after its next sign of life."""


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--turns", type=int, default=4)
    parser.add_argument("--requests", type=int, default=100, help="of a turn")
    parser.add_argument("--concurrent", type=int, default=2, help="in flight at a time")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        home = Home.at(Path(root) / "home")
        command = [sys.executable, "-m", "dabt", "serve", "--base", str(CLINIC / "base_model"), "--worker"]
        command += ["--home", str(home.root), "--kv-cache-gib", "0.5"]
        with Server(Recipe("dabt", tuple(command), {}, "/ready"), Path(root)) as server:
            told = measure(server.url, given.turns, given.requests, given.concurrent)
    print(json.dumps(machine.facts()["processor"]), machine.facts()["cores"], "cores")
    print(table(*told))


def measure(url: str, turns: int, requests: int, concurrent: int) -> tuple[list[Run], list[Run]]:
    """The runs without a job, and those beside one."""
    texts = [json.loads(line)["messages"][1]["content"] for line in ROWS.read_text(encoding="utf-8").splitlines()]
    work = [Ask("base_model", text, TOKENS) for text in texts[:requests]]
    load.run(url, work, concurrent)  # warm
    alone, beside = [], []
    with httpx.Client(base_url=f"{url}/v1", timeout=60) as client:
        rows = "".join(json.dumps({"messages": json.loads(line)["messages"]}) + "\n" for line in _lines(200))
        sent = client.post("/files", files={"file": ("rows.jsonl", rows)}, data={"purpose": "fine-tune"})
        for turn in range(turns):
            alone.append(load.run(url, work, concurrent))
            job = begun(client, {"model": "base_model", "training_file": sent.json()["id"], "seed": turn})
            beside.append(load.run(url, work, concurrent))
            assert client.get(f"/fine_tuning/jobs/{job}").json()["status"] == "running", (
                "it ended while it was measured"
            )
            client.post(f"/fine_tuning/jobs/{job}/cancel").raise_for_status()
            time.sleep(_LET_GO)
    return alone, beside


def begun(client: httpx.Client, asked: dict[str, Any]) -> str:
    """The id of a job that makes steps by now, and does so for long."""
    hyper = {"n_epochs": 50, "batch_size": 8}
    job = client.post("/fine_tuning/jobs", json={**asked, "hyperparameters": hyper}).raise_for_status().json()
    while (job := client.get(f"/fine_tuning/jobs/{job['id']}").json())["estimated_finish"] is None:
        assert job["status"] not in ("failed", "succeeded"), job["error"]
        time.sleep(0.5)  # between two askings of another process
    return str(job["id"])


def table(alone: Sequence[Run], beside: Sequence[Run]) -> str:
    """In Markdown; times in milliseconds."""
    lines = ["| | without a job | beside a job | ratio (range) |", "|---|---|---|---|"]
    for what, of in (("first token", first_tokens), ("whole answer", whole)):
        for name, quantile in (("p50", 0.5), ("p95", 0.95)):
            pairs = [
                (float(numpy.quantile(of(one), quantile)), float(numpy.quantile(of(two), quantile)))
                for one, two in zip(alone, beside, strict=True)
            ]
            ratios = sorted(with_job / without for without, with_job in pairs)
            times = [f"{1000 * median(side):.0f} ms" for side in zip(*pairs, strict=True)]
            spread = f"{median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f})"
            lines.append(f"| {what}, {name} | {' | '.join(times)} | {spread} |")
    failed = [sum(len(run.failed) for run in runs) for runs in (alone, beside)]
    lines.append(f"| requests failed | {failed[0]} | {failed[1]} | |")
    return "\n".join(lines)


def first_tokens(run: Run) -> list[float]:
    return [told.first for told in run.told if told.first is not None]


def whole(run: Run) -> list[float]:
    return [told.ended - told.began for told in run.told if not told.error]


def _lines(count: int) -> list[str]:
    return ROWS.read_text(encoding="utf-8").splitlines()[:count]


if __name__ == "__main__":
    main()
