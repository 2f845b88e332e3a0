"""What a client learns of a model: who it is, what it came from, and how much it reads."""

from __future__ import annotations

from typing import Any

import openai
import pytest

from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.service.socketed import socketed

pytestmark = pytest.mark.timeout(60)


def test_every_card_has_the_openai_fields_and_ours(house: Any) -> None:
    house.adapter("one")
    version = house.prod("triage", adapter="one")
    config = ServeConfig(base=house.base, embedding_model="none")
    with socketed(create_app(config, FakeEngine(), house.registry, house.store)) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        cards: list[Any] = list(client.models.list())
        triage: Any = client.models.retrieve("triage")
        with pytest.raises(openai.NotFoundError) as caught:
            client.models.retrieve("nobody")
    for card in cards:
        assert (card.object, card.owned_by, card.max_model_len) == ("model", "dabt", 4096)
        assert set(card.dabt) >= {"version", "digest", "state", "alias", "parent", "kind"}
    base = cards[0]
    assert (base.id, base.parent, base.dabt["kind"], base.dabt["digest"]) == ("tiny", None, "base", house.base_digest)
    assert triage.created == int(version.created_at.timestamp())
    facts = {name: triage.dabt[name] for name in ("version", "digest", "state", "alias", "parent", "adapter")}
    assert facts == {
        "version": "triage:1",
        "digest": version.digest,
        "state": "draft",
        "alias": "prod",
        "parent": "tiny",
        "adapter": house.adapters["one"],
    }
    assert (caught.value.param, caught.value.code) == ("model", "not_found")
