"""Every command that README and guides print works as it is written, in the home that `make demo` leaves.

The commands are read from the documents and run by bash, each block in a copy of the home. A service is one on the fake
engine, at a port of its own; nothing else of a command is changed.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from lifecycle.home import Home
from lifecycle.manifests import AdapterManifest
from lifecycle.models.answers import bare_spec
from lifecycle.models.base import fingerprint
from lifecycle.registry import Registry
from lifecycle.store.artifacts import ArtifactStore
from lifecycle.version import Lineage, Prompt
from tests.e2e.command import BASE, CLINIC, REPOSITORY
from tests.ports import free_port
from tests.service.conftest import fake_golden

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

DOCUMENTS = sorted(
    [
        *(REPOSITORY / name for name in ("README.md", "CONTRIBUTING.md")),
        *(REPOSITORY / "docs/guides").glob("*.md"),
        *CLINIC.rglob("*.md"),
    ]
)
POLICY = "clinic/evals/policy.yaml"
PROGRAMS = ("dabt", "make", "python", "torchrun", "curl", "lm_eval", "source", "cd")
OTHER_BLOCKS = (
    "dabt.py      the command",  # the tree in README
    '{"ready": false, "waiting_for"',  # answers and lines of the log
    '{"event": "request",',
    "POST /v1/chat/completions    goes on",  # spans
    "Passages:",  # a prompt
)
"""First words of blocks that hold no command."""

_ALL = "it runs everything here for minutes; `.ci/run` and whoever releases run it"
_HUB = "it downloads a base from the hub"
_PACKAGES = "it fetches from a package registry; `tests/examples` runs it against loopback"
_PEOPLE = "it waits for people and their votes; `tests/evals/people/test_campaign.py` goes the same way"
_HOURS = "it trains or measures for minutes to hours on the real engine, and overwrites what is shipped"
CANNOT_RUN = {
    "dabt serve --base Qwen/Qwen3-8B --reasoning-parser qwen3 --tool-call-parser hermes "
    "-- --seed 7 --kv-cache-dtype fp8": _HUB,
    "dabt serve --base Qwen/Qwen3-8B --base small=HuggingFaceTB/SmolLM2-360M-Instruct --base triage-full:3": _HUB,
    "make demo": _ALL,
    "make reviews": _ALL,
    "make test": _ALL,
    "make setup": "it is what made the environment of this test; `tests/deploy/test_setup.py` runs it",
    "make test-unit": _ALL,
    "dabt train examples/clinic/training/digest.yaml": (
        "it trains for minutes where there is no run to reuse; `test_the_loop.py` trains"
    ),
    "torchrun --nproc-per-node 2 -m dabt train run.yaml": "`tests/training/test_processes.py` runs two processes",
    "dabt train run.yaml --launcher ray --workers 2": "`tests/training/test_by_ray.py` runs two workers",
    "dabt train my-task.yaml --base Qwen/Qwen2.5-0.5B-Instruct": _HUB,
    "dabt data distill tickets.jsonl labelled.jsonl --schema triage.json --instructions task.txt "
    "--model gpt-4.1-mini --price-input 0.4 --price-output 1.6 --max-cost 5": (
        "it asks a paid endpoint; `tests/training/distill` runs it against one on loopback"
    ),
    "dabt serve --base Qwen/Qwen2.5-0.5B-Instruct": _HUB,
    "dabt eval my-eval.yaml --base Qwen/Qwen2.5-0.5B-Instruct": _HUB,
    "dabt import saves/lora/sft --name triage --base meta-llama/Llama-3.1-8B-Instruct "
    '--system "$(cat system.txt)"': _HUB,
    "lm_eval --model local-completions --tasks arc_easy --limit 20 "
    "--model_args model=base_model,base_url=http://127.0.0.1:8000/v1/completions,"
    "tokenizer=examples/clinic/base_model,tokenized_requests=True": (
        "its task is on the hub and log-likelihoods need the real engine; `service/test_engine_lm_eval.py` runs it"
    ),
    "python -m examples.reviews.data": _PACKAGES,
    "python -m examples.reviews.base": _PACKAGES,
    "python -m benchmarks.serving": _HOURS,
    "python -m benchmarks.serving --only mixed --rounds 2 --quick": _HOURS,
    "python -m benchmarks.serving --size large --only base-only --only mixed": _HOURS,
    "python -m benchmarks.serving --size smollm2 --only base-only --only mixed": _HOURS,
    "python -m benchmarks.serving --only before --before /tmp/before": _HOURS,
    "python -m benchmarks.serving --size smollm2 --only llama.cpp": _HOURS,
    "python -m benchmarks.freshness --rag handbook:2 --trained handbook:3": (
        "it adds versions to the home; `tests/evals/test_with_service.py` measures freshness against the service"
    ),
    "dabt rate create digest-nov --evaluation digest:latest --arms base,adapter,hybrid --against base "
    "--items 60 --votes 2": _PEOPLE,
    "dabt rate vote digest-nov --rater amal": _PEOPLE,
    "dabt rate vote digest-nov --rater badr --lang ar": _PEOPLE,
    "dabt rate status digest-nov": _PEOPLE,
    "dabt rate agreement digest-nov": _PEOPLE,
    'dabt rate close digest-nov --reason "two votes on every pair"': _PEOPLE,
    "dabt rate results digest-nov": _PEOPLE,
    "dabt rate export digest-nov preferences.jsonl --votes 2": _PEOPLE,
    "python -m examples.clinic.tasks": _HOURS,
    "python -m examples.clinic.pretrain --minutes 80": _HOURS,
    "python -m examples.clinic.abilities --items 200": _HOURS,
    "python -m examples.clinic.pretrain --minutes 120 --resume": _HOURS,
    "python -m examples.clinic.pretrain --minutes 60 --init examples/clinic/base_model": _HOURS,
}
"""Whole commands, as they are written, and why no test runs them."""


@dataclass(frozen=True)
class Block:
    """The commands of one fenced block, and the files that its document shows for them."""

    document: str
    commands: tuple[str, ...]
    files: tuple[tuple[str, str], ...]

    def __str__(self) -> str:
        return f"{self.document}: {self.commands[0][:40]}"


def blocks() -> Iterator[Block]:
    for document in DOCUMENTS:
        text = document.read_text(encoding="utf-8")
        files = re.findall(r"in `([\w.-]+\.yaml)`[^`]*?:\n\n```yaml\n(.*?)```", text, re.DOTALL)
        for tag, body in re.findall(r"^```(\w*)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            if tag not in ("", "bash", "sh", "shell", "console") or body.startswith(OTHER_BLOCKS):
                continue
            lines = re.sub(r"\\\n\s*", "", body).splitlines()
            commands = tuple(re.sub(r"\s+#\s.*$", "", line).strip() for line in lines if line.strip())
            yield Block(document.relative_to(REPOSITORY).as_posix(), commands, tuple(files))


BLOCKS = tuple(blocks())


def test_every_block_that_is_not_told_from_commands_is_one_of_commands() -> None:
    assert len(BLOCKS) >= 15
    firsts = {(block.document, command) for block in BLOCKS for command in block.commands}
    assert [one for one in sorted(firsts) if one[1].split()[0] not in PROGRAMS] == []


def test_what_cannot_run_is_named_whole_and_is_in_a_document() -> None:
    written = {command for block in BLOCKS for command in block.commands}
    assert [command for command in CANNOT_RUN if command not in written] == []


def test_lm_evals_line_scores_the_base_which_has_no_prompt() -> None:
    (line,) = [command for command in CANNOT_RUN if command.startswith("lm_eval")]
    arguments = dict(one.split("=", 1) for one in line.rsplit(" ", 1)[1].split(","))
    assert arguments["model"] == BASE.name, "the base's name under `dabt serve --base examples/clinic/base_model`"
    assert (REPOSITORY / arguments["tokenizer"] / "tokenizer.json").is_file()


# -- the home and the service -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class House:
    """A home as the demo leaves it, and a service over it."""

    home: Path
    workplace: Path
    port: int

    def environment(self, home: Path) -> dict[str, str]:
        return os.environ | {
            "PATH": f"{self.workplace / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(REPOSITORY),
            "DABT_HOME": str(home),
            "HF_HUB_OFFLINE": "1",
        }

    def run(self, command: str, home: Path, folder: Path) -> subprocess.CompletedProcess[str]:
        here = re.sub(r"(localhost|127\.0\.0\.1):8000", f"127.0.0.1:{self.port}", command)
        if here.startswith("dabt eval"):
            here += f" --endpoint http://127.0.0.1:{self.port}/v1"  # in place of the file's own port
        bash = ["bash", "-euo", "pipefail", "-c", here]
        return subprocess.run(
            bash, cwd=folder, env=self.environment(home), capture_output=True, text=True, check=False, timeout=300
        )


def serving(command: list[str], port: int, environment: dict[str, str], folder: Path) -> subprocess.Popen[bytes]:
    """The service once it is ready."""
    with (folder / "service.log").open("wb") as log:
        service = subprocess.Popen(
            [*command, "--port", str(port)], cwd=folder, env=environment, stdout=log, stderr=subprocess.STDOUT
        )
    while service.poll() is None:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/ready", timeout=60).status_code == httpx.codes.OK:
                return service
        except httpx.HTTPError:
            pass
        time.sleep(0.1)  # between two askings of another process
    service.kill()
    raise AssertionError((folder / "service.log").read_text()[-3000:])


def examples_that_time_nothing(to: Path) -> None:
    """The examples, without their policy's rule on latency: here it would judge what else the machine is doing."""
    shutil.copytree(REPOSITORY / "examples", to)
    policy = to / POLICY
    lines = policy.read_text(encoding="utf-8").splitlines(keepends=True)
    policy.write_text("".join(line for line in lines if "rule: latency" not in line), encoding="utf-8")


