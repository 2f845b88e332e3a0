"""Where training runs: the GPU, or the processor, and never the second in silence where the first was meant."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from lifecycle.errors import InvalidConfig
from training.device import device


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """No GPU, a PyTorch for processors, and nothing asked for."""
    monkeypatch.delenv("DABT_DEVICE", raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.version, "cuda", None)


def test_a_machine_without_a_gpu_trains_on_the_processor(tmp_path: Path) -> None:
    assert device(tmp_path / "no driver") == "cpu"


def test_a_gpu_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert device(tmp_path) == "cuda"
    monkeypatch.setenv("DABT_DEVICE", "cpu")
    assert device(tmp_path) == "cpu"


def test_a_pytorch_for_gpus_that_finds_none_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.version, "cuda", "13.0")
    with pytest.raises(InvalidConfig, match=r"built for CUDA 13\.0, and it finds no GPU.*DABT_DEVICE=cpu"):
        device(tmp_path / "no driver")
    monkeypatch.setenv("DABT_DEVICE", "cpu")
    assert device(tmp_path / "no driver") == "cpu"


def test_a_driver_beside_a_pytorch_for_processors_is_told(tmp_path: Path) -> None:
    (tmp_path / "version").write_text("NVRM version: 580.65.06")
    with pytest.raises(InvalidConfig, match="has an NVIDIA driver"):
        device(tmp_path / "version")


def test_a_gpu_that_was_asked_for_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DABT_DEVICE", "cuda")
    with pytest.raises(InvalidConfig, match="DABT_DEVICE is cuda, and there is no GPU"):
        device(tmp_path / "no driver")
