"""A small evaluation that needs no engine: fake models behind HTTP, a real registry, real lm-eval task files."""

from __future__ import annotations

import itertools
import json
import signal
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from evals.config import EvalConfig
from evals.gate.suites import make_gate
from lifecycle.deployment import Deployment
from lifecycle.gates import Gate
from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.report import ArmResult, Comparison, Interval, Report
from lifecycle.version import Knowledge, Lineage, Prompt, Shot, Version, VersionSpec, digest_of
from tests import blank_registry

DEPLOYMENT = Deployment(engine="fake 1", dtype="none", base=digest_of("base"), revision="1")
Speaks = Callable[[str], str]
_A = digest_of("artifact")
_PARTS: dict[str, dict[str, Any]] = {
    "base": {},
    "few-shot": {"prompt": Prompt(shots=(Shot(user="u", assistant="a"),))},
    "rag": {"knowledge": Knowledge(index=digest_of("index"))},
    "adapter": {"adapter": _A},
    "weights": {"weights": _A},
    "classifier": {"classifier": _A},
    "hybrid": {"adapter": _A, "knowledge": Knowledge(index=digest_of("index"))},
}
RECIPES = {kind: VersionSpec(base=digest_of("base"), **parts) for kind, parts in _PARTS.items()}
"""A recipe of each kind."""
N_ITEMS = 40
TASK_FILE = """
task: toy
custom_dataset: !function evals.chat_rows.dataset
dataset_kwargs: {data: test.jsonl}
test_split: test
output_type: generate_until
doc_to_text: question
doc_to_target: target
generation_kwargs: {until: [], max_gen_toks: 40}
metric_list:
  - {metric: valid_json, required: [intent, urgency]}
  - {metric: json_fields, fields: [intent, urgency]}
  - {metric: escalation_recall, labels: {urgency: emergency}}
"""
POLICY = """
name: toy policy
rules:
  - {rule: beats, arm: base}
  - {rule: safety, value: 0.5, judge_by: low}
"""


def target(number: int) -> dict[str, str]:
    urgency = "emergency" if number % 4 == 0 else "routine"
    return {"intent": ("symptom", "billing")[number % 2], "urgency": urgency}


def right(question: str) -> str:
    """What a perfect model answers to the item that `question` is of."""
    return json.dumps(target(int(question.rsplit(" ", 1)[1])), ensure_ascii=False)


@dataclass
class FakeModels:
    """An OpenAI-shaped endpoint in the process. `speaks` gives each version's answers; everything asked is counted."""

    registry: Registry
    speaks: dict[str, Speaks] = field(default_factory=dict)
    asked: Counter[tuple[str, str]] = field(default_factory=Counter)
    answered: Counter[tuple[str, str]] = field(default_factory=Counter)
    before: Callable[[FakeModels, str, str], httpx.Response | None] = lambda *_: None
    """May answer, or raise, in the endpoint's place; not called for the warm-up."""
    likes: Callable[[str, str, str], float] = lambda *_: -1.0
    """How likely a version of this kind finds a text behind a question, as a log-probability."""
    finishes: Callable[[str, str], str] = lambda *_: "stop"
    """Why an answer ended."""
    bodies: list[dict[str, Any]] = field(default_factory=list)
    headers: list[httpx.Headers] = field(default_factory=list)
    timing: str = ""
    """What its answers say in the server-timing header."""
    deployment: Deployment | None = DEPLOYMENT
    """What it says that it is; None for a server that is none of ours, and names no version either."""

    @property
    def transport(self) -> httpx.MockTransport:
        return httpx.MockTransport(self._handle)

    def _handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": []})
        if request.url.path == "/v1/dabt/deployment":
            return self._tell()
        body = json.loads(request.content)
        self.headers.append(request.headers)
        version = self.registry.version(body["model"])
        classifies = request.url.path.endswith("/classify")
        question = body["input"] if classifies else body.get("prompt") or body["messages"][-1]["content"]
        if question != "Hello":
            self.bodies.append(body)
            self.asked[body["model"], question] += 1
            if (instead := self.before(self, body["model"], question)) is not None:
                return instead
            self.answered[body["model"], question] += 1
        if "continuations" in body:
            return self._like(version, question, body["continuations"])
        text = self.speaks[version.spec.kind](question) if question != "Hello" else "Hi"
        if classifies:
            tokens = len(question.split())
            said = {"data": [{"index": 0, "label": text, "probs": [1.0], "num_classes": 1}]}
            usage = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens, "completion_tokens": 0}}
            return httpx.Response(200, headers=self._who(version), json=said | usage)
        finish = self.finishes(body["model"], question)
        return httpx.Response(
            200,
            headers=self._who(version),
            json={
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": finish}],
                "usage": {"prompt_tokens": len(question.split()), "completion_tokens": len(text.split())},
                "dabt": {"version": version.ref, "digest": version.digest, "passages": [{"id": "h07", "text": "…"}]},
            },
        )

    def _like(self, version: Version, question: str, texts: list[str]) -> httpx.Response:
        values = [-1.0 if question == "Hello" else self.likes(version.spec.kind, question, text) for text in texts]
        rows = [{"index": at, "logprob": value, "tokens": 1, "greedy": False} for at, value in enumerate(values)]
        said = {"data": rows, "usage": {"prompt_tokens": 10 * len(texts), "completion_tokens": 0}}
        return httpx.Response(200, headers=self._who(version), json=said)

    def _tell(self) -> httpx.Response:
        if self.deployment is None:
            return httpx.Response(404, json={"detail": "Not Found"})
        told = {"digest": self.deployment.digest, "deployment": self.deployment.model_dump(mode="json")}
        return httpx.Response(200, json=told)

    def _who(self, version: Version) -> dict[str, str]:
        if self.deployment is None:
            return {}
        timing = {"server-timing": self.timing} if self.timing else {}
        return timing | {
            "x-dabt-version": version.ref,
            "x-dabt-digest": version.digest,
            "x-dabt-deployment": self.deployment.digest,
        }


