"""Retrieval versions through the service: passages in the prompt, in the answer, and fetched once."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from lifecycle.errors import NotFound, Unavailable
from lifecycle.version import Knowledge, RetrieverStage
from retrieval.config import IndexConfig
from retrieval.index import Index, build_index
from retrieval.stages.table import declared
from service.knowledge import Library

pytestmark = pytest.mark.timeout(300)

HANDBOOK = """# Handbook

## h01
Visits begin at nine in the morning.

## h02
تبدأ الزيارة في التاسعة صباحاً.
"""


@pytest.fixture
def index_digest(house: Any, tmp_path: Path) -> str:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "handbook.md").write_text(HANDBOOK, encoding="utf-8")
    build_index(documents, tmp_path / "index", IndexConfig(dense="none"))
    digest: str = house.index(tmp_path / "index")
    return digest


async def test_the_answer_carries_the_passages_that_the_prompt_was_made_with(
    house: Any, start: Any, index_digest: str
) -> None:
    house.prod("handbook", knowledge={"index": index_digest, "top_k": 1, "template": "{passages}\nQ: {question}"})
    async with start(house) as running:
        reply = await running.chat("handbook", "متى تبدأ الزيارة؟")
        streamed = await running.chat("handbook", "متى تبدأ الزيارة؟", stream=True)
        (passage,) = reply.json()["dabt"]["passages"]
        by_hand = await running.chat("tiny", f"[h02] {passage['text']}\nQ: متى تبدأ الزيارة؟")
    assert (passage["id"], passage["text"]) == ("h02", "تبدأ الزيارة في التاسعة صباحاً.")
    assert passage["score"] > 0
    assert (passage["source"], passage["why"]) == ("handbook.md:6", {"lexical": 1})
    assert reply.json()["choices"] == by_hand.json()["choices"]
    assert [part.partition(";")[0] for part in reply.headers["server-timing"].split(", ")] == ["ttft", "retrieval"]
    assert "retrieval" not in by_hand.headers["server-timing"]
    first = json.loads(streamed.text.split("\n\n")[0].removeprefix("data: "))
    assert first["dabt"] == reply.json()["dabt"]


async def test_a_version_searches_by_its_stages_and_the_answer_tells_what_its_budget_left_out(
    house: Any, start: Any, index_digest: str
) -> None:
    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(house.base / "tokenizer.json"))
    stages, problems = declared(["lexical", {"type": "token_budget", "tokens": 9}], "stages", {})
    assert problems == []
    asked = {"index": index_digest, "stages": [stage.model_dump() for stage in stages]}
    house.prod("small", knowledge=asked)
    house.prod("changed", knowledge=asked | {"stages": [stages[0].model_dump() | {"fingerprint": index_digest}]})
    async with start(house) as running:
        fits = (await running.chat("small", "متى تبدأ الزيارة؟")).json()["dabt"]
        cut = await running.chat("small", "When do visits begin?")
        streamed = await running.chat("small", "When do visits begin?", stream=True)
        refused = await running.chat("changed", "When do visits begin?")
        by_hand = await running.chat("tiny", "Passages:\n(none)\n\nQuestion: When do visits begin?")
    assert ([passage["id"] for passage in fits["passages"]], "left_out" in fits) == (["h02"], False)
    assert cut.json()["dabt"]["passages"] == []
    assert cut.json()["dabt"]["left_out"] == [{"id": "h01", "tokens": 8, "kept": 0}]
    assert cut.json()["choices"] == by_hand.json()["choices"]
    assert json.loads(streamed.text.split("\n\n")[0].removeprefix("data: "))["dabt"] == cut.json()["dabt"]
    assert refused.status_code >= 400
    assert "not the one that the version was made with" in refused.json()["error"]["message"]


async def test_a_version_with_knowledge_needs_a_question(house: Any, start: Any, index_digest: str) -> None:
    house.prod("handbook", knowledge={"index": index_digest})
    async with start(house) as running:
        body = {"model": "handbook", "messages": [{"role": "system", "content": "x"}]}
        reply = await running.client.post("/v1/chat/completions", json=body)
    assert reply.status_code == 400
    assert "user" in reply.json()["error"]["message"]


async def test_an_index_is_warm_before_its_first_search(house: Any, index_digest: str, monkeypatch: Any) -> None:
    done: list[tuple[str, str]] = []
    search = Index.search

    def noted(name: str) -> None:
        done.append((name, threading.current_thread().name.partition("_")[0]))

    monkeypatch.setattr(Index, "warm", lambda index: noted("warm"))
    monkeypatch.setattr(Index, "search", lambda *asked: (noted("search"), search(*asked))[1])
    library = Library(house.store)
    for _ in range(2):
        await library.search(Knowledge(index=index_digest, top_k=1), "visits")
    assert done == [("warm", "retrieval"), ("search", "retrieval"), ("search", "retrieval")]


class CountingStore:
    def __init__(self, store: Any) -> None:
        self.store = store
        self.gets = 0
        self.away = False

    def get(self, digest: str) -> Path:
        self.gets += 1
        if self.away:
            raise NotFound("the store is away")
        path: Path = self.store.get(digest)
        return path


async def test_an_index_is_fetched_once_and_a_failed_fetch_is_tried_again(house: Any, index_digest: str) -> None:
    store = CountingStore(house.store)
    library = Library(store)
    knowledge = Knowledge(index=index_digest, top_k=1)
    store.away = True
    with pytest.raises(NotFound):
        await library.search(knowledge, "visits")
    store.away = False
    found = await asyncio.gather(*(library.search(knowledge, "When do visits begin?") for _ in range(8)))
    assert {passages[0].id for passages in found} == {"h01"}
    assert store.gets == 2


async def test_what_a_hub_does_not_send_holds_up_neither_searches_nor_the_next_try(
    house: Any, index_digest: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build_index(tmp_path / "documents", tmp_path / "other", IndexConfig(dense="none", rrf_k=50))
    other = house.index(tmp_path / "other")
    hub, warm = threading.Event(), Index.warm
    library = Library(house.store)
    ready = Knowledge(index=index_digest, top_k=1)
    await library.search(ready, "visits")
    monkeypatch.setattr(
        library._loading, "_seconds", 0.05
    )  # of what hangs alone: the others are loaded, however slowly
    monkeypatch.setattr(Index, "warm", lambda index: hub.wait())
    hanging = asyncio.create_task(library.search(Knowledge(index=other, top_k=1), "visits"))
    assert (await library.search(ready, "When do visits begin?"))[0].id == "h01"
    with pytest.raises(Unavailable, match="retrieval has not answered"):
        await hanging
    monkeypatch.setattr(Index, "warm", warm)
    monkeypatch.setattr(library._loading, "_seconds", 600)
    assert (await library.search(Knowledge(index=other, top_k=1), "When do visits begin?"))[0].id == "h01"
    hub.set()


async def test_stages_are_those_of_the_model_that_reads_the_passages(
    house: Any, index_digest: str, monkeypatch: Any
) -> None:
    monkeypatch.setattr(
        "service.knowledge._load_stages", lambda index, stages, base: SimpleNamespace(search=lambda *_: base)
    )
    library = Library(house.store, base=Path("/first"), beside={"sha256:b": Path("/second")})
    stage = RetrieverStage(type="token_budget", fingerprint="sha256:" + "0" * 64)
    knowledge = Knowledge(index=index_digest, top_k=1, stages=(stage,))
    read_by = [await library.search(knowledge, "visits", base) for base in ("sha256:a", "sha256:b", "sha256:a")]
    assert read_by == [Path("/first"), Path("/second"), Path("/first")]
