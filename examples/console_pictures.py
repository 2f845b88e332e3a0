"""Pictures of the console for its guide: `python -m examples.console_pictures` fills a home, serves it, and opens every
screen in English and Arabic in a real browser.

The engine has no model: it plays one on the clinic's messages, so that evaluations have something to tell. No figure of
these pictures is a result.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import socket
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import httpx
import uvicorn

from console.app import Console
from console.navigation import SCREENS
from evals.archive.items import anchor, read
from evals.config import EvalConfig
from evals.report.evaluation import Evaluation
from evals.run import evaluate
from lifecycle.config_file import load_mapping
from lifecycle.home import Home
from lifecycle.jobs.nouns import JobEvent, JobProgress
from lifecycle.manifests import AdapterManifest, GoldenPrompt
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.traffic import CanaryBounds, TrafficPolicy
from lifecycle.version import Digest, Lineage, Prompt, VersionSpec
from retrieval.config import IndexConfig
from retrieval.publish import publish_index
from service.adapters.residency import internal_name
from service.app import create_app
from service.config import ServeConfig
from service.engine.fake_engine import FakeEngine, fake_logprobs
from service.engine.interface import Call

CLINIC = Path(__file__).parent / "clinic"
PICTURES = Path(__file__).parents[1] / "docs" / "guides" / "pictures"
WIDTH, HEIGHT, COLOURS = 1000, 720, 48
LANGUAGES = ("en", "ar")
ACTOR = "pictures"


class Clinic(FakeEngine):
    """Knows what is right, and says it as often as whoever is asked deserves."""

    def __init__(self, skills: dict[str, float]) -> None:
        """`skills` are the shares of right answers of adapters, by their names in the engine."""
        super().__init__()
        rows = map(json.loads, (CLINIC / "data" / "triage" / "test.jsonl").read_text(encoding="utf-8").splitlines())
        self.right = {row["messages"][1]["content"]: row["messages"][2]["content"] for row in rows}
        self.skills = skills

    def _words(self, call: Call, index: int) -> tuple[list[str], str]:
        messages = call.body.get("messages") or []
        question = messages[-1]["content"] if messages else ""
        if question not in self.right:
            return super()._words(call, index)
        few_shot = any(message["role"] == "assistant" for message in messages)
        skill = self.skills[call.adapter.name] if call.adapter else 0.55 if few_shot else 0.25
        chance = hashlib.sha256(f"{few_shot}|{question}".encode()).digest()
        answers = list(self.right.values())
        said = self.right[question] if chance[0] < 256 * skill else answers[chance[1] % len(answers)]
        return said.split(" "), "stop"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder, Registry.open(f"sqlite:///{folder}/registry.db") as registry:
        home = Home(
            root=Path(folder), registry_url=f"sqlite:///{folder}/registry.db", artifacts_url=f"{folder}/artifacts"
        )
        store = ArtifactStore(home.artifacts_url, home.cache)
        engine = Clinic({})
        with served(home, registry, store, engine) as url:
            kept = [evaluated(home, registry, store, engine, url, skill) for skill in (0.8, 0.93)]
            first, second = (evaluation.report.arms[-1].ref for evaluation in kept)
            registry.promote(first, actor=ACTOR, reason="the first that passed", force=True)
            bounds = TrafficPolicy(canary=CanaryBounds(max_error_rate=0.05))
            registry.amend_policy("triage", "prod", lambda _: bounds, actor=ACTOR, reason="a canary needs bounds")
            registry.promote(second, actor=ACTOR, reason="better at formats: a fifth first", share=0.2, force=True)
            index, _ = publish_index(
                CLINIC / "handbook", "handbook", IndexConfig(dense="none"), store=store, registry=registry
            )
            job = trained_job(registry, url)
            called(url, list(engine.right)[:40])
            places = {
                **places_of(kept),
                "version": f"/ui/versions/{second.replace(':', '/')}",
                "search": f"/ui/knowledge/{index}?q=When+does+the+Cedar+pharmacy+open%3F",
                "job": f"/ui/train/jobs/{job}",
                "compare": f"/ui/compare?m={first}&m={second}",
            }
            taken = photographed(url, places, question=next(iter(engine.right)))
    for name, picture in taken.items():
        PICTURES.mkdir(exist_ok=True)
        (PICTURES / name).write_bytes(picture)
        sys.stdout.write(f"{PICTURES / name}: {len(picture) / 1024:.0f} KiB\n")


def evaluated(
    home: Home, registry: Registry, store: ArtifactStore, engine: Clinic, url: str, skill: float
) -> Evaluation:
    """The clinic's triage over a new adapter, without the arms that read passages."""
    adapter = made_adapter(home, registry, store, f"triage-{skill}")
    engine.skills[internal_name(adapter)] = skill
    spec = VersionSpec(
        base=fingerprint(CLINIC / "base_model").digest, adapter=adapter,
        prompt=Prompt(system=(CLINIC / "prompts" / "triage.txt").read_text(encoding="utf-8")),
    )  # fmt: skip
    registry.create_version("triage", spec, actor=ACTOR, lineage=Lineage(source="training"))
    there = CLINIC / "evals"
    plan = load_mapping(there / "triage.yaml")
    plan["arms"] = {arm: plan["arms"][arm] for arm in ("base", "few-shot", "adapter")}
    for arm in ("base", "few-shot"):
        plan["arms"][arm]["prompt"] = {key: str(there / name) for key, name in plan["arms"][arm]["prompt"].items()}
    plan |= {key: str((there / plan[key]).resolve()) for key in ("task_files", "answer_schema", "base")}
    plan["policy"] = str(home.root / "policy.yaml")
    policy = load_mapping(there / "policy.yaml")
    for rule in policy["rules"]:
        if rule["rule"] == "not_worse":
            rule["arms"] = ["few-shot"]
    Path(plan["policy"]).write_text(json.dumps(policy), encoding="utf-8")
    file = home.root / "triage.yaml"
    file.write_text(json.dumps(plan), encoding="utf-8")
    return evaluate(EvalConfig.load(file, endpoint=f"{url}/v1"), registry, home)


