"""The registry that a command finds by the home."""

from __future__ import annotations

import pytest

from lifecycle.registry import Registry
from tests import blank_registry


@pytest.fixture
def registry(home):
    """In place of the one on both databases: the command finds its own by the home."""
    blank_registry.at(home.root / "registry.db")
    with Registry.open(home.registry_url) as opened:
        yield opened
