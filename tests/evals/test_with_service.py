"""The two halves of the HTTP contract together: an evaluation against the real service, over its fake engine."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.progress import Silent
from evals.run import evaluate
from lifecycle.errors import InvalidInput, NotAllowed, Unavailable
from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest, GoldenPrompt
from lifecycle.models.base import fingerprint
from lifecycle.models.templates import with_template
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Lineage, Prompt, VersionSpec
from service.adapters.residency import internal_name
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine, fake_logprobs

ARMS = """
  base: {prompt: {system: system.txt}}
  few-shot: {prompt: {system: system.txt, shots: shots.jsonl}}
  adapter: {version: toy:newest}
"""


@pytest.fixture
def store(home: Home) -> ArtifactStore:
    return ArtifactStore(home.artifacts_url, home.cache)


@dataclass
class Served:
    """The service's own app on a port, to be stopped and started again there; the engine is the one for tests."""

    start_app: Callable[[FakeEngine], FastAPI]
    port: int = 0
    server: uvicorn.Server | None = None
    thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, engine: FakeEngine | None = None) -> None:
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        app = self.start_app(engine or FakeEngine())
        self.server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
        self.thread = threading.Thread(target=self.server.run, kwargs={"sockets": [listener]}, daemon=True)
        self.thread.start()
        while httpx.get(f"{self.url}/ready", timeout=60).status_code != 200:  # waits in the backlog until it accepts
            assert self.thread.is_alive()

    def stop(self) -> None:
        assert self.server is not None
        assert self.thread is not None
        self.server.should_exit = True
        self.thread.join()


@pytest.fixture
def service(registry: Registry, store: ArtifactStore, base_model: Path) -> Iterator[Served]:
    config = ServeConfig(base=base_model, max_cpu_loras=2, max_loras=2)
    made = Served(lambda engine: create_app(config, engine, registry, store))
    made.start()
    yield made
    made.stop()


@pytest.fixture
def served(service: Served) -> str:
    return f"{service.url}/v1"


