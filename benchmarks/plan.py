"""What is measured, and how much of it: the options of one run of the benchmark, for one base."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeVar

from benchmarks.load import Ask
from service.config import Dtype, ServeConfig
from service.engine.memory import machine_memory, with_slots

T = TypeVar("T")
Size = Literal["tiny", "smollm2", "large"]

SIZES = "The clinic's tiny base, SmolLM2-135M, or 0.5B of random weights."
_BASES: dict[Size, str] = {"tiny": "", "smollm2": ", SmolLM2-135M", "large": ", 0.5B base"}
"""How the base is named behind a scenario."""
_MESSAGES = Path(__file__).parents[1] / "examples" / "clinic" / "data" / "triage" / "test.jsonl"


@dataclass(frozen=True)
class Plan:
    """For one base. `quick` asks for a fraction of the requests: to see that all works, not for figures."""

    base: Path
    size: Size
    work: Path
    rounds: int
    dtype: Dtype
    quick: bool = False
    before: Path | None = None
    """An earlier checkout to compare with."""
    llama_server: Path | None = None
    """llama.cpp's server, where it is not on the path."""
    quantization: str = ""
    """Of our service alone."""

    @property
    def logs(self) -> Path:
        return self.work / "logs"

    def config(self, *, slots: int = 8, in_memory: int = 64) -> ServeConfig:
        """For both servers."""
        return ServeConfig(
            base=self.base,
            dtype=self.dtype,
            # Room for 64 requests: a token of the larger base takes a quarter of a megabyte in float32.
            kv_cache_gib=3 if self.size == "large" else 1,
            max_loras=slots,
            max_cpu_loras=in_memory,
            max_lora_rank=8,
            max_queue=4096,
            quantization=self.quantization,
        )

    def defaults(self) -> ServeConfig:
        """What `dabt serve` would take on this machine: slots and adapters in memory as nobody has said how many."""
        config = ServeConfig(base=self.base, dtype=self.dtype, kv_cache_gib=self.config().kv_cache_gib, max_queue=4096)
        return with_slots(config, machine_memory(), self.dtype)

    def count(self, requests: int) -> int:
        """How many to make of what would be `requests` for the tiny base in a full run."""
        share = (0.25 if self.quick else 1.0) * (1.0 if self.size == "tiny" else 0.25)
        return max(4, round(requests * share))

    def tokens(self, each: int) -> int:
        """How many to ask of each request: half of what would be `each` for the tiny base, on a larger one."""
        return each if self.size == "tiny" else each // 2

    def messages(self, different: int) -> int:
        """How many different messages: a quarter on a larger base, where every one is asked alone first."""
        return different if self.size == "tiny" else max(2, different // 4)

    def label(self, scenario: str) -> str:
        return f"{scenario}{_BASES[self.size]}"


def asks(models: Sequence[str], count: int, tokens: int, messages: int = 16) -> list[Ask]:
    """Requests that go through the models by turns, and through so many different messages of the clinic's patients.

    Every model meets every message, in an order that does not tie one to the other.
    """
    texts = _texts(messages)
    return [Ask(models[at % len(models)], texts[at // len(models) % len(texts)], tokens) for at in range(count)]


def by_turns(rounds: int, *works: Callable[[], T]) -> list[list[T]]:
    """What each work gave in each round. Every second round goes through them backwards, so that none is always first
    after another.
    """
    results: list[list[T]] = [[] for _ in works]
    for number in range(rounds):
        order = range(len(works)) if number % 2 == 0 else reversed(range(len(works)))
        for at in order:
            results[at].append(works[at]())
    return results


def _texts(count: int) -> list[str]:
    rows = [json.loads(line) for line in _MESSAGES.read_text(encoding="utf-8").splitlines()]
    users = [message["content"] for row in rows for message in row["messages"] if message["role"] == "user"]
    return list(dict.fromkeys(users))[:count]
