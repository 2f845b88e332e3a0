"""A base model and PEFT folders made of numpy alone, and a registry on SQLite and on a real PostgreSQL."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy
import pytest

from lifecycle.deployment import Deployment
from lifecycle.gates import Gate, SuiteFacts
from lifecycle.home import Home
from lifecycle.registry import Registry
from lifecycle.report import ArmResult, Interval, Report
from lifecycle.verdict import Check, Ruling, Verdict
from lifecycle.version import Prompt, Version, VersionSpec, digest_of
from tests import blank_registry
from tests.lifecycle.postgres_server import cluster

ROOT = Path(__file__).parents[2]
HIDDEN, INNER, KV, LAYERS, RANK = 16, 32, 8, 2, 4
PROJECTIONS = {
    "self_attn.q_proj": (HIDDEN, HIDDEN),
    "self_attn.k_proj": (KV, HIDDEN),
    "self_attn.v_proj": (KV, HIDDEN),
    "self_attn.o_proj": (HIDDEN, HIDDEN),
    "mlp.gate_proj": (INNER, HIDDEN),
    "mlp.up_proj": (INNER, HIDDEN),
    "mlp.down_proj": (HIDDEN, INNER),
}
MODULES = {f"model.layers.{layer}.{name}": shape for layer in range(LAYERS) for name, shape in PROJECTIONS.items()}


def write_safetensors(path: Path, tensors: dict[str, numpy.ndarray], dtype: str = "F32") -> None:
    """The file format by hand, so that the reader under test is not its own witness; bfloat16 by truncation."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    body = b""
    for name, array in tensors.items():
        wide = numpy.ascontiguousarray(array, dtype="<f4")
        raw = (wide.view("<u4") >> 16).astype("<u2").tobytes() if dtype == "BF16" else wide.tobytes()
        header[name] = {"dtype": dtype, "shape": list(array.shape), "data_offsets": [len(body), len(body) + len(raw)]}
        body += raw
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + body)


class PeftFolder:
    """A valid adapter folder; change `config` or `tensors`, then `save()`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config: dict[str, Any] = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": "clinic/base",
            "r": RANK,
            "lora_alpha": 8,
            "target_modules": [name.rpartition(".")[2] for name in PROJECTIONS],
            "bias": "none",
            "init_lora_weights": True,
            "inference_mode": True,
        }
        random = numpy.random.default_rng(7)
        self.tensors: dict[str, numpy.ndarray] = {}
        for module, (out, in_) in MODULES.items():
            self.tensors[self.key(module, "A")] = random.normal(size=(RANK, in_))
            self.tensors[self.key(module, "B")] = random.normal(size=(out, RANK))

    @staticmethod
    def key(module: str, side: str) -> str:
        return f"base_model.model.{module}.lora_{side}.weight"

    def save(self, dtype: str = "F32") -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / "adapter_config.json").write_text(json.dumps(self.config))
        write_safetensors(self.folder / "adapter_model.safetensors", self.tensors, dtype)
        return self.folder


@pytest.fixture
def peft(tmp_path: Path) -> PeftFolder:
    return PeftFolder(tmp_path / "adapter")


def write_base(folder: Path, seed: int = 0) -> Path:
    random = numpy.random.default_rng(seed)
    folder.mkdir(parents=True)
    tensors = {f"{module}.weight": random.normal(size=shape) for module, shape in MODULES.items()}
    tensors["model.embed_tokens.weight"] = random.normal(size=(50, HIDDEN))
    tensors["model.norm.weight"] = random.normal(size=(HIDDEN,))
    tensors["lm_head.weight"] = random.normal(size=(50, HIDDEN))
    write_safetensors(folder / "model.safetensors", tensors, "BF16")
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], "hidden_size": HIDDEN}))
    (folder / "tokenizer.json").write_text(json.dumps({"model": {"type": "BPE"}, "note": "ضبط"}, ensure_ascii=False))
    (folder / "tokenizer_config.json").write_text(json.dumps({"eos_token": "</s>"}))
    (folder / "chat_template.jinja").write_text("{% for m in messages %}{{ m.content }}{% endfor %}")
    return folder


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "user-cache"))
    return write_base(tmp_path / "base")


@pytest.fixture
def make_base(tmp_path: Path) -> Callable[..., Path]:
    return lambda name, seed=0: write_base(tmp_path / name, seed)


# -- registries ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """The URL of a private cluster on loopback, without its database's name."""
    with cluster() as made:
        yield made.url


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """A fresh schema: a fresh database costs a checkpoint, which a busy disk makes slow."""
    import psycopg

    name = f"t_{uuid.uuid4().hex}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {name}".encode())
        yield f"{postgres}/postgres?options=-csearch_path%3D{name}"
        connection.execute(f"DROP SCHEMA {name} CASCADE".encode())


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.e2e)])
def registry_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "postgresql":
        return str(request.getfixturevalue("postgres_url"))
    return f"sqlite:///{tmp_path / 'registry.db'}"


@pytest.fixture
def registry(registry_url: str) -> Iterator[Registry]:
    if registry_url.startswith("sqlite:///"):
        blank_registry.at(Path(registry_url.removeprefix("sqlite:///")))
    with Registry.open(registry_url) as opened:
        yield opened


# -- what goes into one ---------------------------------------------------------------------------------------------

BASE = digest_of("base")


def spec(system: str) -> VersionSpec:
    return VersionSpec(base=BASE, prompt=Prompt(system=system))


SUITE = SuiteFacts(task="triage", task_digest=digest_of("task"), data_digest=digest_of("items"), metric="accuracy")
DEPLOYMENT = Deployment(engine="vllm 0.32.0", dtype="float32", base=BASE)


