"""A new registry on SQLite as a copy of one: making its tables takes 20 times as long, and thousands of tests ask.

How a registry is made is for `tests/lifecycle/registry`; what a test asks for elsewhere is one that is there.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from lifecycle.registry import Registry


def at(file: Path) -> Path:
    """`file`, which is a registry: what it was, or one without a row, as `Registry.open` leaves it."""
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_blank())
    return file


@cache
def _blank() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "registry.db"
        Registry.open(f"sqlite:///{file}").close()  # which takes the write-ahead log into the file
        assert [each.name for each in file.parent.iterdir()] == [file.name]
        return file.read_bytes()
