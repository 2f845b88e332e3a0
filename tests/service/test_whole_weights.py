"""Whole weights by their version: found in the store, served as a base, and held against what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from lifecycle.errors import AdapterUnloadable, Corrupt, InvalidConfig, NotAllowed, NotFound
from lifecycle.manifests import ClassifierManifest, GoldenWeights, WeightsManifest
from lifecycle.version import VersionSpec
from service.adapters.golden import verify_weights
from service.base_folder import with_bases
from service.engine.fake_engine import FakeEngine
from service.engine.interface import AdapterHandle
from service.resolution import Base, Caller, resolve
from service.served_bases import bases_named
from service.whole_weights import stored_weights
from tests.service.test_catalogue import read

GOLDEN = GoldenWeights(
    prompt_ids=(1,), completion_ids=(2, 3), tuned_logprobs=(-0.1, -0.2), original_logprobs=(-3.0, -4.0)
)


def manifest(house: Any, digest: str) -> WeightsManifest:
    return WeightsManifest(
        digest=digest,
        base=house.base_digest,
        base_name="tiny",
        origin="sha256:" + "0" * 64,
        architecture="LlamaForCausalLM",
        parameters=1,
        bytes=1,
        golden=(GOLDEN,),
        created_at=datetime.now(UTC),
    )


@pytest.fixture
def tuned(house: Any) -> Any:
    """`triage:1`, the house's base as if it had been trained."""
    made = manifest(house, house.store.put(house.base))
    house.registry.add_artifact(made)
    return house.registry.create_version("triage", VersionSpec(base=made.base, weights=made.digest), actor="test")


def test_a_version_with_whole_weights_is_a_folder_with_their_bytes(house: Any, tuned: Any) -> None:
    found = stored_weights("triage:1", house.home)
    assert found is not None
    assert {one.name for one in found.folder.iterdir()} == {one.name for one in house.base.iterdir()}
    assert (found.name, found.manifest.digest) == ("tiny@triage-1", tuned.spec.weights)


@pytest.mark.parametrize("base", ["org/name", "/models/llama", "llama"])
def test_folders_and_hub_ids_are_no_versions(house: Any, base: str) -> None:
    assert stored_weights(base, house.home) is None


def test_what_cannot_be_served_as_a_base_is_told_before_any_engine_starts(house: Any, tuned: Any) -> None:
    house.adapter("one")
    house.version("other", adapter="one")
    with pytest.raises(InvalidConfig, match="other:1 is of the kind adapter, and has no weights of its own"):
        stored_weights("other:1", house.home)
    with pytest.raises(NotFound, match="there is no version triage:7"):
        stored_weights("triage:7", house.home)
    with pytest.raises(InvalidConfig, match="names no model"):
        stored_weights("Triage:one two", house.home)
    house.registry.retire("triage:1", "test", "old")
    with pytest.raises(NotAllowed, match="retired"):
        stored_weights("triage:1", house.home)


def test_all_that_cannot_be_a_base_beside_others_is_told_at_once_with_its_cure(house: Any, tuned: Any) -> None:
    house.adapter("one")
    house.version("other", adapter="one")
    folder = house.home.root / "made" / "sorter"
    folder.mkdir()
    (folder / "model.safetensors").write_text("sorter")
    sorter = ClassifierManifest(
        digest=house.store.put(folder), base=house.base_digest, base_name="tiny", parameters=1, bytes=1,
        created_at=datetime.now(UTC), labels=("a", "b"), architecture="x",
    )  # fmt: skip
    house.registry.add_artifact(sorter)
    house.version("sorter", classifier=sorter.digest)
    words = ["other:1", "sorter:1", "triage:7", "triage:1", str(house.home.root / "nowhere"), str(house.base)]
    with pytest.raises(InvalidConfig) as error:
        with_bases(bases_named(words, {}), house.home)
    assert [(each.place, each.fault, each.cure) for each in error.value.problems] == [
        ("base", "other:1 is of the kind adapter, and has no weights of its own",
         "name the base model that it was made over; this service then serves the version too"),
        ("base", "sorter:1 is a classifier, and classifiers are answered beside any base",
         "leave it out here, and name a base model"),
        ("base", "there is no version triage:7; `dabt versions triage` lists what there is", ""),
        ("base", f"no folder {house.home.root}/nowhere; give a model folder, a .gguf file or a hub id such as org/name",
         ""),
    ]  # fmt: skip
    with pytest.raises(NotFound, match="there is no version triage:7"):
        with_bases(bases_named(["triage:7"], {}), house.home)
    (own, known), (other, none) = with_bases(bases_named(["triage:1", f"plain={house.base}"], {}), house.home)
    assert (own.base_name, other.base_name) == ("tiny@triage-1", "plain")
    assert known is not None
    assert (known.digest, none) == (tuned.spec.weights, None)


def test_bytes_that_are_not_those_that_were_stored_are_not_served(house: Any, tuned: Any) -> None:
    file = house.store.get(tuned.spec.weights) / "config.json"
    file.chmod(0o644)
    file.write_text(file.read_text() + " ")
    with pytest.raises(Corrupt, match=r"config\.json"):
        stored_weights("triage:1", house.home)


def test_a_service_over_another_base_says_how_whole_weights_are_served(house: Any, tuned: Any) -> None:
    snapshot = read(house).snapshot
    caller = Caller(purpose="evaluation")
    assert resolve("triage:1", caller, snapshot, Base("tiny", house.base_digest)).version == tuned
    with pytest.raises(NotAllowed, match="dabt serve --base triage:1"):
        resolve("triage:1", caller, snapshot, Base("another", "sha256:" + "9" * 64))


class Computes(FakeEngine):
    def __init__(self, *values: float) -> None:
        super().__init__()
        self.values = values

    async def score(
        self, adapter: AdapterHandle | None, prompt_ids: Sequence[int], completion_ids: Sequence[int]
    ) -> list[float]:
        assert adapter is None
        return list(self.values)


@pytest.mark.parametrize(
    "values", [(-0.1, -0.2), (-0.2, -0.3), (-0.3, -0.4), (-1.0, -1.5)], ids=["as recorded", "tolerance", "more", "near"]
)
async def test_weights_that_compute_what_was_recorded_pass(house: Any, values: tuple[float, ...]) -> None:
    await verify_weights(Computes(*values), manifest(house, house.base_digest), 0.1)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ((-3.0, -4.0), "answer as tiny does"),
        ((-1.5, -2.0), "compute something else here"),
        ((float("nan"), -0.2), "no finite log-probability"),
    ],
)
async def test_weights_that_compute_something_else_are_refused(
    house: Any, values: tuple[float, ...], says: str
) -> None:
    with pytest.raises(AdapterUnloadable, match=says):
        await verify_weights(Computes(*values), manifest(house, house.base_digest), 0.1)
