"""Which classifiers are in memory: loaded once, verified first, bounded in bytes, the least recently used leaves."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import AdapterUnloadable, Corrupt, InvalidInput
from lifecycle.manifests import ClassifierManifest, GoldenText
from lifecycle.version import Digest, digest_of
from service.classification.residents import ClassifierLimits, Classifiers
from service.engine.interface import Call

pytestmark = pytest.mark.timeout(300)

LABELS = ("bad", "good")


class Counted:
    """A stand-in: a token is a letter, and the logits are how many letters are b's and g's."""

    def __init__(self, labels: tuple[str, ...] = LABELS, limit: int = 8, truncates: bool = False) -> None:
        self.labels, self.limit, self.truncates, self.exclusive = labels, limit, truncates, True

    def tokens(self, texts: Sequence[str], most: int | None = None) -> list[list[int]]:
        return [[ord(letter) for letter in text][:most] for text in texts]

    def logits(self, rows: Sequence[Sequence[int]]) -> list[list[float]]:
        return [[float(list(row).count(ord(label[0]))) for label in self.labels] for row in rows]


@dataclass
class World:
    """A store of folders, their manifests, and what was told of loads."""

    root: Path
    readers: dict[str, Any] = field(default_factory=dict)
    manifests: dict[Digest, ClassifierManifest] = field(default_factory=dict)
    folders: dict[Digest, Path] = field(default_factory=dict)
    told: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    hold: threading.Event = field(default_factory=threading.Event)
    missing: set[Digest] = field(default_factory=set)
    now: float = 0.0

    def __post_init__(self) -> None:
        self.hold.set()

    def classifier(self, name: str, size: int = 10, reader: Any = None, golden: Any = None) -> Digest:
        digest = digest_of(name)
        self.folders[digest] = self.root / name
        self.folders[digest].mkdir()
        (self.folders[digest] / "model.safetensors").write_bytes(b"x" * size)
        self.readers[name] = reader or Counted()
        self.manifests[digest] = ClassifierManifest(
            digest=digest,
            base=digest_of("encoder"),
            base_name="encoder",
            parameters=1,
            bytes=size,
            created_at=datetime.now(UTC),
            labels=LABELS,
            architecture="BertForSequenceClassification",
            golden=(GoldenText(text="bbg", logits=(2.0, 1.0)),) if golden is None else golden,
        )
        return digest

    def made(self, most: int = 100) -> Classifiers:
        limits = ClassifierLimits(bytes=most, clock=lambda: self.now)
        return Classifiers(self, self.manifest, limits, self, load=self.load)

    async def manifest(self, digest: Digest) -> ClassifierManifest:
        return self.manifests[digest]

    def get(self, digest: Digest) -> Path:
        if digest in self.missing:
            raise Corrupt("bytes do not match")
        return self.folders[digest]

    def load(self, folder: Path) -> Any:
        self.hold.wait()
        self.loads.append(folder.name)
        return self.readers[folder.name]

    def loaded(self, seconds: float) -> None:
        self.told.append("loaded")

    def load_failed(self) -> None:
        self.told.append("failed")

    def evicted(self) -> None:
        self.told.append("evicted")


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def call(text: str | list[str] = "good", **fields: Any) -> Call:
    return Call("classification", {"input": text, **fields}, "mood", None, "id")


async def test_texts_get_their_labels_as_vllm_writes_them(world: World) -> None:
    digest = world.classifier("mood")
    answer = await world.made().answer(digest, call(["bad", "good gg"]))
    assert answer.body["data"][0]["label"] == "bad"
    assert answer.body["data"][1] == {
        "index": 1,
        "label": "good",
        "probs": pytest.approx([0.0474, 0.9526], abs=1e-4),
        "num_classes": 2,
    }
    assert answer.body.keys() == {"id", "object", "created", "model", "data", "usage"}
    assert (answer.body["id"], answer.body["object"], answer.body["model"]) == ("classify-id", "list", "mood")
    assert answer.body["usage"] == {"prompt_tokens": 10, "total_tokens": 10, "completion_tokens": 0}
    assert (answer.tally.prompt_tokens, answer.tally.completion_tokens) == (10, 0)


async def test_without_activation_the_logits_themselves_are_given(world: World) -> None:
    digest = world.classifier("mood")
    answer = await world.made().answer(digest, call("bbg", use_activation=False))
    assert answer.body["data"][0]["probs"] == [2.0, 1.0]


async def test_a_text_over_the_limit_is_an_error_at_its_place_and_never_cut_in_silence(world: World) -> None:
    digest = world.classifier("mood")
    with pytest.raises(InvalidInput) as caught:
        await world.made().answer(digest, call(["g" * 8, "g" * 9, "b" * 10]))
    assert [problem.place for problem in caught.value.problems] == ["input.1", "input.2"]
    assert "9 tokens, and the classifier reads 8" in caught.value.problems[0].fault


@pytest.mark.parametrize(("most", "tokens"), [(-1, 8), (5, 5), (8, 8), (9, 8)])
async def test_a_text_is_cut_where_its_caller_says_so(world: World, most: int, tokens: int) -> None:
    digest = world.classifier("mood")
    answer = await world.made().answer(digest, call("g" * 20, truncate_prompt_tokens=most))
    assert answer.tally.prompt_tokens == tokens


async def test_a_classifier_that_was_trained_on_cut_texts_is_served_with_cut_texts(world: World) -> None:
    digest = world.classifier("mood", reader=Counted(truncates=True))
    assert (await world.made().answer(digest, call("g" * 20))).tally.prompt_tokens == 8


async def test_many_first_requests_load_once(world: World) -> None:
    world.hold.clear()
    digest = world.classifier("mood")
    classifiers = world.made()
    asking = [asyncio.create_task(classifiers.answer(digest, call())) for _ in range(20)]
    await asyncio.sleep(0)
    assert classifiers.digests() == [digest], "its files stay on disk while it is on its way"
    world.hold.set()
    await asyncio.gather(*asking)
    assert (world.loads, world.told) == (["mood"], ["loaded"])


async def test_past_the_bound_the_least_recently_used_leaves(world: World) -> None:
    one, two, three = (world.classifier(name, size=40) for name in ("one", "two", "three"))
    classifiers = world.made(most=80)
    for digest in (one, two, one, three):
        await classifiers.answer(digest, call())
    assert (classifiers.digests(), classifiers.bytes(), classifiers.count()) == ([one, three], 80, 2)
    assert world.told.count("evicted") == 1
    await classifiers.answer(two, call())
    assert world.loads == ["one", "two", "three", "two"]


async def test_what_is_pinned_stays_and_others_are_told_what_is_left(world: World) -> None:
    one, two, three, large = (
        world.classifier(name, size=size) for name, size in (("one", 40), ("two", 40), ("three", 40), ("large", 61))
    )
    classifiers = world.made(most=100)
    classifiers.pin([one])
    for digest in (one, two, three):
        assert await classifiers.prefetch(digest)
    assert [(row.digest, row.bytes, row.pinned) for row in classifiers.residents()] == [
        (one, 40, True),
        (three, 40, False),
    ]
    with pytest.raises(AdapterUnloadable, match=r"pinned leave .* unpin one, or raise --classifier-gib"):
        await classifiers.answer(large, call())
    assert classifiers.digests() == [one, three], "nothing left for one that finds no room"
    classifiers.pin([])
    world.now += 10.0
    assert await classifiers.prefetch(large)
    assert classifiers.digests() == [large]


async def test_loading_ahead_takes_free_room_and_pushes_out_only_where_it_may(world: World) -> None:
    one, two, three = (world.classifier(name, size=size) for name, size in (("one", 50), ("two", 50), ("three", 50)))
    classifiers = world.made(most=100)
    assert [await classifiers.prefetch(digest, evict=False) for digest in (one, two, three, one)] == [
        True,
        True,
        False,
        True,
    ]
    assert world.loads == ["one", "two"]
    classifiers.pin([one, two])
    assert not await classifiers.prefetch(three)
    classifiers.pin([two])
    assert await classifiers.prefetch(three)
    assert classifiers.digests() == [two, three]


async def test_one_that_never_fits_is_refused_with_the_option_that_helps_and_nothing_leaves_for_it(
    world: World,
) -> None:
    small, large = world.classifier("small", size=100), world.classifier("large", size=101)
    classifiers = world.made(most=100)
    await classifiers.answer(small, call())
    with pytest.raises(AdapterUnloadable, match="--classifier-gib"):
        await classifiers.answer(large, call())
    assert classifiers.digests() == [small]


@pytest.mark.parametrize(
    ("logits", "says"),
    [
        ((2.0, 1.02), "computes something else"),
        ((1.0, 2.0), "computes something else"),
        ((2.0, 1.0, 0.0), "has 2 labels here and had 3"),
        ((2.0, float("nan")), "computes something else"),
    ],
)
async def test_one_that_computes_something_else_answers_nobody(
    world: World, logits: tuple[float, ...], says: str
) -> None:
    digest = world.classifier("mood", golden=(GoldenText.model_construct(text="bbg", logits=logits),))
    classifiers = world.made()
    with pytest.raises(AdapterUnloadable, match=says):
        await classifiers.answer(digest, call())
    assert (classifiers.digests(), world.told) == ([], ["failed"])


async def test_labels_in_another_order_than_recorded_answer_nobody(world: World) -> None:
    digest = world.classifier("mood", reader=Counted(labels=("good", "bad")), golden=())
    with pytest.raises(AdapterUnloadable, match="labels are good, bad here, and were bad, good"):
        await world.made().answer(digest, call())


async def test_a_rounding_error_is_let_through(world: World) -> None:
    digest = world.classifier("mood", golden=(GoldenText(text="bbg", logits=(2.009, 0.991)),))
    assert (await world.made().answer(digest, call())).body["data"][0]["label"] == "good"


async def test_a_failed_load_is_told_at_once_until_its_pause_is_over_and_then_tried_again(world: World) -> None:
    digest = world.classifier("mood")
    world.missing.add(digest)
    classifiers = world.made()
    for _ in range(3):
        with pytest.raises(AdapterUnloadable, match="do not match"):
            await classifiers.answer(digest, call())
    assert world.told == ["failed"]
    world.missing.clear()
    world.now = 5.0
    assert (await classifiers.answer(digest, call())).body["data"][0]["label"] == "good"


async def test_a_request_that_is_wrong_loads_nothing(world: World) -> None:
    digest = world.classifier("mood")
    with pytest.raises(InvalidInput):
        await world.made().answer(digest, call([]))
    assert world.loads == []


async def test_tokens_of_a_request_are_those_of_all_its_texts_in_slices(world: World) -> None:
    digest = world.classifier("mood")
    answer = await world.made().answer(digest, call(["good"] * 200))
    assert (len(answer.body["data"]), answer.tally.prompt_tokens) == (200, 800)
    assert [item["index"] for item in answer.body["data"]] == list(range(200))
