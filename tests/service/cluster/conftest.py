"""A gateway's page of metrics waits for those of its rooms."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def pages_of_rooms_come(monkeypatch: pytest.MonkeyPatch) -> None:
    """However slow this machine is; otherwise a gateway goes on without them after two seconds."""
    monkeypatch.setattr("service.cluster.fleet._PAGE_SECONDS", 120.0)
