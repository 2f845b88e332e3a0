"""`/v1/classify` over HTTP: a classifier is named, let in, counted, charged and traced as every other version is."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from lifecycle.aliases import Target
from lifecycle.manifests import ClassifierManifest, GoldenText
from lifecycle.version import Digest, digest_of
from service.classification.residents import Classifiers
from service.traffic.shadow_records import Records
from tests.lifecycle.conftest import report_on

pytestmark = pytest.mark.timeout(300)

LABELS = ("bad", "good")


class Letters:
    """A stand-in: a token is a word, and a text is good as often as it says so. `turned` says the opposite."""

    labels, limit, truncates, exclusive = LABELS, 8, False, True

    def __init__(self, folder: Path) -> None:
        self.sign = -1.0 if (folder / "turned").is_file() else 1.0
        self.go = threading.Event()
        self.go.set()
        self.threads: set[str] = set()

    def tokens(self, texts: Sequence[str], most: int | None = None) -> list[list[int]]:
        return [[int(word == "good") for word in text.split()][:most] for text in texts]

    def logits(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        self.threads.add(threading.current_thread().name)
        self.go.wait()
        return [[0.5, self.sign * sum(row)] for row in rows]


class World:
    """A house with the means to put classifiers into it, and the service over it."""

    def __init__(self, house: Any, start: Any) -> None:
        self.house, self._start = house, start
        self.readers: list[Letters] = []

    def classifier(self, name: str = "mood", *, turned: bool = False, **spec: Any) -> Any:
        """A draft of a classifier under this name."""
        return self.house.version(name, **self._recipe(turned), **spec)

    def prod(self, name: str = "mood", *, turned: bool = False) -> Any:
        return self.house.prod(name, **self._recipe(turned))

    def load(self, folder: Path) -> Letters:
        self.readers.append(Letters(folder))
        return self.readers[-1]

    @asynccontextmanager
    async def serving(self, **options: Any) -> AsyncIterator[Any]:
        async with self._start(self.house, **options) as running:
            yield running

    def _recipe(self, turned: bool) -> dict[str, Any]:
        folder = self.house.home.root / "made" / f"classifier-{turned}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "model.safetensors").write_text("weights")
        if turned:
            (folder / "turned").touch()
        digest: Digest = self.house.store.put(folder)
        self.house.registry.add_artifact(
            ClassifierManifest(
                digest=digest,
                base=digest_of("encoder"),
                base_name="encoder",
                parameters=1,
                bytes=1,
                created_at=datetime.now(UTC),
                labels=LABELS,
                architecture="BertForSequenceClassification",
                golden=(GoldenText(text="so good", logits=(0.5, -1.0 if turned else 1.0)),),
            )
        )
        return {"base": digest_of("encoder"), "classifier": digest}


@pytest.fixture
def world(house: Any, start: Any, monkeypatch: Any) -> World:
    made = World(house, start)
    monkeypatch.setattr("service.parts.Classifiers", partial(Classifiers, load=made.load))
    return made


async def ask(running: Any, model: str, text: Any = "so good", path: str = "/v1/classify", **fields: Any) -> Any:
    headers = fields.pop("headers", None)
    return await running.client.post(path, json={"model": model, "input": text, **fields}, headers=headers)


@pytest.mark.parametrize("path", ["/v1/classify", "/classify"])
async def test_texts_get_their_labels_and_the_answer_says_who_gave_them(world: World, path: str) -> None:
    version = world.prod()
    async with world.serving() as running:
        reply = await ask(running, "mood", ["so good", "so so"], path)
    body = reply.json()
    assert reply.status_code == 200
    assert [item["label"] for item in body["data"]] == ["good", "bad"]
    assert body["data"][0].keys() == {"index", "label", "probs", "num_classes"}
    assert sum(body["data"][1]["probs"]) == pytest.approx(1.0)
    assert (body["object"], body["model"]) == ("list", "mood")
    assert body["usage"] == {"prompt_tokens": 4, "total_tokens": 4, "completion_tokens": 0}
    assert body["dabt"] == {"version": "mood:1", "digest": version.digest, "passages": []}
    assert (reply.headers["x-dabt-version"], reply.headers["x-dabt-digest"]) == ("mood:1", version.digest)
    assert "x-dabt-deployment" in reply.headers
    assert all(name.startswith("classifier") for name in world.readers[0].threads), "never on the event loop"


async def test_it_is_named_like_any_version(world: World) -> None:
    world.prod()
    draft = world.classifier(turned=True)
    async with world.serving() as running:
        labels = [(await ask(running, name)).json()["data"][0]["label"] for name in ("mood", "mood:prod")]
        refused = await ask(running, draft.ref)
        evaluated = await ask(running, draft.ref, headers={"x-dabt-purpose": "evaluation"})
        unknown = await ask(running, "moods")
    assert labels == ["good"] * 2
    assert (refused.status_code, unknown.status_code) == (403, 404)
    assert evaluated.json()["data"][0]["label"] == "bad"


async def test_it_needs_nothing_of_the_base_that_runs_here(world: World) -> None:
    """Its recipe names its encoder, which is another base than the service's."""
    version = world.prod()
    assert version.spec.base != world.house.base_digest
    async with world.serving() as running:
        assert (await ask(running, "mood")).status_code == 200


