"""The official Node client against the service, the engine and the embedding model stood in for."""

from __future__ import annotations

from typing import Any

import pytest

from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from service.openai.embedder import Embedder
from tests.service import node_client
from tests.service.socketed import socketed
from tests.service.test_embeddings import NAME, Words

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]


def test_the_official_node_client_gets_what_it_asks_for(house: Any, monkeypatch: Any) -> None:
    house.adapter("one")
    house.prod("triage", adapter="one")
    monkeypatch.setattr("service.parts.Embedder", lambda model: Embedder(model, Words().load))
    app = create_app(ServeConfig(base=house.base), FakeEngine(), house.registry, house.store)
    with socketed(app) as url:
        said = node_client.ask(url, "triage", NAME)
    node_client.check(said, "triage", NAME, 3)
    assert said["whole"].startswith("sha256-")
    assert said["card"]["dabt"]["version"] == "triage:1"
