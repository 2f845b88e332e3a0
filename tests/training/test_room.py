"""Where golden prompts are computed: never where they would end a run that has been trained."""

from __future__ import annotations

from pathlib import Path

import pytest

from training import room
from training.room import Spot, at_first_with_room, spots

GIB = 2**30
BILLIONS = 10**9
GPU32, GPU16, CPU32, CPU16 = (Spot(on, dtype) for on in ("cuda", "cpu") for dtype in ("float32", "bfloat16"))


@pytest.mark.parametrize(
    ("parameters", "gpu", "cpu", "expected"),
    [
        (BILLIONS, 22 * GIB, 60 * GIB, [GPU32, GPU16, CPU32, CPU16]),
        (8 * BILLIONS, 22 * GIB, 60 * GIB, [GPU16, CPU32, CPU16]),  # float32 would take 30 GiB of the card's 24
        (8 * BILLIONS, 12 * GIB, 60 * GIB, [CPU32, CPU16]),
        (8 * BILLIONS, 12 * GIB, 20 * GIB, [CPU16]),
        (8 * BILLIONS, None, None, [CPU32, CPU16]),
        (8 * BILLIONS, None, GIB, [CPU16]),  # somewhere it must be
    ],
)
def test_the_best_place_with_room_comes_first(
    parameters: int, gpu: int | None, cpu: int | None, expected: list[Spot]
) -> None:
    assert spots(parameters, gpu, cpu) == expected


@pytest.mark.parametrize(("spot", "needed"), [(GPU32, 4400 + GIB), (GPU16, 2200 + GIB), (CPU32, 4445), (CPU16, 2223)])
def test_so_much_is_room_enough_and_a_byte_less_is_not(spot: Spot, needed: int) -> None:
    assert spot.has_room(1000, needed)
    assert not spot.has_room(1000, needed - 1)


@pytest.mark.e2e
@pytest.mark.parametrize("kind", ["OutOfMemoryError", "MemoryError", "RuntimeError"])
def test_a_gpu_that_runs_out_of_memory_is_left_for_the_processor(kind: str) -> None:
    import torch

    errors = {
        "OutOfMemoryError": torch.OutOfMemoryError("CUDA out of memory"),
        "MemoryError": MemoryError(),
        "RuntimeError": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"),
    }
    tried: list[Spot] = []

    def compute(spot: Spot) -> str:
        tried.append(spot)
        if spot != CPU16:
            raise errors[kind]
        return "golden"

    assert at_first_with_room([GPU32, GPU16, CPU32, CPU16], compute) == "golden"
    assert tried == [GPU32, CPU32, CPU16]


@pytest.mark.e2e
def test_another_fault_and_the_last_place_are_not_hidden() -> None:
    def compute(spot: Spot) -> None:
        raise RuntimeError("shapes differ") if spot == GPU32 else MemoryError("no room")

    with pytest.raises(RuntimeError, match="shapes differ"):
        at_first_with_room([GPU32, CPU16], compute)
    with pytest.raises(MemoryError, match="no room"):
        at_first_with_room([CPU32, CPU16], compute)


@pytest.mark.e2e
def test_the_free_memory_of_the_card_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import torch

    monkeypatch.setattr(room, "device", lambda: "cuda")
    monkeypatch.setattr(room, "parameters_of", lambda base: 8 * BILLIONS)
    monkeypatch.setattr(room, "free_memory", lambda: 60 * GIB)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (22 * GIB, 24 * GIB))
    assert room.spots_for(tmp_path)[0] == GPU16
