"""A machine that has no more memory or disk ends a run with one sentence with its cure, and nothing half registered."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig, NoRoom
from tests.training.test_train import HOW, Place, place  # noqa: F401  the fixture
from training import room, shortage, supervised
from training.methods import read_method
from training.optimisation import OptimisationSettings

pytestmark = pytest.mark.e2e  # imports torch


def memory_errors() -> list[BaseException]:
    import torch

    return [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
        RuntimeError("[enforce fail at alloc_cpu.cpp:127] . DefaultCPUAllocator: can't allocate memory: you tried to"),
    ]


@pytest.mark.parametrize("which", range(3))
def test_memory_that_runs_out_in_training_is_told_with_what_makes_room(tmp_path: Path, which: int) -> None:
    how = OptimisationSettings(batch_size=8, max_length=512)
    with pytest.raises(InvalidConfig) as caught, shortage.told(tmp_path, how):
        raise memory_errors()[which]
    (problem,) = caught.value.problems
    assert problem.place == "optimisation.batch_size"
    assert "8 rows of up to 512 tokens" in problem.fault
    assert problem.cure.startswith("halve it and double accumulation, or write gradient_checkpointing: true")


@pytest.mark.parametrize(
    ("method", "held"),
    [
        ("lora", 4.0), ("dpo", 4.0), ("merged_lora", 4.0), ("last_layers", 4.0), ("qlora", 0.5), ("full", 16.0),
        ("classification", 16.0), ({"type": "classification", "lora": {}}, 4.0),
    ],
)  # fmt: skip
def test_a_base_that_memory_cannot_hold_as_it_is_trained_is_told_before_it_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: Any, held: float
) -> None:
    made, _ = read_method(method)
    assert made is not None
    assert made.held == held
    meminfo = tmp_path / "meminfo"
    monkeypatch.setattr(room, "_MEMORY", meminfo)
    monkeypatch.setattr(shortage, "device", lambda: "cpu")
    monkeypatch.setattr(room, "parameters_of", lambda base: 2**30)
    whole = int(held * 2**20)  # KiB for 2^30 weights
    for free, swap, fits in ((whole, 0, True), (whole - 1024, 1024, True), (whole - 1, 0, False)):
        meminfo.write_text(f"MemTotal: 1 kB\nMemAvailable: {free} kB\nSwapFree: {swap} kB\n")
        if fits:
            shortage.require_room(tmp_path, made.held)
            continue
        with pytest.raises(InvalidConfig, match=f"holds at least {held:.1f} GiB") as caught:
            shortage.require_room(tmp_path, made.held)
        assert [problem.place for problem in caught.value.problems] == ["base"]


def test_each_process_of_a_machine_holds_its_own_unless_weights_are_shared_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shortage, "device", lambda: "cpu")
    monkeypatch.setattr(room, "parameters_of", lambda base: 2**30)
    monkeypatch.setattr(room, "free_memory", lambda swap: 6 * 2**30)
    monkeypatch.setattr(shortage.processes, "on_this_machine", lambda: 2)
    shortage.require_room(tmp_path, 4.0, shared=True)
    with pytest.raises(InvalidConfig, match=r"at least 8\.0 GiB, and 6\.0 GiB are free"):
        shortage.require_room(tmp_path, 4.0)
    monkeypatch.setattr(shortage, "device", lambda: "cuda")  # which tells by itself what it has no room for
    shortage.require_room(tmp_path, 4.0)


def test_a_run_whose_base_has_no_room_leaves_no_checkpoint_and_no_version(
    place: Place,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shortage, "device", lambda: "cpu")
    monkeypatch.setattr(room, "free_memory", lambda *, swap=False: 1000)
    with pytest.raises(InvalidConfig, match="cannot be trained in this machine's memory"):
        place.train()
    assert place.shelf.registry.versions() == []


def test_a_batch_of_one_row_is_not_halved(tmp_path: Path) -> None:
    how = OptimisationSettings(batch_size=1, gradient_checkpointing=True)
    with pytest.raises(InvalidConfig, match="lower max_length, or take method qlora"), shortage.told(tmp_path, how):
        raise MemoryError


def test_memory_that_runs_out_afterwards_costs_no_training(tmp_path: Path) -> None:
    (tmp_path / "trained.json").touch()
    with pytest.raises(NoRoom, match="what was trained is saved"), shortage.told(tmp_path, OptimisationSettings()):
        raise MemoryError


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EROFS, os.strerror(errno.EROFS)),
        RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file data/3"),
        RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 1276800 vs 1276692"),
        RuntimeError("basic_ios::clear: iostream error"),
        Exception("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_file_that_cannot_be_written_is_told_with_its_folder(tmp_path: Path, error: Exception) -> None:
    with pytest.raises(NoRoom) as caught, shortage.told(tmp_path, OptimisationSettings()):
        raise error
    assert str(tmp_path) in str(caught.value)
    assert "the same command goes on from the last whole checkpoint" in str(caught.value)


def test_any_other_fault_goes_through(tmp_path: Path) -> None:
    for error in (RuntimeError("shapes differ"), FileNotFoundError(2, "No such file"), KeyboardInterrupt()):
        with pytest.raises(type(error)), shortage.told(tmp_path, OptimisationSettings()):
            raise error


def test_a_run_that_finds_the_disk_full_registers_nothing_and_goes_on_when_it_is_not(
    place: Place,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    how = {**HOW, "epochs": 1}

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as broken:
        broken.setattr(supervised.checkpoints, "train", full)
        with pytest.raises(NoRoom, match="No space left on device"):
            place.train(optimisation=how)
    assert not place.shelf.registry.versions()
    assert not list(place.home.runs.glob("*/run.json"))
    assert place.train(optimisation=how).version.ref == "colours:1"