def demo_home(home: Home, examples: Path) -> None:
    """Versions, gates and index as the demo's, under their numbers; the adapters' bytes are the fake engine's."""
    from evals.arms import resolve_arms
    from evals.config import EvalConfig
    from evals.gate.suites import make_gate
    from retrieval.config import IndexConfig
    from retrieval.publish import publish_index

    store = ArtifactStore(home.artifacts_url, home.cache)
    with Registry.open(home.registry_url) as registry:
        publish_index(CLINIC / "handbook", "handbook", IndexConfig(), store=store, registry=registry)
        bare = bare_spec(BASE)
        for task in ("triage", "handbook", "digest"):
            folder = home.root / "made" / task
            folder.mkdir(parents=True)
            (folder / "adapter_model.safetensors").write_text(task)
            digest = store.put(folder)
            registry.add_artifact(
                AdapterManifest(
                    digest=digest, base=bare.base, base_name=fingerprint(BASE).name, rank=8, alpha=16, scale=2,
                    target_modules=("q_proj",), parameters=1, bytes=1, metrics={"train_rows": 1000.0},
                    golden=(fake_golden(digest),), created_at="2026-11-27T00:00:00Z",
                )
            )  # fmt: skip
            system = (CLINIC / f"prompts/{task}.txt").read_text(encoding="utf-8").strip()
            spec = bare.model_copy(update={"adapter": digest, "prompt": Prompt(system=system)})
            registry.create_version(task, spec, actor="demo", lineage=Lineage(source="training"))
        for task in ("triage", "handbook", "digest"):
            evaluation = examples / f"clinic/evals/{task}.yaml"
            gate = make_gate(task, examples / POLICY, [evaluation], registry, home.cache)
            registry.set_gate(gate, actor="demo", reason="the clinic's policy on its own test items")
            resolve_arms(EvalConfig.load(evaluation, base=str(BASE)), registry, actor="demo")
            if task != "digest":
                registry.promote(f"{task}:1", actor="demo", reason="stands in for its evaluation", force=True)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    workplace = tmp_path_factory.mktemp("documents")
    (workplace / "bin").mkdir()
    program = workplace / "bin" / "dabt"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} {REPOSITORY / "tests/e2e/fake_dabt.py"} "$@"\n')
    program.chmod(0o755)
    for name in ("deploy", ".venv"):
        (workplace / name).symlink_to(REPOSITORY / name)
    examples_that_time_nothing(workplace / "examples")
    home = Home.at(workplace / "home")
    home.root.mkdir()
    demo_home(home, workplace / "examples")
    made = House(home.root, workplace, free_port())
    service = serving([str(program), "serve", "--base", str(BASE)], made.port, made.environment(home.root), workplace)
    try:
        done = made.run("dabt eval examples/clinic/evals/digest.yaml", home.root, workplace)
        assert done.returncode == 0, done.stdout + done.stderr
        done = made.run("dabt promote digest:1 --reason 'passed the gate'", home.root, workplace)
        assert done.returncode == 0, done.stdout + done.stderr
        yield made
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(300)