def called(url: str, questions: list[str]) -> None:
    """Requests of callers, so that there is traffic to see."""
    with httpx.Client(base_url=url, timeout=60) as client:
        while "triage" not in {card["id"] for card in client.get("/v1/models").json()["data"]}:
            time.sleep(0.1)  # the service reads of the promotion a moment later
        for question in questions:
            body = {"model": "triage", "messages": [{"role": "user", "content": question}]}
            client.post("/v1/chat/completions", json=body).raise_for_status()


def trained_job(registry: Registry, url: str) -> str:
    """The id of a fine-tuning job in the middle of its training, as its worker tells it. The losses are made up."""
    rows = (CLINIC / "data" / "triage" / "train.jsonl").read_bytes()
    with httpx.Client(base_url=url, timeout=60) as client:
        sent = client.post("/v1/files", data={"purpose": "fine-tune"}, files={"file": ("triage.jsonl", rows)}).json()
        body = {"model": "clinic", "training_file": sent["id"], "suffix": "triage", "seed": 1}
        id_ = str(client.post("/v1/fine_tuning/jobs", json=body).json()["id"])
    leases, base = registry.leases, fingerprint(CLINIC / "base_model").digest
    leases.validated(id_, None, ACTOR)
    leases.take(ACTOR, [base], {})
    told: list[dict[str, float]] = [{"base_valid_loss": 2.6}]
    told += [{"step": step, "train_loss": 0.4 + 2.4 / (1 + step / 8) + 0.1 * (step % 3)} for step in range(1, 61)]
    told += [{"step": step, "valid_loss": 0.5 + 2.1 / (1 + step / 8)} for step in range(10, 61, 10)]
    leases.tell(id_, ACTOR, [JobEvent(message=f"Step {figures.get('step', 0)}/120", data=figures) for figures in told])
    leases.beat(id_, ACTOR, JobProgress(step=60, total_steps=120))
    return id_


