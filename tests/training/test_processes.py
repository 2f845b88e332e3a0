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
from tests.training.methods_at_work import place_of, prepare, stopping
from tests.training.test_train import Recorder
from training import processes, sharding
from training.optimisation import OptimisationSettings

pytestmark = [pytest.mark.e2e, pytest.mark.usefixtures("libraries", "undrawn")]  # imports torch and trains

HERE = Path(__file__).parents[2]
SHARED = ("lora", "packing and a mixture", "full", "dpo", "classification", "lora, fsdp", "full, fsdp")
TORCHRUN = ("torch.distributed.run", "--nproc-per-node", "2", "-m")
ACCELERATE = ("accelerate.commands.launch", "--multi_gpu", "--num_processes", "2", "-m")
"""It means several processes by that, on processors too."""


def by_two(*words: str, launcher: tuple[str, ...] = TORCHRUN) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *launcher, *words],
        cwd=HERE,
        env={**os.environ, "PYTHONPATH": str(HERE)},
        check=False,
        capture_output=True,
        text=True,
        timeout=500,
    )


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory, bases: Callable[..., Path]) -> Path:
    """A folder in which two processes made the run of every such case.

    `lora` they go on with where one stopped, and stop `packing and a mixture` and `full, fsdp` themselves, the latter
    inside the second epoch.
    """
    folder = prepare(tmp_path_factory.mktemp("shared") / "place", bases())
    place, settings = place_of(folder, "lora", "shared")
    with stopping(4):
        place.train(**settings)
    told = [*SHARED[:1], "packing and a mixture@8", *SHARED[2:6], "full, fsdp@5", "full, fsdp"]
    done = by_two("tests.training.methods_at_work", str(folder), *told, launcher=ACCELERATE)
    assert done.returncode == 0, done.stderr
    return folder


def losses(run: Path) -> list[tuple[str, int, float]]:
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [(entry["kind"], entry["step"], entry["loss"]) for entry in log]


@pytest.mark.parametrize("name", SHARED)
def test_two_processes_have_the_losses_of_one(shared: Path, name: str) -> None:
    """21 rows in batches of 4: the last is a short one, of which the second process has nothing.

    What two began one ends, and the other way round.
    """
    place, settings = place_of(shared, name.removesuffix(", fsdp"), "alone")
    alone = place.train(**settings)
    together, settings = place_of(shared, name, "shared")
    if name == "packing and a mixture":
        watch = Recorder()
        together.train(watch, **settings)
        assert "training, on from checkpoint-7" in watch.stages
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


@pytest.mark.parametrize("name", SHARED)
def test_checkpoints_have_the_weights_shared_out_where_that_was_asked_for(shared: Path, name: str) -> None:
    together, _ = place_of(shared, name, "shared")
    saved = (together.home.root / "saved.txt").read_text().splitlines()
    assert len(saved) > 2
    assert {"pytorch_model_fsdp.bin" in line for line in saved} == {name.endswith("fsdp")}


def test_a_run_goes_on_with_its_weights_shared_out_or_not_as_it_began(shared: Path) -> None:
    place, settings = place_of(shared, "lora, fsdp", "alone")
    with pytest.raises(InvalidConfig, match="this run is one process"):
        place.train(**settings)
    (shared / "checkpoint-4").mkdir()
    sharding.require_same(shared / "checkpoint-4", fsdp=False)
    with pytest.raises(InvalidConfig, match=r"checkpoint-4 was made with whole weights → write false"):
        sharding.require_same(shared / "checkpoint-4", fsdp=True)
    (shared / "checkpoint-4" / "pytorch_model_fsdp.bin").touch()
    with pytest.raises(InvalidConfig, match=r"made with shared-out weights → write true to go on"):
        sharding.require_same(shared / "checkpoint-4", fsdp=False)


@pytest.mark.parametrize(
    ("name", "value", "cure"),
    [
        ("ACCELERATE_USE_FSDP", "true", "optimisation.fsdp: true"),
        ("ACCELERATE_MIXED_PRECISION", "bf16", "optimisation.precision"),
        ("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4", "optimisation.accumulation"),
        ("ACCELERATE_USE_DEEPSPEED", "True", "optimisation.fsdp: true"),
    ],
)
def test_what_a_launcher_says_of_the_result_is_to_be_written_into_the_configuration(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, cure: str
) -> None:
    how = OptimisationSettings()
    for nothing in ("no", "false", "1"):
        monkeypatch.setenv(name, nothing)
        sharding.require_possible(how)
    monkeypatch.setenv(name, value)
    with pytest.raises(InvalidConfig, match=f"{name}: is {value}.*{cure}"):
        sharding.require_possible(how)


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
def test_every_process_takes_as_many_rows_as_any_other_and_none_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    shares = []
    for rank in range(4):
        monkeypatch.setenv("RANK", str(rank))
        shares.append(processes.share("abcdef"))
    assert shares == [["a", "e"], ["b", "f"], ["c", "a"], ["d", "b"]]


@pytest.mark.usefixtures("second_of_four")
def test_a_process_knows_its_place_from_the_environment() -> None:
    assert (processes.count(), processes.on_this_machine(), processes.is_first()) == (4, 2, False)
    assert [processes.missing(rows, 8) for rows in (0, 1, 7, 8, 9)] == [0, 7, 1, 0, 7]
    processes.require_shares(8)
    with pytest.raises(InvalidConfig, match=r"optimisation\.batch_size: a batch of 6 rows .* by 4 processes"):
        processes.require_shares(6)