def copied(home: Path, to: Path) -> Path:
    """As it is now, while a service works over it: what SQLite has beside its files comes and goes."""
    shutil.copytree(home, to, ignore=shutil.ignore_patterns("*.db", "*.db-*"))
    with (
        closing(sqlite3.connect(home / "registry.db")) as here,
        closing(sqlite3.connect(to / "registry.db")) as there,
    ):
        here.backup(there)
    return to


def place_for(block: Block, house: House, folder: Path) -> Path:
    """A working folder that looks like the checkout, with the files that the document shows."""
    folder.mkdir()
    for name in ("deploy", "examples", ".venv"):
        (folder / name).symlink_to(house.workplace / name)
    for name, text in block.files:
        (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("block", [one for one in BLOCKS if set(one.commands) - set(CANNOT_RUN)], ids=str)
def test_the_commands_of_a_document_work_as_they_are_written(block: Block, house: House, tmp_path: Path) -> None:
    home = copied(house.home, tmp_path / "home")
    folder = place_for(block, house, tmp_path / "checkout")
    before = ""
    for command in block.commands:
        if command in CANNOT_RUN:
            continue
        if command.startswith("cd "):
            before = f"{command} && "
        elif command.startswith("dabt serve"):
            words = [word for word in command.split() if word not in ("--port", "8000")]
            service = serving(words, free_port(), house.environment(home), folder)
            service.send_signal(signal.SIGTERM)
            assert service.wait(300) == 0, command
        else:
            done = house.run(before + command, home, folder)
            assert done.returncode == 0, f"{command}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
            assert "Traceback" not in done.stderr, command
