"""Fixtures: a home with a registry full of versions, the service over the fake engine, and one real engine for the run.

The base is a Llama with random weights: greedy text from it means nothing, but it is sensitive to every fault of the
arithmetic. The adapters have large random deltas, so that each answers differently from the base and the others.
"""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx
import pytest
from fastapi import FastAPI

from lifecycle.access.keys import KeyGrant
from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest, GoldenPrompt
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Digest, Version, VersionSpec
from service.adapters.residency import internal_name
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine, fake_logprobs
from service.engine.interface import Engine
from tests import blank_registry
from tests.ports import free_port
from tests.service.engine_here import listening
from tests.service.random_llama import RECIPES, Reference, make_adapter, make_base
from tests.service.redis_server import start_redis
from tests.waiting import pauses

T = TypeVar("T")


def fake_base(folder: Path) -> Path:
    """A folder that the fingerprint accepts; nothing loads it."""
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes((2).to_bytes(8, "little") + b"{}")
    return folder


@dataclass
class House:
    """A registry and a store, and the means to fill them."""

    home: Home
    base: Path
    registry: Registry
    store: ArtifactStore
    adapters: dict[str, Digest] = field(default_factory=dict)

    @property
    def base_digest(self) -> Digest:
        return fingerprint(self.base).digest

    def adapter(
        self,
        name: str,
        folder: Path | None = None,
        golden: tuple[GoldenPrompt, ...] | None = None,
        base: Digest = "",
    ) -> Digest:
        """Put an adapter into the store and its manifest into the registry. Without a folder: bytes for the fake.

        It is over the house's base unless another is told.
        """
        if folder is None:
            folder = self.home.root / "made" / name
            folder.mkdir(parents=True)
            (folder / "adapter_model.safetensors").write_text(name)
        digest = self.store.put(folder)
        if golden is None:
            golden = (fake_golden(digest),)
        self.registry.add_artifact(
            AdapterManifest(
                digest=digest,
                base=base or self.base_digest,
                base_name=self.base.name,
                rank=8,
                alpha=16,
                scale=2,
                target_modules=("q_proj",),
                parameters=1,
                bytes=1,
                golden=golden,
                created_at=datetime.now(UTC),
            )
        )
        self.adapters[name] = digest
        return digest

    def key(self, name: str, *, shares_with: str = "", **grant: object) -> dict[str, str]:
        """The header of a new API key."""
        made = KeyGrant.model_validate({"name": name, **grant})
        return {"authorization": f"Bearer {self.registry.keys.create(made, actor='test', shares_with=shares_with)[1]}"}

    def index(self, folder: Path) -> Digest:
        """Put a built index into the store and the registry."""
        digest = self.store.put(folder)
        self.registry.add_index("handbook", digest, {})
        return digest

    def version(self, name: str, **spec: object) -> Version:
        """A draft of this recipe. `adapter` may be given by the name it was added under."""
        adapter = spec.pop("adapter", None)
        digest = self.adapters.get(adapter, adapter) if isinstance(adapter, str) else None
        recipe = VersionSpec.model_validate({"base": self.base_digest, "adapter": digest, **spec})
        return self.registry.create_version(name, recipe, actor="test")

    def prod(self, name: str, **spec: object) -> Version:
        """The same, in production."""
        version = self.version(name, **spec)
        self.registry.promote(version.ref, actor="test", reason="for the test", force=True)
        return version


def fake_golden(digest: Digest) -> GoldenPrompt:
    prompt, completion = (1, 2, 3), (4, 5)
    return GoldenPrompt(
        prompt_ids=prompt,
        completion_ids=completion,
        adapter_logprobs=tuple(fake_logprobs(internal_name(digest), prompt, completion)),
        base_logprobs=tuple(fake_logprobs("", prompt, completion)),
    )


def make_house(root: Path, base: Path) -> House:
    home = Home(root=root, registry_url=f"sqlite:///{root / 'registry.db'}", artifacts_url=str(root / "artifacts"))
    blank_registry.at(root / "registry.db")
    return House(home, base, Registry.open(home.registry_url), ArtifactStore(home.artifacts_url, home.cache))


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    made = make_house(tmp_path / "home", fake_base(tmp_path / "tiny"))
    yield made
    made.registry.close()