async def test_a_session_goes_to_one_version_behind_a_weighted_alias(world: World) -> None:
    first = world.prod()
    second = world.classifier(turned=True)
    world.house.registry.promote(second.ref, actor="test", reason="for the test", force=True)
    shares = [Target(number=1, weight=0.5), Target(number=2, weight=0.5)]
    world.house.registry.set_alias("mood", "prod", shares, actor="test", reason="share", force=True)
    async with world.serving() as running:
        seen = {}
        for session in map(str, range(20)):
            replies = [await ask(running, "mood", headers={"x-dabt-session": session}) for _ in range(3)]
            (seen[session],) = {reply.headers["x-dabt-version"] for reply in replies}
    assert set(seen.values()) == {first.ref, second.ref}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": True}),
        ("/v1/completions", {"prompt": "x"}),
        ("/v1/responses", {"input": "x"}),
    ],
)
async def test_who_asks_a_classifier_for_text_is_told_where_to_send_it(
    world: World, path: str, body: dict[str, Any]
) -> None:
    world.prod()
    async with world.serving() as running:
        reply = await running.client.post(path, json={"model": "mood", **body})
    error = json.loads(reply.text.removeprefix("data: ").partition("\n")[0])["error"]
    assert (error["param"], error["code"]) == ("model", "invalid_input")
    assert "mood:1 is a classifier" in error["message"]
    assert "/v1/classify" in error["message"]
    assert reply.status_code == 400 or body.get("stream")


@pytest.mark.parametrize("model", ["tiny", "triage"])
async def test_who_asks_a_generator_for_labels_is_told_what_to_call(world: World, model: str) -> None:
    world.house.prod("triage", prompt={"system": "Be kind."})
    async with world.serving() as running:
        reply = await ask(running, model)
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "model")
    assert "/v1/chat/completions" in reply.json()["error"]["message"]


@pytest.mark.parametrize(
    ("fields", "param", "says"),
    [
        ({"input": []}, "input", "empty"),
        ({"input": ""}, "input", "empty"),
        ({"input": ["a", ""]}, "input", "empty"),
        ({"input": None}, "input", "list of texts"),
        ({"input": [1, 2]}, "input", "tokens"),
        ({"input": ["a"] * 2049}, "input", "2048"),
        ({"input": ["fine", "a b c d e f g h i"]}, "input.1", "9 tokens, and the classifier reads 8"),
        ({"use_activation": "no"}, "use_activation", "true or false"),
        ({"truncate_prompt_tokens": -2}, "truncate_prompt_tokens", "-1 or more"),
        ({"truncate_prompt_tokens": 0}, "truncate_prompt_tokens", "nothing"),
        ({"stream": True}, "stream", "all at once"),
        ({"add_special_tokens": False}, "add_special_tokens", "special tokens"),
        ({"truncation_side": "left"}, "truncation_side", "at its end"),
        ({"priority": 1}, "priority", "order"),
        ({"messages": []}, "messages", "/v1/chat/completions"),
        ({"max_tokens": 5}, "max_tokens", "/v1/chat/completions"),
    ],
)
async def test_what_cannot_be_classified_is_refused_at_its_place(
    world: World, fields: dict[str, Any], param: str, says: str
) -> None:
    world.prod()
    async with world.serving() as running:
        reply = await running.client.post("/v1/classify", json={"model": "mood", "input": "x", **fields})
    assert reply.status_code == 400
    error = reply.json()["error"]
    assert (error["param"], error["code"]) == (param, "invalid_input")
    assert says in error["message"]


async def test_fields_of_other_clients_change_nothing(world: World) -> None:
    world.prod()
    async with world.serving() as running:
        reply = await ask(running, "mood", user="u", metadata={}, encoding_format="float", stream=False, priority=0)
    assert reply.status_code == 200


async def test_it_is_counted_by_its_version_and_by_its_caller_on_both_routes(world: World) -> None:
    world.prod()
    key, admin = world.house.key("app"), world.house.key("boss", role="admin")
    async with world.serving() as running:
        for path in ("/v1/classify", "/classify"):
            await ask(running, "mood", ["so good", "so so"], path, headers=key)
        await ask(running, "mood", [], headers=key)
        page = (await running.client.get("/metrics", headers=admin)).text
    assert 'dabt_requests_total{endpoint="classification",version="mood:1"} 3.0' in page
    assert 'dabt_request_errors_total{code="invalid_input",version="mood:1"} 1.0' in page
    assert 'dabt_prompt_tokens_total{version="mood:1"} 8.0' in page
    assert 'dabt_request_seconds_count{version="mood:1"} 2.0' in page
    lines = Counter(line.rpartition("{")[0] for line in page.splitlines() if "key=" in line and line.endswith("8.0"))
    assert lines["dabt_key_prompt_tokens_total"] == 1
    assert "dabt_classifier_loads_total 1.0" in page
    assert "dabt_resident_classifiers 1.0" in page
    assert "dabt_classifier_bytes 7.0" in page