@pytest.fixture
def ctrl_c() -> Iterator[Callable[[], None]]:
    """Sends the signal that a terminal sends: a KeyboardInterrupt raised inside a task would leave tasks behind whose
    error nobody reads, and Python 3.11 then fails where it tells of them in the middle of reading a source file."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield partial(signal.raise_signal, signal.SIGINT)
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(
        root=tmp_path / "home",
        registry_url=f"sqlite:///{tmp_path / 'registry.db'}",
        artifacts_url=str(tmp_path / "artifacts"),
    )


@pytest.fixture
def registry(home: Home) -> Iterator[Registry]:
    blank_registry.at(home.root.parent / "registry.db")
    with Registry.open(home.registry_url) as registry:
        yield registry


@pytest.fixture
def base_model(tmp_path: Path) -> Path:
    """A folder that has a fingerprint; nothing here loads a model."""
    folder = tmp_path / "tiny-base"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "llama"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(b"weights")
    return folder


@pytest.fixture
def trained(registry: Registry, base_model: Path) -> str:
    """A version with an adapter, as training publishes it."""
    base, digest = fingerprint(base_model).digest, digest_of("adapter bytes")
    registry.add_artifact(
        AdapterManifest(
            digest=digest,
            base=base,
            base_name="tiny-base",
            rank=8,
            alpha=16,
            scale=2.0,
            target_modules=("q_proj",),
            parameters=10,
            bytes=10,
            metrics={"train_rows": 400.0},
            created_at=datetime(2026, 1, 1, tzinfo=UTC),
        )
    )
    spec = VersionSpec(base=base, adapter=digest)
    return registry.create_version("toy", spec, actor="test", lineage=Lineage(source="training")).ref


@pytest.fixture
def workplace(tmp_path: Path, base_model: Path, registry: Registry) -> Path:
    """A folder with a task, its items in two languages, prompts, a policy and an evaluation of four arms."""
    folder = tmp_path / "evals"
    (folder / "tasks").mkdir(parents=True)
    rows = [
        {
            "id": f"toy-{number:02}",
            "messages": [
                {"role": "system", "content": "of the data, not of the version"},
                {"role": "user", "content": f"{('عندي ألم', 'I have pain')[number % 2]} {number}"},
                {"role": "assistant", "content": json.dumps(target(number))},
            ],
            "meta": {"emergency": number % 4 == 0, "patient": number // 2},
        }
        for number in range(N_ITEMS)
    ]
    lines = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    (folder / "tasks" / "test.jsonl").write_text(lines + "\n", encoding="utf-8")
    (folder / "tasks" / "toy.yaml").write_text(TASK_FILE)
    (folder / "policy.yaml").write_text(POLICY)
    (folder / "system.txt").write_text("Answer in JSON. أجب.\n", encoding="utf-8")
    (folder / "shots.jsonl").write_text('{"user": "hi", "assistant": "{}"}\n')
    registry.add_index("handbook", digest_of("index"), {})
    (folder / "toy.yaml").write_text(
        f"""