def gate_of(name: str, *suites: SuiteFacts, policy: str = "policy") -> Gate:
    return Gate(name=name, policy=digest_of(policy), policy_name=policy, suites=suites or (SUITE,))


def report_on(*versions: Version, items: int = 200, **changes: Any) -> Report:
    score = Interval(value=0.9, low=0.85, high=0.94, n=items)
    whole = Report(
        task="triage",
        task_digest=digest_of("task"),
        base="clinic-base",
        metric="accuracy",
        suite=SUITE,
        deployment=DEPLOYMENT,
        arms=tuple(
            ArmResult(
                arm=version.ref,
                ref=version.ref,
                version_digest=version.digest,
                metrics={"accuracy": score},
                latency_p50=0.1,
                latency_p95=0.2,
                prompt_tokens=80.0,
                completion_tokens=20.0,
            )
            for version in versions
        ),
        n_items=items,
        seed=0,
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return whole.model_copy(update=changes)


def verdict_on(
    version: Version,
    report: Report,
    *,
    passed: bool = True,
    policy: str = "policy",
    ruling: Ruling | None = None,
) -> Verdict:
    """As `evals` judges: bound to what the report says was measured and answered, provisional when it is."""
    ruling = ruling or (Ruling.PASSED if passed else Ruling.FAILED)
    return Verdict(
        ref=version.ref,
        version_digest=version.digest,
        evaluation_digest=report.digest,
        policy_digest=digest_of(policy),
        suite_digest=report.suite.digest if report.suite else None,
        deployment=report.deployment.digest if report.deployment else None,
        provisional=report.provisional,
        ruling=ruling,
        checks=(Check(rule="beats base", ruling=ruling, detail="0.90 against 0.50"),),
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


class House:
    """A registry with short ways to bring a version to a state."""

    def __init__(self, registry: Registry) -> None:
        self.registry = registry

    def draft(self, system: str = "s", name: str = "triage") -> Version:
        return self.registry.create_version(name, spec(system), actor="amal")

    def gated(self, name: str = "triage", *suites: SuiteFacts, policy: str = "policy") -> Gate:
        """The name has a gate; without suites, the one that `verdict_on` passes."""
        gate = gate_of(name, *suites, policy=policy)
        self.registry.set_gate(gate, actor="amal", reason="what patients need")
        return gate

    def evaluated(self, system: str = "s", name: str = "triage") -> tuple[Version, Report]:
        """Of a name with a gate, as every name that serves has one."""
        if self.registry.gate(name) is None:
            self.gated(name)
        version = self.draft(system, name)
        report = report_on(version)
        self.registry.record_report(report)
        return self.registry.version(version.ref), report

    def judged(self, system: str = "s", *, passed: bool = True, name: str = "triage") -> Version:
        version, report = self.evaluated(system, name)
        return self.registry.record_verdict(verdict_on(version, report, passed=passed))

    def judge(self, version: Version, report: Report | None = None, **verdict: Any) -> Version:
        """One more verdict on a version, on an evaluation of its own unless one is given."""
        if report is None:
            again = datetime(2026, 1, 2 + len(self.registry.reports()), tzinfo=UTC)
            report = report_on(version, created_at=again)
        self.registry.record_report(report)
        return self.registry.record_verdict(verdict_on(version, report, **verdict))

    def promoted(self, system: str) -> Version:
        version = self.judged(system)
        self.registry.promote(version.ref, actor="amal", reason=f"ship {system}")
        return version

    def prod(self) -> dict[int, float]:
        return {target.number: target.weight for target in self.registry.alias("triage", "prod").targets}

    suite = SUITE
    deployment = DEPLOYMENT
    gate_of = staticmethod(gate_of)
    report_on = staticmethod(report_on)
    verdict_on = staticmethod(verdict_on)
    spec = staticmethod(spec)


@pytest.fixture
def house(registry: Registry) -> House:
    return House(registry)


@pytest.fixture
def at_once() -> Callable[[str, list[list[str]]], list[str]]:
    """Run the script in one process for each list of arguments, all past their imports before any begins its work.

    The script must call `go()` when it is ready. Returns their outputs; a process that fails fails the test.
    """

    def run(script: str, arguments: list[list[str]]) -> list[str]:
        prelude = "import sys\ndef go():\n    print('ready', flush=True)\n    sys.stdin.readline()\n"
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        pipe = subprocess.PIPE
        processes = [
            subprocess.Popen(
                [sys.executable, "-c", prelude + script, *given],
                stdin=pipe, stdout=pipe, stderr=pipe, text=True, env=environment,
            )
            for given in arguments
        ]  # fmt: skip
        try:
            for process in processes:
                assert process.stdout is not None
                if process.stdout.readline() != "ready\n":
                    pytest.fail(process.communicate()[1])
            for process in processes:
                assert process.stdin is not None
                process.stdin.write("go\n")
                process.stdin.flush()
            outputs = [process.communicate(timeout=120) for process in processes]
        finally:
            for process in processes:
                process.kill()
        failures = [errors for process, (_, errors) in zip(processes, outputs, strict=True) if process.returncode]
        assert not failures, "\n".join(failures)
        return [output for output, _ in outputs]

    return run


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """An empty home that commands find by its environment variable, and nothing else of this machine's."""
    for variable in ("DABT_REGISTRY_URL", "DABT_ARTIFACTS_URL", "DABT_BASE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("DABT_HOME", str(tmp_path / "home"))
    return Home.at(tmp_path / "home")
