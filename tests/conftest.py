"""What the tests of several packages share."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("DABT_WORKER", "0")  # `dabt serve` starts one otherwise, beside whatever a test measures


@pytest.fixture
def jsonl(tmp_path: Path) -> Callable[..., Path]:
    """Writes rows (or raw lines) to a file and returns its path."""

    def write(name: str, rows: Iterable[dict[str, Any] | str | bytes]) -> Path:
        path = tmp_path / name
        lines = [row if isinstance(row, str | bytes) else json.dumps(row, ensure_ascii=False) for row in rows]
        path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
        return path

    return write