@dataclass
class Running:
    """The app over the fake engine, and a client of it."""

    client: httpx.AsyncClient
    engine: FakeEngine
    app: FastAPI

    async def ready(self) -> bool:
        return (await self.client.get("/ready")).status_code == 200

    async def chat(self, model: str, text: str = "hello", **extra: object) -> httpx.Response:
        headers = extra.pop("headers", None)
        body = {"model": model, "messages": [{"role": "user", "content": text}], **extra}
        return await self.client.post("/v1/chat/completions", json=body, headers=headers)  # type: ignore[arg-type]


async def wait_until(condition: Callable[[], Any]) -> Any:
    """What `condition()` says, or resolves to, once that is true. A test's own time limit is the only one."""
    for pause in pauses():
        found = condition()
        if inspect.isawaitable(found):
            found = await found
        if found:
            return found
        await asyncio.sleep(pause)


@pytest.fixture
def until() -> Callable[[Callable[[], object]], Awaitable[None]]:
    return wait_until


Start = Callable[..., AbstractAsyncContextManager[Running]]


@pytest.fixture
def start() -> Start:
    """`async with start(house, **options) as running`: the service over the fake engine, ready."""
    return run_service


@asynccontextmanager
async def run_service(house: House, **options: object) -> AsyncIterator[Running]:
    # The fake engine embeds nothing, and the packaged embedding model would be read for /v1/models in every test.
    # Clients here call it by the name `service`.
    default = {
        "base": house.base,
        "max_cpu_loras": 4,
        "max_loras": 2,
        "embedding_model": "none",
        "allowed_host": ("service",),
    }
    config = ServeConfig.model_validate({**default, **options})
    engine = FakeEngine()
    app = create_app(config, engine, house.registry, house.store)
    async with app.router.lifespan_context(app):
        transport = httpx.ASGITransport(app=app, client=("127.0.0.1", 50000))
        async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
            running = Running(client, engine, app)
            await wait_until(running.ready)
            yield running


# -- the real engine: one for the whole run ---------------------------------------------------------------------------


@dataclass
class Real:
    """The service over vLLM on a loopback port, in a thread of this process, with what it should compute."""

    house: House
    engine: Engine
    reference: Reference
    url: str
    app: FastAPI
    loop: asyncio.AbstractEventLoop

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` in the service's event loop, where the engine lives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=120)

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=120)


@pytest.fixture(scope="session")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    """Two slots and four adapters, so that adapters are swapped all the time. Float32, to be held against PEFT."""
    from service.engine.vllm.engine import VllmEngine

    root = tmp_path_factory.mktemp("real")
    base = root / "random-llama"
    make_base(base)
    house = make_house(root / "home", base)
    folders = {}
    for seed, (name, recipe) in enumerate(RECIPES.items(), start=1):
        folders[name] = root / name
        make_adapter(base, folders[name], recipe, seed)
    reference = Reference(base, folders)
    for name, folder in folders.items():
        house.adapter(name, folder, (golden_of(reference, name),))
        house.prod(name, adapter=name)
    config = ServeConfig(
        base=base, max_loras=2, max_cpu_loras=4, kv_cache_gib=0.25, dtype="float32", tool_parser="hermes"
    )
    engine = VllmEngine(config)
    with listening(config, engine, house.registry, house.store) as here:
        made = Real(house, engine, reference, here.url, here.app, here.loop)
        with made.client() as client:
            kernel = client.get("/ready").json()["engine"]["lora_kernel"]
        assert kernel == "service.engine.masked_lora.MaskedPunicaWrapper"
        yield made
    house.registry.close()


def golden_of(reference: Reference, adapter: str) -> GoldenPrompt:
    """As a trainer records it: a prompt and the adapter's own answer, scored with and without the adapter."""
    prompt = reference.tokenizer("The clinic")["input_ids"]
    completion = list(reference.greedy(adapter, prompt, 12).tokens)
    return GoldenPrompt(
        prompt_ids=tuple(prompt),
        completion_ids=tuple(completion),
        adapter_logprobs=tuple(reference.score(adapter, prompt, completion)),
        base_logprobs=tuple(reference.score(None, prompt, completion)),
    )


@pytest.fixture
def redis_port(tmp_path: Path) -> Iterator[int]:
    server = shutil.which("redis-server")
    if server is None:
        pytest.skip("no redis-server: install Debian's package redis-server to run this")
    port = free_port()
    process = start_redis(server, port, tmp_path)
    yield port
    process.kill()
    process.wait()
