"""How many threads a run takes: those that were asked for, else its share of the cores."""

from __future__ import annotations

import os

import pytest

from training.settings import run_settings, threads

TORCHRUN = {"RANK": "0", "WORLD_SIZE": "2", "MASTER_ADDR": "localhost", "MASTER_PORT": "1", "LOCAL_WORLD_SIZE": "2"}


@pytest.fixture(autouse=True)
def eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(8)))
    for name in ("OMP_NUM_THREADS", *TORCHRUN):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(("said", "taken"), [(None, 8), ("", 8), ("0", 8), ("many", 8), ("1", 1), ("3", 3), ("4,2", 4)])
def test_a_run_alone_takes_the_threads_that_were_asked_for_or_every_core(
    monkeypatch: pytest.MonkeyPatch, said: str | None, taken: int
) -> None:
    if said is not None:
        monkeypatch.setenv("OMP_NUM_THREADS", said)
    assert threads() == taken


def test_processes_that_train_together_share_the_cores_whatever_torchrun_sets(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {**TORCHRUN, "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    assert threads() == 4
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "16")
    assert threads() == 1


@pytest.mark.e2e
def test_attention_that_plans_for_each_length_is_left_out_of_a_run_and_is_there_again_behind_it() -> None:
    import torch

    before = torch.backends.cuda.cudnn_sdp_enabled()
    try:
        for wanted in (True, False):
            torch.backends.cuda.enable_cudnn_sdp(wanted)
            with run_settings():
                assert not torch.backends.cuda.cudnn_sdp_enabled()
            assert torch.backends.cuda.cudnn_sdp_enabled() is wanted
    finally:
        torch.backends.cuda.enable_cudnn_sdp(before)
