"""Two processes make one run: the same losses as one, one record, one word of what is wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from lifecycle.errors import InvalidConfig
from tests.training.methods_at_work import place_of, prepare
from training import processes

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains

HERE = Path(__file__).parents[2]
SHARED = ("lora", "packing and a mixture", "full", "dpo", "classification")


def by_two(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "-m", *words],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, bases: Callable[..., Path]) -> Path:
    """A folder in which two processes made the run of every such case."""
    folder = prepare(tmp_path_factory.mktemp("shared") / "place", bases())
    done = by_two("tests.training.methods_at_work", str(folder), "shared", *SHARED)
    assert done.returncode == 0, done.stderr
    return folder


def losses(run: Path) -> list[tuple[str, int, float]]:
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(entry["kind"], entry["step"], entry["loss"]) for entry in log]


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_have_the_losses_of_one(shared: Path, name: str) -> None:
    """21 rows in batches of 4: the last is a short one, of which the second process has nothing."""
    place, settings = place_of(shared, name, "alone")
    alone = place.train(**settings)
    together, _ = place_of(shared, name, "shared")
    run = together.home.runs / alone.folder.name  # the same name, whatever their number
    kinds, steps, values = zip(*losses(alone.folder), strict=True)
    kinds_of_two, steps_of_two, values_of_two = zip(*losses(run), strict=True)
    assert (kinds_of_two, steps_of_two) == (kinds, steps)
    assert values_of_two == pytest.approx(values, rel=2e-4)
    version = together.shelf.registry.version("colours:1")
    assert version.lineage.run == run.name
    manifest = together.shelf.registry.artifact(version.spec.artifact[1])
    assert manifest.metrics == pytest.approx(alone.record.metrics, rel=2e-4)
    assert [entry.ref for entry in together.shelf.registry.versions()] == ["colours:1"]


def test_what_is_wrong_is_said_once_and_ends_both(tmp_path: Path, bases: Callable[..., Path]) -> None:
    folder = prepare(tmp_path / "place", bases())
    (folder / "run.yaml").write_text(
        "name: colours\nbase: base\ndata: {train: train.jsonl}\noptimisation: {batch_size: 5}\n", encoding="utf-8"
    )
    done = by_two("dabt", "train", str(folder / "run.yaml"), "--home", str(tmp_path / "home"))
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert said.count("a batch of 5 rows cannot be shared evenly by 2 processes") == 1
    assert "Traceback" not in said.split("torch/distributed")[0]
    assert not list((tmp_path / "home").glob("runs/*/run.json"))


def test_one_process_shares_with_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "8")  # left over, without the rest
    monkeypatch.delenv("MASTER_ADDR", raising=False)
    assert (processes.count(), processes.is_first(), processes.missing(21, 4)) == (1, True, 0)
    processes.require_shares(5)


@pytest.fixture
def second_of_four(monkeypatch: pytest.MonkeyPatch) -> None:
    told = {"RANK": "1", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in told.items():
        monkeypatch.setenv(name, value)


@pytest.mark.usefixtures("second_of_four")
def test_a_process_knows_its_place_from_the_environment() -> None:
    assert (processes.count(), processes.on_this_machine(), processes.is_first()) == (4, 2, False)
    assert [processes.missing(rows, 8) for rows in (0, 1, 7, 8, 9)] == [0, 7, 1, 0, 7]
    processes.require_shares(8)
    with pytest.raises(InvalidConfig, match=r"optimisation\.batch_size: a batch of 6 rows .* by 4 processes"):
        processes.require_shares(6)
