from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.service.cluster.two_bases import Two, other_base


@pytest.fixture(autouse=True)
def pages_of_rooms_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is; otherwise a gateway goes on without them after two seconds."""
    monkeypatch.setattr("service.cluster.fleet._PAGE_SECONDS", 120.0)


@pytest.fixture
def two(house: Any, tmp_path: Path) -> Two:
    """With an adapter over each, in production under the names `near` and `far`."""
    made = Two(house, other_base(tmp_path / "other"))
    house.adapter("near")
    house.prod("near", adapter="near")
    house.adapter("far", base=made.digest)
    house.prod("far", adapter="far", base=made.digest)
    return made
