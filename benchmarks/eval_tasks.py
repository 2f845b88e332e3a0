"""What `benchmarks/evals.py` measures with: a home with five arms, and two lm-eval tasks of the clinic's messages."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.homes import Stocked, stocked
from evals.config import EvalConfig
from lifecycle.errors import NotFound
from lifecycle.store.artifacts import ArtifactStore
from retrieval.config import IndexConfig
from retrieval.index import build_index

GENERATION, CHOICE = "bench_generation", "bench_choice"
_CLINIC = Path(__file__).parents[1] / "examples" / "clinic"
_HANDBOOK = "handbook"
_PROMPT = {"system": str(_CLINIC / "prompts" / "triage.txt")}
_SHOTS = {**_PROMPT, "shots": str(_CLINIC / "prompts" / "triage.shots.jsonl")}
_KNOWLEDGE = {"index": _HANDBOOK, "top_k": 3}


@dataclass(frozen=True)
class Workplace:
    """A home whose versions a service has, and the folder of the tasks."""

    stock: Stocked
    tasks: Path
    items: int
    concurrency: int

    def config(
        self, task: str, url: str, *, arms: dict[str, Any] | None = None, limit: int | None = None
    ) -> EvalConfig:
        """Of one task; without `arms`, of the base as it is and the adapter."""
        (name,) = self.stock.first(1)
        return EvalConfig.model_validate(
            {
                "name": "bench",
                "task": task,
                "task_files": str(self.tasks),
                "base": str(self.stock.base),
                "metric": "exact_match" if task == GENERATION else "acc",
                "provisional": ("a benchmark",),
                "endpoint": f"{url}/v1",
                "concurrency": self.concurrency,
                "limit": limit,
                "arms": arms or {"base": {}, "adapter": {"version": f"{name}:1"}},
            }
        )

    def five_arms(self) -> dict[str, Any]:
        """Base, few-shot, RAG, adapter and hybrid."""
        (name,) = self.stock.first(1)
        return {
            "base": {"prompt": _PROMPT},
            "few-shot": {"prompt": _SHOTS},
            "rag": {"prompt": _PROMPT, "knowledge": _KNOWLEDGE},
            "adapter": {"adapter": f"{name}:1", "prompt": _PROMPT},
            "hybrid": {"adapter": f"{name}:1", "prompt": _PROMPT, "knowledge": _KNOWLEDGE},
        }


def workplace(base: Path, work: Path, items: int, tokens: int, concurrency: int) -> Workplace:
    """Made in the folder `work`; the home is kept for the next run."""
    stock = stocked(base, 1, work)
    _index(stock, work / "evals-index")
    return Workplace(stock, _tasks(work / "evals-tasks", items, tokens), items, concurrency)


def _index(stock: Stocked, folder: Path) -> None:
    with stock.registry() as registry:
        with suppress(NotFound):
            registry.index(_HANDBOOK)
            return
        facts = build_index(_CLINIC / "handbook", folder, IndexConfig(dense="none"))
        digest = ArtifactStore(stock.home.artifacts_url, stock.home.cache).put(folder)
        registry.add_index(_HANDBOOK, digest, facts.model_dump(mode="json"))


def _tasks(folder: Path, items: int, tokens: int) -> Path:
    """Messages of patients, each with four departments to choose from."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in (_CLINIC / "data" / "triage" / "test.jsonl").open(encoding="utf-8")]
    said = [(row["messages"][-2]["content"], json.loads(row["messages"][-1]["content"])["department"]) for row in rows]
    every = sorted({department for _, department in said})
    made = []
    for number in range(items):
        text, right = said[number % len(said)]
        others = [name for name in every if name != right]
        choices = [right, *(others[(number + step) % len(others)] for step in range(3))]
        turn = number % 4
        again = f" ({number // len(said) + 1})" if number >= len(said) else ""
        choices = choices[turn:] + choices[:turn]
        made.append({"question": text + again, "choices": choices, "gold": choices.index(right), "target": right})
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in made), encoding="utf-8")
    shared = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": str(data)}},
        "test_split": "test",
        "doc_to_text": "{{question}}\nDepartment:",
    }
    generation = {
        "task": GENERATION,
        "output_type": "generate_until",
        "doc_to_target": "{{target}}",
        "generation_kwargs": {"until": ["\n\n\n"], "do_sample": False, "max_gen_toks": tokens},
        "metric_list": [{"metric": "exact_match"}],
    }
    choice = {
        "task": CHOICE,
        "output_type": "multiple_choice",
        "doc_to_target": "{{gold}}",
        "doc_to_choice": "{{choices}}",
        "metric_list": [{"metric": "acc"}, {"metric": "acc_norm"}],
    }
    for task in (generation, choice):
        (folder / f"{task['task']}.yaml").write_text(yaml.safe_dump(shared | task), encoding="utf-8")
    return folder
