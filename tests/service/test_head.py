"""HEAD, which some balancers ask with."""

from __future__ import annotations

from typing import Any

import httpx

from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.service.socketed import socketed


def test_head_answers_as_get_does_without_a_body(house: Any) -> None:
    config = ServeConfig(base=house.base, embedding_model="none")
    app = create_app(config, FakeEngine(), house.registry, house.store)
    with socketed(app) as url, httpx.Client(base_url=url, timeout=60) as client:
        for path in ("/health", "/ready", "/metrics", "/v1/dabt/deployment"):
            whole, head = client.get(path), client.head(path)
            assert (head.status_code, head.content) == (whole.status_code, b"") == (200, b"")
            assert head.headers["content-type"] == whole.headers["content-type"]
        assert client.head("/v1/chat/completions").status_code == 405
