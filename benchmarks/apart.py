"""A module in a process of its own: what one measurement leaves in memory, the next does not start with."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path(__file__).parents[1]
HERE = Path(sys.executable)
"""The python that this process has."""


def run(python: Path, module: str, *arguments: str, environment: Mapping[str, str]) -> None:
    """With every core. `environment` is added to this process's own; where its packages are is for this `python` alone.

    Raises `RuntimeError` with the end of what it said where it fails.
    """
    foreign = [] if python == HERE else ["PYTHONPATH"]
    inherited = {name: value for name, value in os.environ.items() if name not in ("OMP_NUM_THREADS", *foreign)}
    ended = subprocess.run(
        [str(python), "-m", module, *arguments],
        cwd=_ROOT,
        env={**inherited, "HF_HUB_OFFLINE": "1", **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if ended.returncode:
        said = (ended.stdout + ended.stderr)[-3000:]
        raise RuntimeError(f"{module} {' '.join(arguments)} ended with {ended.returncode}:\n{said}")