@pytest.fixture
def published(registry: Registry, store: ArtifactStore, base_model: Path, tmp_path: Path) -> str:
    """A version with an adapter whose golden prompts the fake engine reproduces."""
    folder = tmp_path / "adapter"
    folder.mkdir()
    (folder / "adapter_model.safetensors").write_text("bytes")
    digest = store.put(folder)
    prompt, completion = (1, 2, 3), (4, 5)
    golden = GoldenPrompt(
        prompt_ids=prompt,
        completion_ids=completion,
        adapter_logprobs=tuple(fake_logprobs(internal_name(digest), prompt, completion)),
        base_logprobs=tuple(fake_logprobs("", prompt, completion)),
    )
    registry.add_artifact(
        AdapterManifest(
            digest=digest,
            base=fingerprint(base_model).digest,
            base_name="tiny-base",
            rank=8,
            alpha=16,
            scale=2.0,
            target_modules=("q_proj",),
            parameters=1,
            bytes=1,
            golden=(golden,),
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    spec = VersionSpec(base=fingerprint(base_model).digest, adapter=digest)
    return registry.create_version("toy", spec, actor="test", lineage=Lineage(source="training")).ref


@pytest.fixture
def plan(workplace: Path, published: str, served: str) -> EvalConfig:
    lines = (workplace / "toy.yaml").read_text().splitlines()
    (workplace / "served.yaml").write_text("\n".join(lines[: lines.index("arms:") + 1]) + ARMS)
    return EvalConfig.load(workplace / "served.yaml", endpoint=served)


@pytest.mark.e2e
def test_drafts_are_measured_as_they_would_be_served(plan, published, registry, home, served) -> None:
    evaluation = evaluate(plan, registry, home)
    report = evaluation.report
    assert [arm.arm for arm in report.arms] == ["base", "few-shot", "adapter"]
    assert [arm.errors for arm in report.arms] == [0, 0, 0]
    assert all(arm.completion_tokens > 0 and arm.latency_p95 > 0 for arm in report.arms)
    tokens = {arm.arm: arm.prompt_tokens for arm in report.arms}
    assert tokens["few-shot"] > tokens["base"] > tokens["adapter"]  # the service applied prompt and shots
    assert len({example.answers["base"] for example in report.examples}) > 1
    rejected = {verdict.ref for verdict in evaluation.verdicts if not verdict.passed}
    assert published in rejected  # the fake engine babbles: nothing may pass a gate with it
    body = {"model": published, "messages": [{"role": "user", "content": "x"}]}
    assert httpx.post(f"{served}/chat/completions", json=body, timeout=60).status_code == 403


@pytest.mark.e2e
def test_a_service_over_another_registry_is_not_taken_for_this_one(plan, registry, home, workplace, tmp_path) -> None:
    theirs = registry.version("toy:1").spec.model_copy(update={"prompt": Prompt(system="theirs")})
    registry.create_version("toy", theirs, actor="test")
    lines = [line for line in (workplace / "served.yaml").read_text().splitlines() if "adapter:" not in line]
    (workplace / "other.yaml").write_text("\n".join(lines))
    config = EvalConfig.load(workplace / "other.yaml", endpoint=plan.endpoint)
    with (
        Registry.open(f"sqlite:///{tmp_path / 'other.db'}") as other,
        pytest.raises(NotAllowed, match="serves another toy:"),  # the same refs, other recipes
    ):
        evaluate(config, other, home)


@pytest.mark.e2e
def test_a_base_that_is_served_with_a_chat_template_is_asked_by_the_same_one(
    workplace, base_model, registry, store, home, tmp_path
) -> None:
    (workplace / "turns.jinja").write_text("{{ messages[-1]['content'] }}")
    base = with_template(base_model, workplace / "turns.jinja", tmp_path / "theirs")
    service = Served(lambda engine: create_app(ServeConfig(base=base), engine, registry, store))
    service.start()
    lines = (workplace / "toy.yaml").read_text().splitlines()
    two = "\n".join([*lines[: lines.index("arms:") + 1], *ARMS.splitlines()[1:3]])
    (workplace / "plain.yaml").write_text(two)
    (workplace / "templated.yaml").write_text(f"template: turns.jinja\n{two}")
    try:
        with pytest.raises(NotAllowed, match="its own base, of which the chat template is a part"):
            evaluate(EvalConfig.load(workplace / "plain.yaml", endpoint=f"{service.url}/v1"), registry, home)
        config = EvalConfig.load(workplace / "templated.yaml", endpoint=f"{service.url}/v1")
        report = evaluate(config, registry, home).report
    finally:
        service.stop()
    assert [(arm.arm, arm.errors) for arm in report.arms] == [("base", 0), ("few-shot", 0)]
    assert report.base == "tiny-base"
    assert {registry.version(arm.ref).spec.base for arm in report.arms} == {fingerprint(base).digest}


@pytest.mark.e2e
def test_the_verdict_names_the_deployment_that_the_service_says_it_is(plan, registry, home, served) -> None:
    evaluation = evaluate(plan, registry, home)
    told = httpx.get(f"{served}/dabt/deployment", timeout=60).json()
    assert evaluation.report.deployment is not None
    assert evaluation.report.deployment.digest == told["digest"]
    assert {verdict.deployment for verdict in evaluation.verdicts} == {told["digest"]}
    assert evaluation.report.provisional == ()


@pytest.mark.e2e
def test_a_question_that_was_too_long_is_asked_again_once_the_service_takes_longer_ones(
    plan, registry, home, service
) -> None:
    service.stop()
    service.start(FakeEngine(max_words=19))  # the others send 18 words at most, and few-shot 20 at least
    small = evaluate(plan, registry, home).report
    assert [arm.errors for arm in small.arms] == [0, 40, 0]
    service.stop()
    service.start(FakeEngine(max_words=512))
    large = evaluate(plan, registry, home).report
    assert [arm.errors for arm in large.arms] == [0, 0, 0]
    assert small.deployment.digest != large.deployment.digest


@pytest.mark.e2e
def test_a_run_outlives_a_service_that_starts_again_in_the_middle(plan, registry, home, service) -> None:
    class Restarting(Silent):
        restarting: threading.Thread | None = None
        done = 0

        def advance(self, arm: str, count: int) -> None:
            self.done += count
            if self.done >= 30 and self.restarting is None:
                self.restarting = threading.Thread(target=lambda: (service.stop(), service.start()))
                self.restarting.start()

    progress = Restarting()
    endpoint = Endpoint(url=plan.endpoint, pause=0.02, retries=20)
    report = evaluate(plan, registry, home, progress=progress, endpoint=endpoint).report
    assert progress.restarting is not None
    progress.restarting.join()
    assert ([arm.errors for arm in report.arms], report.provisional) == ([0, 0, 0], ())


@pytest.mark.e2e
def test_a_service_that_starts_again_as_another_ends_the_run(plan, registry, home, service) -> None:
    class Changing(Silent):
        done = 0
        changed = False

        def advance(self, arm: str, count: int) -> None:
            self.done += count
            if self.done >= 30 and not self.changed:
                self.changed = True
                service.stop()
                service.start(FakeEngine(max_words=512))

    with pytest.raises(Unavailable, match="was another deployment when this run began"):
        evaluate(plan, registry, home, progress=Changing())
    assert not registry.reports()
    report = evaluate(plan, registry, home).report
    assert [arm.errors for arm in report.arms] == [0, 0, 0]


@pytest.mark.e2e
def test_an_edited_document_changes_the_rags_answer_at_once_and_the_adapters_never(
    registry, store, home, base_model, published, served, tmp_path
) -> None:
    from evals.freshness import measure_freshness
    from lifecycle.version import Knowledge
    from retrieval.config import IndexConfig
    from retrieval.publish import publish_index

    page = tmp_path / "documents" / "page.md"
    page.parent.mkdir()
    page.write_text("## h01\nThe pharmacy opens at 8:30.\n", encoding="utf-8")
    config = IndexConfig(dense="none")
    index, _ = publish_index(page.parent, "handbook", config, store=store, registry=registry)
    spec = VersionSpec(base=fingerprint(base_model).digest, knowledge=Knowledge(index=index))
    rag = registry.create_version("toy", spec, actor="test").ref

    def measured(text: str):
        page.write_text(text, encoding="utf-8")
        where = {"registry": registry, "home": home, "endpoint": Endpoint(url=served)}
        return measure_freshness([rag, published], ["When does the pharmacy open?"], page.parent, "9:15", **where)

    fresh, learned = measured("## h01\nThe pharmacy opens at 9:15.\n")
    assert (fresh.changed, learned.changed) == (1, 0)
    assert fresh.after != fresh.before
    assert learned.after == learned.before
    assert registry.version(fresh.after).spec.knowledge.index == registry.index("handbook").digest != index
    with pytest.raises(InvalidInput, match="nothing was edited"):
        measured("## h01\nThe pharmacy opens at 8:30.\n")
