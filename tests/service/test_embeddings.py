"""`/v1/embeddings` over a stand-in for the retrieval model; the real one is asked in `test_engine_embeddings.py`."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import httpx
import numpy as np
import openai
import pytest

from lifecycle.errors import Overloaded, Unavailable
from service.openai.embedder import Embedder, LoadedModel

pytestmark = pytest.mark.timeout(300)

NAME = "all-MiniLM-L6-v2"


class Words:
    """Three dimensions that tell texts apart; a token is a word, and four are the most."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.threads: set[str] = set()
        self.go = threading.Event()
        self.go.set()
        self.begun = threading.Event()

    def count_tokens(self, texts: Sequence[str]) -> list[int]:
        return [len(text.split()) for text in texts]

    def documents(self, texts: Sequence[str]) -> Any:
        self.begun.set()
        self.go.wait()
        self.threads.add(threading.current_thread().name)
        self.texts += texts
        return np.array([[len(text), text.count("a"), 0.5] for text in texts], dtype=np.float32)

    def load(self, model: str) -> LoadedModel:
        return LoadedModel(self, dimensions=3, max_tokens=4)


@pytest.fixture
def words() -> Words:
    return Words()


@pytest.fixture
def serve(house: Any, start: Any, words: Words, monkeypatch: Any) -> Any:
    @asynccontextmanager
    async def serving() -> AsyncIterator[Any]:
        monkeypatch.setattr("service.parts.Embedder", lambda model: Embedder(model, words.load))
        async with start(house, embedding_model=NAME) as running:
            transport = httpx.ASGITransport(app=running.app, client=("127.0.0.1", 50000))
            async with httpx.AsyncClient(transport=transport) as client:
                running.sdk = openai.AsyncOpenAI(
                    base_url="http://service/v1", api_key="none", max_retries=0, http_client=client
                )
                yield running

    return serving


async def test_the_official_clients_default_and_plain_floats_are_the_same_vectors(serve: Any, words: Words) -> None:
    texts = ["a clinic", "العيادة", "a a a"]
    async with serve() as running:
        default = await running.sdk.embeddings.create(model=NAME, input=texts)
        floats = await running.sdk.embeddings.create(model=NAME, input=texts, encoding_format="float")
        raw = await running.client.post(
            "/v1/embeddings", json={"model": NAME, "input": texts, "encoding_format": "base64"}
        )
        one = await running.sdk.embeddings.create(model=NAME, input="a clinic", dimensions=3, user="u")
    assert [item.embedding for item in default.data] == [item.embedding for item in floats.data]
    assert floats.data[0].embedding == [8.0, 1.0, 0.5]
    assert [item.index for item in floats.data] == [0, 1, 2]
    assert (floats.usage.prompt_tokens, floats.usage.total_tokens, floats.model) == (6, 6, NAME)
    assert isinstance(raw.json()["data"][0]["embedding"], str)
    assert one.data[0].embedding == floats.data[0].embedding
    assert all(name.startswith("embeddings") for name in words.threads), "never on the event loop"


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"input": []}, "input", "empty"),
        ({"input": ""}, "input", "empty"),
        ({"input": ["a", ""]}, "input", "empty"),
        ({"input": None}, "input", "list of texts"),
        ({"input": [1, 2, 3]}, "input", "tokens"),
        ({"input": [[1, 2], [3]]}, "input", "tokens"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"input": ["fine", "one two three four five"]}, "input.1", "5 tokens, and the model reads 4"),
        ({"encoding_format": "hex"}, "encoding_format", "float"),
        ({"dimensions": 2}, "dimensions", "vectors of 3"),
        ({"dimensions": 0}, "dimensions", "must be 1 or more"),
        ({"dimensions": "3"}, "dimensions", "whole number"),
        ({"model": 5}, "model", "string"),
    ],
)
async def test_what_cannot_be_embedded_is_refused_at_its_place(
    serve: Any, words: Words, fields: dict[str, Any], param: str, says: str
) -> None:
    async with serve() as running:
        reply = await running.client.post("/v1/embeddings", json={"model": NAME, "input": "x", **fields})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (param, "invalid_input")
    assert says in error["message"]
    assert words.texts == []


async def test_a_language_model_gives_no_embeddings_and_the_other_way_round(serve: Any) -> None:
    async with serve() as running:
        with pytest.raises(openai.NotFoundError, match=NAME):
            await running.sdk.embeddings.create(model="tiny", input="x")
        with pytest.raises(openai.NotFoundError):
            await running.sdk.chat.completions.create(model=NAME, messages=[{"role": "user", "content": "x"}])


async def test_embeddings_can_be_switched_off(house: Any, start: Any) -> None:
    async with start(house, embedding_model="none") as running:
        reply = await running.client.post("/v1/embeddings", json={"model": NAME, "input": "x"})
        names = [card["id"] for card in (await running.client.get("/v1/models")).json()["data"]]
    assert reply.status_code == 404
    assert "--embedding-model" in reply.text
    assert NAME not in names