def made_adapter(home: Home, registry: Registry, store: ArtifactStore, name: str) -> Digest:
    """Bytes that no model reads, with golden prompts as this engine answers them."""
    folder = home.root / "made" / name
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_text(name)
    digest = store.put(folder)
    prompt, completion = (1, 2, 3), (4, 5)
    golden = GoldenPrompt(
        prompt_ids=prompt,
        completion_ids=completion,
        adapter_logprobs=tuple(fake_logprobs(internal_name(digest), prompt, completion)),
        base_logprobs=tuple(fake_logprobs("", prompt, completion)),
    )
    manifest = AdapterManifest(
        digest=digest, base=fingerprint(CLINIC / "base_model").digest, base_name="clinic", rank=8, alpha=16, scale=2,
        target_modules=("q_proj",), parameters=1, bytes=1, golden=(golden,), created_at=datetime.now(UTC),
    )  # fmt: skip
    registry.add_artifact(manifest)
    return digest


@contextmanager
def served(home: Home, registry: Registry, store: ArtifactStore, engine: FakeEngine) -> Iterator[str]:
    """The service on a free port of this machine, without keys: whoever is here may see everything."""
    config = ServeConfig(base=CLINIC / "base_model", base_name="clinic", embedding_model="none", max_loras=4)
    app = create_app(config, engine, registry, store, console=partial(Console, home=home))
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_until_complete, args=(server.serve(sockets=[listener]),), daemon=True)
    thread.start()
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    try:
        while httpx.get(f"{url}/ready", timeout=60).status_code != 200:
            time.sleep(0.05)
        yield url
    finally:
        server.should_exit = True
        thread.join(30)


def places_of(kept: list[Evaluation]) -> dict[str, str]:
    """Name of a picture → the address of what it shows."""
    first, last = (evaluation.report.digest.removeprefix("sha256:")[:12] for evaluation in kept)
    missed = next(item for item in read(kept[-1].folder) if item.arms["adapter"].scores["fields"] < 1)
    return {screen.path.removeprefix("/ui").strip("/") or "overview": screen.path for screen in SCREENS} | {
        "report": f"/ui/reports/{last}",
        "items": f"/ui/reports/{last}/items?disagree=yes",
        "item": f"/ui/reports/{last}/items/{anchor(missed.key)}",
        "history": "/ui/reports/history?task=triage",
        "difference": f"/ui/reports/diff?a={first}&b={last}",
    }


def photographed(url: str, places: dict[str, str], question: str) -> dict[str, bytes]:
    """`reports.en.png` and so on → the picture. `question` is what the page Compare asks."""
    from playwright.sync_api import sync_playwright

    taken = {}
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox", "--headless"])
        for language in LANGUAGES:
            context = browser.new_context(base_url=url, viewport={"width": WIDTH, "height": HEIGHT}, locale=language)
            cookies = {"dabt_language": language, "dabt_theme": "light"}
            for name, value in cookies.items():
                context.add_cookies([{"name": name, "value": value, "domain": "127.0.0.1", "path": "/ui"}])
            page = context.new_page()
            for name, place in places.items():
                page.goto(place)
                if name == "compare":
                    page.locator("#question").fill(question)
                    page.locator("#send").click()
                    page.locator(".pane[aria-busy=false]").nth(1).wait_for()
                    page.locator("#turns").scroll_into_view_if_needed()
                if name in ("job", "watch"):
                    page.locator("canvas").first.wait_for()
                taken[f"{name}.{language}.png"] = small(page.screenshot())
        browser.close()
    return taken


def small(picture: bytes) -> bytes:
    """With a palette: a page has few colours."""
    from PIL import Image

    packed = io.BytesIO()
    Image.open(io.BytesIO(picture)).convert("RGB").quantize(COLOURS).save(packed, "PNG", optimize=True)
    return packed.getvalue()


if __name__ == "__main__":
    main()