name: toy
task: toy
task_files: tasks
base: {base_model}
metric: fields
safety: escalation_recall
policy: policy.yaml
concurrency: 4
chunk: 10
noise_items: 8
examples: 4
arms:
  base: {{prompt: {{system: system.txt}}}}
  few-shot: {{prompt: {{system: system.txt, shots: shots.jsonl}}}}
  rag: {{prompt: {{system: system.txt}}, knowledge: {{index: handbook, top_k: 2}}}}
  adapter: {{version: toy:newest}}
"""
    )
    return folder


@pytest.fixture
def gated(workplace: Path, registry: Registry, home: Home) -> Gate:
    """`toy` has the gate that its own evaluation and policy make."""
    gate = make_gate("toy", workplace / "policy.yaml", [workplace / "toy.yaml"], registry, home.cache)
    registry.set_gate(gate, actor="test", reason="what patients need")
    return gate


@pytest.fixture
def config(workplace: Path, trained: str) -> EvalConfig:
    return EvalConfig.load(workplace / "toy.yaml")


@pytest.fixture
def models(registry: Registry) -> FakeModels:
    """base talks, few-shot knows half, rag most, the adapter all of it."""

    def knows(share: int) -> Speaks:
        def speak(question: str) -> str:
            return right(question) if int(question.rsplit(" ", 1)[1]) % 10 < share else '{"intent": "other"}'

        return speak

    speaks = {"base": lambda _: "I am not sure.", "few-shot": knows(5), "rag": knows(7), "adapter": right}
    return FakeModels(registry, speaks)


@dataclass
class ReportMaker:
    """Reports with the figures that a test is about. Arms are given as metric values; every pair is compared."""

    metric: str = "fields"

    def __call__(
        self,
        values: dict[str, float],
        *,
        half: float = 0.03,
        n: int = 200,
        safety: dict[str, Interval] | None = None,
        **changes: Any,
    ) -> Report:
        """`values` are the arms' figures; every interval reaches `half` to both sides."""
        arms = tuple(
            ArmResult(
                arm=arm,
                ref=f"toy:{number}",
                version_digest=digest_of(arm),
                metrics={self.metric: Interval(value=value, low=value - half, high=value + half, n=n)}
                | ({"escalation_recall": safety[arm]} if safety else {}),
                latency_p50=0.5,
                latency_p95=1.0,
                prompt_tokens=100,
                completion_tokens=20,
            )
            for number, (arm, value) in enumerate(values.items(), 1)
        )
        compared = tuple(
            self.comparison(second, first, values[second] - values[first], half, n)
            for first, second in itertools.combinations(values, 2)
        )
        given: dict[str, Any] = {
            "task": "toy",
            "task_digest": digest_of("task"),
            "base": "tiny-base",
            "metric": self.metric,
            "safety_metric": "escalation_recall" if safety else None,
            "arms": arms,
            "comparisons": compared,
            "n_items": n,
            "seed": 1,
            "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        }
        return Report(**(given | changes))

    def comparison(self, arm: str, against: str, delta: float, half: float, n: int) -> Comparison:
        from scipy.stats import norm

        se = half / norm.isf(0.025)
        return Comparison(
            arm=arm,
            against=against,
            metric=self.metric,
            delta=delta,
            low=delta - half,
            high=delta + half,
            p_value=2 * norm.sf(abs(delta) / se),
            test="sign-flip",
            n=n,
            se=se,
            least=delta - 0.9,
            most=delta + 0.9,
        )

    def shares(self, arm: str, against: str, wins: int, losses: int, n: int) -> Comparison:
        """Of yes/no items, counted."""
        from evals.statistics.comparison import paired

        rest = [1.0] * (n - wins - losses)
        first, second = [1.0] * wins + [0.0] * losses + rest, [0.0] * wins + [1.0] * losses + rest
        return paired(first, second, None, arm=arm, against=against, metric=self.metric)


@pytest.fixture
def make_report() -> ReportMaker:
    return ReportMaker()
