"""A package of sentences like the real one, made here: nothing in these tests needs the network."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from examples.reviews import data

Fixtures = dict[str, Any]
Packed = Callable[[Fixtures], Path]


@pytest.fixture
def packed(tmp_path: Path) -> Packed:
    """The tarball that npm would send with these fixtures by site."""

    def make(fixtures: Fixtures) -> Path:
        path = tmp_path / "sentiment.tgz"
        with tarfile.open(path, "w:gz") as out:
            for site, rows in fixtures.items():
                body = rows if isinstance(rows, bytes) else json.dumps(rows).encode()
                entry = tarfile.TarInfo(f"package/test/fixtures/{site}.json")
                entry.size = len(body)
                out.addfile(entry, io.BytesIO(body))
        return path

    return make


END = {"text": "", "class": None}


def fixture(site: str, count: int) -> list[dict[str, Any]]:
    """So many sentences, half of each class, no two of them alike, and the empty row that each real file ends in."""
    words = ["crust", "plot", "battery", "waiter", "actor", "screen", "soup", "scene"]
    rows = [
        {"text": f"{site}: {words[n % 8]} {words[n // 8 % 8]} {n:04d}{n * 7919:07d}{n * 104_729:09d}", "class": n % 2}
        for n in range(count)
    ]
    return [*rows, END]


@pytest.fixture
def whole(packed: Packed) -> Path:
    """As many sentences of each site as the real package has."""
    return packed({site: fixture(site, 1000) for site in data.SITES})