async def test_the_model_is_listed_with_its_digest(serve: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("service.openai.embedder._digest_of", lambda model: "sha256:" + "0" * 64)
    async with serve() as running:
        card = (await running.client.get(f"/v1/models/{NAME}")).json()
    assert (card["dabt"]["kind"], card["dabt"]["digest"]) == ("embedding", "sha256:" + "0" * 64)
    assert (card["parent"], card["dabt"]["version"]) == (None, None)


async def test_a_model_that_is_not_to_be_had_is_this_services_fault_and_is_not_listed(
    house: Any, start: Any, tmp_path: Any, monkeypatch: Any
) -> None:
    def away(model: str) -> Any:
        raise Unavailable(f"the embedding model cannot be loaded: {model}")

    monkeypatch.setattr("service.openai.embedder._folder_of", away)
    async with start(house, embedding_model="nobody/nothing") as running:
        reply = await running.client.post("/v1/embeddings", json={"model": "nobody/nothing", "input": "x"})
        names = [card["id"] for card in (await running.client.get("/v1/models")).json()["data"]]
    assert reply.status_code == 503
    assert names == ["tiny"]


def test_a_folder_is_called_by_its_own_name(tmp_path: Any) -> None:
    folder = tmp_path / "e5-small"
    folder.mkdir()
    assert Embedder(str(folder)).name == "e5-small"
    assert Embedder("intfloat/e5-small").name == "intfloat/e5-small"


async def test_long_lists_take_turns(words: Words) -> None:
    embedder = Embedder(NAME, words.load)
    await embedder.answer({"model": NAME, "input": "warm"})
    words.go.clear()
    words.begun.clear()
    long = asyncio.create_task(embedder.answer({"model": NAME, "input": ["long"] * 200}))
    await asyncio.to_thread(words.begun.wait)
    short = asyncio.create_task(embedder.answer({"model": NAME, "input": "short"}))
    await asyncio.sleep(0)
    words.go.set()
    await asyncio.gather(long, short)
    assert words.texts.index("short") < len(words.texts) - 1


async def test_a_caller_that_leaves_stops_paying(words: Words) -> None:
    embedder = Embedder(NAME, words.load)
    await embedder.answer({"model": NAME, "input": "warm"})
    words.go.clear()
    words.begun.clear()
    leaving = asyncio.create_task(embedder.answer({"model": NAME, "input": ["long"] * 200}))
    await asyncio.to_thread(words.begun.wait)
    leaving.cancel()
    words.go.set()
    await embedder.answer({"model": NAME, "input": "after"})
    assert words.texts.count("long") <= 16, "what had begun, and no more"


async def test_more_than_it_takes_is_told_when_to_come_back(words: Words) -> None:
    embedder = Embedder(NAME, words.load)
    words.go.clear()
    waiting = [asyncio.create_task(embedder.answer({"model": NAME, "input": "x"})) for _ in range(64)]
    await asyncio.to_thread(words.begun.wait)
    with pytest.raises(Overloaded):
        await embedder.answer({"model": NAME, "input": "x"})
    words.go.set()
    await asyncio.gather(*waiting)
    assert (await embedder.answer({"model": NAME, "input": "x"})).tokens == 1


async def test_embeddings_are_counted_and_drained_like_every_request(serve: Any, words: Words, until: Any) -> None:
    async with serve() as running:
        await running.sdk.embeddings.create(model=NAME, input="one two")
        words.go.clear()
        words.begun.clear()
        admitted = asyncio.create_task(running.sdk.embeddings.create(model=NAME, input="three"))
        await asyncio.to_thread(words.begun.wait)
        draining = asyncio.create_task(running.app.state.parts.drain(10))
        await until(lambda: running.app.state.parts.under_way.draining_since)
        refused = await running.client.post("/v1/embeddings", json={"model": NAME, "input": "x"})
        assert refused.status_code == 503
        assert not draining.done()
        words.go.set()
        await admitted
        assert await draining
        page = (await running.client.get("/metrics")).text
    assert f'dabt_requests_total{{endpoint="embedding",version="{NAME}"}} 2.0' in page
    assert f'dabt_prompt_tokens_total{{version="{NAME}"}} 3.0' in page


async def test_a_model_that_the_hub_does_not_send_gives_its_callers_an_answer_and_their_places_back(
    words: Words, until: Any
) -> None:
    hub, hung = threading.Event(), [True]

    def load(model: str) -> LoadedModel:
        if hung[0]:
            hub.wait()
        return words.load(model)

    embedder = Embedder(NAME, load, load_seconds=0.2)
    asked = [embedder.answer({"model": NAME, "input": "x"}) for _ in range(64)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert {type(answer) for answer in answers} == {Unavailable}
    hung[0] = False
    embedder._loading._seconds = 600  # what does not hang is loaded, however slow this machine is
    assert (await embedder.answer({"model": NAME, "input": "x"})).tokens == 1
    hub.set()


async def test_the_list_of_models_does_not_wait_for_a_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    hub = threading.Event()
    monkeypatch.setattr("service.openai.embedder._digest_of", lambda model: hub.wait())
    monkeypatch.setattr("service.openai.embedder._DIGEST_PATIENCE", 0.05)
    with pytest.raises(Unavailable, match="still being read or fetched"):
        await Embedder(NAME).digest()
    hub.set()
