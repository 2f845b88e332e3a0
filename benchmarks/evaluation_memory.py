"""What an evaluation of many items takes in memory, stage by stage: items, answers of two arms, scores, report.

    python -m benchmarks.evaluation_memory --items 100000

The endpoint is a stub in the same process, so that nothing but the evaluation is measured; rows are texts with a label,
each of 100 characters. Memory is what the process holds (its resident set), less what it held before it read a row;
seconds are the processor's.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import httpx

from benchmarks.tables import markdown
from evals.asking.endpoint import Endpoint
from evals.config import EvalConfig
from evals.report.evaluation import Evaluation
from evals.run import evaluate
from lifecycle.deployment import Deployment
from lifecycle.home import Home
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.version import Prompt, VersionSpec, digest_of

_LABELS = ("bill", "visit", "symptom", "other")
_MIB = 2**20


class Stages:
    """Progress that notes how much memory there was when each stage began, and what had been computed."""

    def __init__(self) -> None:
        self.began: list[tuple[str, float, float]] = []

    def note(self, text: str) -> None:
        self.began.append((text, peak(), time.process_time()))

    def begin(self, totals: dict[str, int]) -> None: ...

    def advance(self, arm: str, count: int) -> None: ...


def peak() -> float:
    """The most that this process has held at once, in MiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--items", type=int, default=100_000)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="dabt-memory-") as folder:
        os.environ["XDG_CACHE_HOME"] = folder  # the user's file of hashes may be large
        with workplace(Path(folder), 50) as (config, registry, home):
            measured(config, registry, home)  # libraries, and what they keep, before anything is measured
        before, stages = peak(), Stages()
        with workplace(Path(folder), given.items) as (config, registry, home):
            report = measured(config, registry, home, stages).report
        stages.note("")
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    rows = []
    for (name, at, began), (_, held, done) in pairwise(stages.began):
        rows.append([name, f"{held - at:,.0f}", f"{(held - at) * 1024 / given.items:.2f}", f"{done - began:.1f}"])
    whole, seconds = peak() - before, stages.began[-1][2] - stages.began[0][2]
    rows.append(["in all", f"{whole:,.0f}", f"{whole * 1024 / given.items:.2f}", f"{seconds:.1f}"])
    print(markdown(["stage", "MiB more at its end", "KiB per item", "seconds"], rows))
    print(f"\n{report.n_items:,} items, {len(report.arms)} arms; {size / _MIB:,.0f} MiB on disk")


def measured(config: EvalConfig, registry: Registry, home: Home, stages: Stages | None = None) -> Evaluation:
    endpoint = Endpoint(url="http://stub.test/v1", retries=0, patience=0.0)
    transport = httpx.MockTransport(_Stub(registry).handle)
    return evaluate(config, registry, home, transport=transport, endpoint=endpoint, progress=stages)


@contextmanager
def workplace(folder: Path, items: int) -> Iterator[tuple[EvalConfig, Registry, Home]]:
    """A home of its own with `items` rows and two versions."""
    place = folder / str(items)
    base = place / "base"
    base.mkdir(parents=True)
    (base / "config.json").write_text('{"model_type": "llama"}')
    (base / "tokenizer.json").write_text("{}")
    (base / "model.safetensors").write_bytes(b"weights")
    with (place / "rows.jsonl").open("w", encoding="utf-8") as file:
        for number in range(items):
            row = {"text": f"{number:06} ".ljust(100, "x"), "label": _LABELS[number % len(_LABELS)]}
            file.write(json.dumps(row) + "\n")
    home = Home(
        root=place / "home", registry_url=f"sqlite:///{place / 'registry.db'}", artifacts_url=str(place / "artifacts")
    )
    with Registry.open(home.registry_url) as registry:
        spec = VersionSpec(base=fingerprint(base).digest, prompt=Prompt(system="Say which."))
        version = registry.create_version("toy", spec, actor="benchmark")
        yield EvalConfig.of_rows(str(place / "rows.jsonl"), f"base,{version.ref}", base=str(base)), registry, home


class _Stub:
    """Answers with a label that is right for three of four items."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._headers: dict[str, dict[str, str]] = {}
        self._deployment = Deployment(engine="stub 1", dtype="none", base=digest_of("base"), revision="1")

    def handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/models":
            return httpx.Response(200, json={"data": []})
        if request.url.path == "/v1/dabt/deployment":
            told = {"digest": self._deployment.digest, "deployment": self._deployment.model_dump(mode="json")}
            return httpx.Response(200, json=told)
        body = json.loads(request.content)
        first = body["messages"][-1]["content"].split()[0]
        number = int(first) if first.isdecimal() else 0
        said = _LABELS[0 if number % 16 < 4 else number % len(_LABELS)]
        choice = {"message": {"role": "assistant", "content": said}, "finish_reason": "stop"}
        usage = {"prompt_tokens": 30, "completion_tokens": 2}
        return httpx.Response(200, headers=self._who(body["model"]), json={"choices": [choice], "usage": usage})

    def _who(self, ref: str) -> dict[str, str]:
        if ref not in self._headers:
            digest = self._registry.version(ref).digest
            self._headers[ref] = {"x-dabt-digest": digest, "x-dabt-deployment": self._deployment.digest}
        return self._headers[ref]


if __name__ == "__main__":
    main()
