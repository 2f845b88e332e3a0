"""The screen Settings: each setting with its explanation, no secret in any, and how each part is."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from console.screens.settings.health import health_of
from console.screens.settings.table import rows_of, shown, without_secrets, words
from console.store_health import StoreHealth
from lifecycle.errors import Unavailable
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest
from service.concurrency import Bulkhead
from service.config import ServeConfig
from tests.console.conftest import DESK, PHONE, Serve, Served
from tests.console.looking import assert_fits
from tests.service.conftest import House

SECRETS = {
    "limits_url": "redis://user:hunter2@cache:6379/0?password=hunter2",
    "otlp_endpoint": "https://hunter2@collector.example/?api-key=hunter2",
    "grafana_url": "https://grafana.example/d/x?auth_token=hunter2#hunter2",
    "engine_options": ("--hf-token", "hunter2", "--api-key=hunter2", "--seed", "7"),
}


class Away(ArtifactStore):
    """A bucket that nobody reaches."""

    def __init__(self) -> None:
        self.url, self.asked = "s3://bucket", 0

    def has(self, digest: Digest) -> bool:
        self.asked += 1
        raise Unavailable("the artifact store s3://bucket cannot be reached: EndpointConnectionError")


def fill(house: House) -> None:
    house.key("eva", role="evaluator")
    house.key("sami", role="caller")


@pytest.fixture(scope="module")
def served(serve: Serve) -> Served:
    return serve(fill, load_wait_seconds=3.5)


def test_every_setting_is_a_row_with_its_default_and_what_the_source_says_of_it():
    rows = {row.name: row for row in rows_of(ServeConfig(base=Path("/models/tiny"), max_loras=3))}
    assert list(rows) == list(ServeConfig.model_fields)
    assert rows["base"].default == ""
    assert (rows["max_loras"].value, rows["max_loras"].default, rows["max_loras"].is_default) == ("3", "8", False)
    assert rows["max_cpu_loras"].is_default
    assert rows["max_cpu_loras"].words == "Adapters kept in memory, ready for a slot."
    assert len(words()) > 40


@pytest.mark.parametrize("name", SECRETS)
def test_no_setting_shows_a_secret(name: str):
    told = shown(name, SECRETS[name])
    assert "hunter2" not in told
    assert "…" in told


def test_what_is_no_secret_of_an_address_and_of_an_option_is_shown():
    assert without_secrets("redis://cache:6379/0") == "redis://cache:6379/0"
    assert shown("limits_url", SECRETS["limits_url"]) == "redis://…@cache:6379/0?password=…"
    assert shown("engine_options", SECRETS["engine_options"]) == "--hf-token … --api-key=… --seed 7"
    assert without_secrets("https://collector.example/in?hunter2") == "https://collector.example/in?…"
    assert without_secrets("dabt-" + "x" * 43) == "dabt-…"
    assert without_secrets("redis://me:hunter2@[::1") == "…"


def test_the_page_has_settings_health_packages_and_the_deployment(served: Served):
    with served.client("eva") as client:
        text = client.get("/ui/settings").text
    parts = served.app.state.parts
    assert parts.deployment.digest(parts.supervisor.facts) in text
    for there in ("load_wait_seconds", "3.5", "How long a request waits for room", "vllm", "Artifact store"):
        assert there in text, there
    assert ">in trouble<" not in text


def test_it_is_for_evaluators_and_more(served: Served):
    with served.client("sami") as client:
        assert client.get("/ui/settings").status_code == 403


async def test_a_part_in_trouble_says_so(served: Served):
    state = served.app.state
    console = state.console.pages.state
    parts = state.parts
    away = SimpleNamespace(counted_in="away")
    broken = SimpleNamespace(
        **{name: getattr(parts, name) for name in ("base", "engine", "library", "rooms", "supervisor", "traffic")},
        embedder=SimpleNamespace(standing="failed", name="some-model"),
        accounts=away,
        catalogue=SimpleNamespace(problem="unavailable", age=12.0, snapshot=parts.catalogue.snapshot),
    )
    config = console.config.model_copy(update={"worker": True})
    looked = SimpleNamespace(
        parts=broken, config=config, home=console.home, registry=console.registry,
        service=SimpleNamespace(worker=None), store_health=StoreHealth(Away(), Bulkhead("store", 1, 1, 120.0)),
    )  # fmt: skip
    told = {health.part: health for health in await health_of(looked)}
    trouble = {part for part, health in told.items() if health.state == "trouble"}
    assert trouble == {"Registry", "Worker for fine-tuning jobs", "Embedding model", "Limits of keys", "Artifact store"}
    assert told["Artifact store"].said == "the artifact store s3://bucket cannot be reached: EndpointConnectionError"
    assert "12 s ago" in told["Registry"].said


async def test_many_pages_ask_the_store_once():
    store = Away()
    health = StoreHealth(store, Bulkhead("store", 1, 1, 120.0))
    told = await asyncio.gather(*(health.problem() for _ in range(50)))
    assert store.asked == 1
    assert all("cannot be reached" in problem for problem in told)


@pytest.mark.e2e
@pytest.mark.parametrize(("language", "theme", "width"), [("en", "light", DESK), ("ar", "dark", PHONE)])
def test_a_person_reads_it(served: Served, language: str, theme: str, width: int):
    with served.person(language, theme=theme, width=width, key="eva") as person:
        person.goto("/ui/settings")
        assert person.locator("table").count() == 2
        assert_fits(person)
