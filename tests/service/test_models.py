"""What a client learns of a model: who it is, what it came from, and how much it reads."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine
from tests.service.socketed import socketed

pytestmark = pytest.mark.timeout(300)


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
    assert (caught.value.param, caught.value.code) == ("model", "model_not_found")


def test_a_base_of_the_hub_is_called_by_its_hub_id_everywhere(house: Any, tmp_path: Path) -> None:
    snapshot = (
        tmp_path / "models--Qwen--Qwen2.5-0.5B-Instruct" / "snapshots" / "7ae557604adf67be50417f59c2c2f167def9a775"
    )
    snapshot.parent.mkdir(parents=True)
    shutil.copytree(house.base, snapshot)
    house.prod("triage", prompt={"system": "Be brief."})
    name = "Qwen/Qwen2.5-0.5B-Instruct"
    app = create_app(ServeConfig(base=snapshot, embedding_model="none"), FakeEngine(), house.registry, house.store)
    with socketed(app) as url:
        client = openai.OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0)
        cards: list[Any] = list(client.models.list())
        assert [card.id for card in cards] == [name, "triage"]
        assert [card.parent for card in cards] == [None, name]
        assert client.models.retrieve(name).id == name
        turns: Any = [{"role": "user", "content": "hello"}]
        assert client.chat.completions.create(model=name, messages=turns).model == name
        with pytest.raises(openai.NotFoundError, match=r"this service has Qwen/Qwen2\.5-0\.5B-Instruct, triage"):
            client.chat.completions.create(model="nobody", messages=turns)
        status = httpx.get(f"{url}/metrics", timeout=60).text + httpx.get(f"{url}/v1/dabt/deployment", timeout=60).text
    assert "7ae557604adf" not in status


async def test_a_page_is_put_together_once_for_each_kind_of_caller_and_anew_after_a_change(
    house: Any, start: Any
) -> None:
    """What is kept for one key must never be shown to another, nor outlive a change."""
    keys = {
        "all": house.key("all", role="evaluator"),
        "triage": house.key("triage", models=["triage", "tiny"]),
        "one": house.key("one", models=["answer:1"]),
    }
    house.prod("triage", prompt={"system": "one"})
    house.prod("answer", prompt={"system": "two"})
    async with start(house) as running:
        parts = running.app.state.parts

        async def ids(key: str, **headers: str) -> list[str]:
            reply = await running.client.get("/v1/models", headers={**keys[key], **headers})
            return [card["id"] for card in reply.json()["data"]]

        for _ in range(2):
            assert await ids("all") == ["tiny", "answer", "triage"]
            assert await ids("triage") == ["tiny", "triage"]
            assert await ids("one") == []
            evaluation = {"x-dabt-purpose": "evaluation"}
            assert await ids("all", **evaluation) == ["tiny", "answer", "answer:1", "triage", "triage:1"]
        assert len(parts.models._list.pages) == 4
        before = dict(parts.models._made)
        house.version("triage", prompt={"system": "three"})
        house.registry.promote("triage:2", actor="x", reason="x", force=True)
        parts.catalogue.refresh()
        assert await ids("all", **evaluation) == ["tiny", "answer", "answer:1", "triage", "triage:1", "triage:2"]
        assert await ids("triage") == ["tiny", "triage"]
        card = await running.client.get("/v1/models/triage", headers=keys["triage"])
        assert card.json()["dabt"]["version"] == "triage:2"
        listed = (await running.client.get("/v1/models", headers=keys["triage"])).json()["data"]
        assert listed[1] == card.json(), "one card is the same as in the list"
        made = parts.models._made
        assert [ref for ref in made if made[ref] is not before.get(ref)] == ["triage:prod", "triage:2"]
