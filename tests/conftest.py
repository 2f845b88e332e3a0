"""What the tests of several packages share."""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from tests.sharing import ByFile, turn

os.environ.setdefault("DABT_WORKER", "0")  # `dabt serve` starts one otherwise, beside whatever a test measures
if "PYTEST_XDIST_WORKER" in os.environ:
    # Each of two workers would compute with threads for both cores, and their threads would wait for each other. No
    # test compares runs of different numbers of threads. Set before torch and numpy are imported, which read it once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# Hypothesis would fail an example that takes 200 ms, and cases that take seconds to make: now and then a busy machine
# stands still as long.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> ByFile:
    config.option.loadscopereorder = False  # the order is ours, below
    return ByFile(config, log)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: turn(item.nodeid))


@pytest.fixture(autouse=True, scope="module")
def little_garbage() -> None:
    """What is imported by now is left alone by the garbage collector: PyTorch's trainers and statsmodels ask it for a
    whole collection in every call, which takes a second where all libraries are loaded.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows (or raw lines) to a file and returns its path."""

    def write(name: str, rows: Iterable[dict[str, Any] | str | bytes]) -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, str | bytes) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
        return path

    return write