async def test_its_caller_is_charged_for_the_tokens_and_held_to_the_limits_of_his_key(world: World) -> None:
    world.prod()
    key = world.house.key("app", models=["mood"], limits={"prompts_per_request": 2, "tokens_per_day": 5})
    other = world.house.key("other", models=["triage"])
    async with world.serving() as running:
        many = await ask(running, "mood", ["a", "b", "c"], headers=key)
        enough = await ask(running, "mood", ["a b c", "d e f"], headers=key)
        spent = await ask(running, "mood", headers=key)
        forbidden = await ask(running, "mood", headers=other)
    assert (many.status_code, many.json()["error"]["param"]) == (400, "input")
    assert [one.status_code for one in (enough, spent, forbidden)] == [200, 429, 403]


async def test_the_list_of_models_says_that_it_is_a_classifier_with_no_base_above_it(world: World) -> None:
    version = world.prod()
    async with world.serving() as running:
        card = (await running.client.get("/v1/models/mood")).json()
        names = [one["id"] for one in (await running.client.get("/v1/models")).json()["data"]]
    assert names == ["tiny", "mood"]
    assert (card["dabt"]["kind"], card["dabt"]["classifier"]) == ("classifier", version.spec.classifier)
    assert (card["parent"], "max_model_len" in card) == (None, False)


async def test_at_the_end_of_a_service_what_was_let_in_gets_its_labels(world: World, until: Any) -> None:
    world.prod()
    async with world.serving() as running:
        await ask(running, "mood")
        world.readers[0].go.clear()
        asking = asyncio.create_task(ask(running, "mood"))
        parts = running.app.state.parts
        await until(parts.classifiers._turn.locked)
        draining = asyncio.create_task(parts.drain(30.0))
        await until(lambda: parts.under_way.draining_since is not None)
        late = await ask(running, "mood")
        world.readers[0].go.set()
        assert (await asking).json()["data"][0]["label"] == "good"
        assert await draining
    assert late.status_code == 503


async def test_one_that_cannot_be_loaded_is_503_and_other_requests_go_on(world: World) -> None:
    world.prod()
    world.house.prod("triage", prompt={"system": "Be kind."})
    async with world.serving(classifier_gib=1e-9) as running:
        reply = await ask(running, "mood")
        chat = await running.chat("triage")
    assert (reply.status_code, reply.json()["error"]["code"]) == (503, "adapter_unloadable")
    assert "--classifier-gib" in reply.json()["error"]["message"]
    assert chat.status_code == 200


@pytest.mark.parametrize("turned", [False, True])
async def test_a_shadow_of_a_classifier_is_compared_by_its_labels(world: World, turned: bool, until: Any) -> None:
    world.prod()
    home = world.house.home
    candidate = world.classifier(turned=turned, decoding={"max_tokens": 5})
    world.house.registry.record_report(report_on(candidate))
    async with world.serving(shadow_folder=home.shadow) as running:
        order = {"alias": "mood", "reason": "look", "shadow": {"version": candidate.number}}
        assert (await running.client.post("/admin/traffic/shadow", json=order)).status_code == 200
        await ask(running, "mood")
        await until(lambda: [*Records(home.shadow).read("mood", "prod")])
    (record,) = Records(home.shadow).read("mood", "prod")
    assert (record.kind, record.served.ref, record.candidate.ref) == ("classification", "mood:1", candidate.ref)
    assert (record.agree, record.candidate.code) == (not turned, "")


async def rows(running: Any) -> dict[str, Any]:
    found = (await running.client.get("/admin/residency")).json()
    return {row["digest"]: row["pinned"] for row in found["classifiers"]}


async def test_it_is_preloaded_before_the_service_is_ready_and_a_pin_follows_its_name(world: World, until: Any) -> None:
    first = world.prod()
    async with world.serving(preload=("prod",), pin=("mood",)) as running:
        assert await rows(running) == {first.spec.classifier: True}
        second = world.prod(turned=True)

        async def moved() -> bool:
            return await rows(running) == {first.spec.classifier: False, second.spec.classifier: True}

        await until(moved)
        assert (await ask(running, "mood")).json()["data"][0]["label"] == "bad"


async def test_it_is_loaded_pinned_and_let_go_by_order(world: World) -> None:
    version = world.prod()
    world.house.prod("plain", prompt={"system": "no adapter"})
    async with world.serving() as running:
        assert await rows(running) == {}
        for order, pinned in (("preload", False), ("pin", True), ("unpin", False)):
            reply = await running.client.post(f"/admin/{order}", json={"ref": "mood"})
            digests = [] if order == "unpin" else [version.spec.classifier]
            assert (reply.status_code, reply.json()["classifiers"]) == (200, digests)
            assert await rows(running) == {version.spec.classifier: pinned}
        nothing = await running.client.post("/admin/pin", json={"ref": "plain"})
    assert nothing.status_code == 400
    assert "is no classifier; there is nothing to load" in nothing.text
