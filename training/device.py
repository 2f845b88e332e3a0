"""Where training runs: on the GPU where there is one, and never on the processor in silence where one was meant."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from lifecycle.errors import InvalidConfig, Problem

_DRIVER = Path("/proc/driver/nvidia/version")
"""There when NVIDIA's driver is loaded."""
_ALL_THE_SAME = "DABT_DEVICE=cpu trains on the processor all the same"


def device(driver: Path = _DRIVER) -> Literal["cuda", "cpu"]:
    """`DABT_DEVICE` overrules. Raises `InvalidConfig` when a GPU was meant and PyTorch finds none: days would pass."""
    import torch

    wanted = os.environ.get("DABT_DEVICE", "")
    if wanted == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    fault = ""
    if torch.version.cuda is not None:
        fault = f"this PyTorch is built for CUDA {torch.version.cuda}, and it finds no GPU"
    elif driver.exists():
        fault = "this machine has an NVIDIA driver, and the PyTorch that is installed is for processors"
    elif wanted == "cuda":
        fault = "DABT_DEVICE is cuda, and there is no GPU"
    if fault:
        cure = f"look whether nvidia-smi answers, then run make setup again; {_ALL_THE_SAME}"
        raise InvalidConfig("Training would run on the processor:", [Problem("device", fault, cure)])
    return "cpu"
