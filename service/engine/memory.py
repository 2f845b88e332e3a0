"""How much memory there is, and what of it the engine gets where nobody has said.

On a GPU vLLM profiles by itself. On a CPU it would take a share of the whole machine, so here sizes follow what the
base needs and what is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lifecycle.models.base import linear_shapes, read_object, weight_files
from lifecycle.models.preflight import SERVED_MODULES
from service.config import Dtype, ServeConfig
from service.engine import processor

GIB = 2**30
_FULL_REQUESTS = 8
"""So many requests of the model's full length the key-value cache should hold, where there is room."""
_LEAST_CACHE = GIB
SMALLEST_CACHE = GIB // 16
"""Where there is no room for more."""
_SLOT_SHARE, _KEPT_SHARE = 50, 20
"""All slots together may take one part in so many of the machine's memory; and the adapters that are ready for one."""
KEPT_TWICE = GIB
"""Of plain weights that few rows are computed with, beside the packed ones (`cpu/weights.py`), at most. None of a
larger base: it waits for its memory whoever multiplies, and twice its weights may be more than there is."""
LEAST_SLOTS, MOST_SLOTS = 8, 64
"""Adapters in one batch. On a CPU a step pays for those that are in it, and a slot for nothing but its memory
(`cpu/grouped.py`)."""
MOST_KEPT = 1024
"""Adapters in memory, ready for a slot. One that is not there is read and proved first, and every stream waits."""
_WIDTHS = {"float32": 4, "bfloat16": 2, "float16": 2}


@dataclass(frozen=True, slots=True)
class Memory:
    """Of this machine, or of the container that this process is in. Bytes."""

    total: int
    free: int

    def part(self, of: int) -> Memory:
        """One of so many that are the same."""
        return Memory(self.total // of, self.free // of)


def machine_memory(proc: Path = Path("/proc"), cgroup: Path = Path("/sys/fs/cgroup")) -> Memory:
    lines = (line.split() for line in (proc / "meminfo").read_text(encoding="ascii").splitlines())
    told = {words[0].rstrip(":"): int(words[1]) * 1024 for words in lines if len(words) > 1}
    memory = Memory(told["MemTotal"], told["MemAvailable"])
    for limit_file, used_file in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        limit, used = _number(cgroup / limit_file), _number(cgroup / used_file)
        if limit is not None and limit < memory.total:
            memory = Memory(limit, min(memory.free, max(0, limit - (used or 0))))
    return memory


def token_bytes(base: Path, dtype: str) -> int | None:
    """What one token takes in the key-value cache: a key and a value in every layer, as vLLM counts full attention.

    None when config.json does not say, as for attention of another kind, which takes less.
    """
    config = _config_of(base)
    told = config.get("text_config")
    config = told if isinstance(told, dict) else config
    heads = config.get("num_attention_heads")
    layers: Any = config.get("num_hidden_layers")
    kv_heads: Any = config.get("num_key_value_heads", heads)
    size: Any = config.get("head_dim")
    if size is None and isinstance(heads, int) and heads and isinstance(config.get("hidden_size"), int):
        size = config["hidden_size"] // heads
    if not all(isinstance(number, int) and number > 0 for number in (layers, kv_heads, size)):
        return None
    return int(2 * layers * kv_heads * size * _WIDTHS.get(dtype, 2))


def cpu_cache_bytes(base: Path, dtype: str, max_model_len: int | None, memory: Memory, beside: int = 0) -> int:
    """The key-value cache on a CPU: room for some requests of full length, and half of what is left free at most.

    `beside` is what the service keeps in memory besides the engine (`beside_the_engine`).
    """
    left = memory.free - sum(file.stat().st_size for file in weight_files(base)) - beside
    return max(SMALLEST_CACHE, min(wanted_cache(base, dtype, max_model_len), left // 2))


def wanted_cache(base: Path, dtype: str, max_model_len: int | None) -> int:
    """Bytes of a key-value cache for some requests of full length."""
    length = max_model_len or _longest(base)
    per_token = token_bytes(base, dtype)
    return _LEAST_CACHE if not length or not per_token else max(_LEAST_CACHE, _FULL_REQUESTS * length * per_token)


def kept_twice(base: Path, dtype: str, *, in_8_bits: bool = False, cpuinfo: Path = processor.CPUINFO) -> int:
    """Bytes of the base's weights that a CPU keeps a second time, at most: none of a base that is not small, or where
    vLLM packs none.
    """
    if dtype != "bfloat16" or (processor.needs_our_products(cpuinfo) and not in_8_bits):
        return 0
    whole = sum(file.stat().st_size for file in weight_files(base))
    config = _config_of(base)
    words, wide = config.get("vocab_size"), config.get("hidden_size")
    # Embeddings and the head are never kept twice.
    ends = 2 * _WIDTHS[dtype] * words * wide if isinstance(words, int) and isinstance(wide, int) else 0
    halves = 2 if in_8_bits else 1
    return 0 if (whole - ends) // halves > KEPT_TWICE else min(KEPT_TWICE, whole // halves)


def beside_the_engine(config: ServeConfig) -> int:
    """Bytes: what classifiers may take, and the weights of the embedding model where they are on this machine."""
    from retrieval.dense import kept

    folder = None if config.embedding_model == "none" else kept(config.embedding_model)
    embedder = 0 if folder is None else sum(file.stat().st_size for file in weight_files(folder))
    return int(config.classifier_gib * GIB) + embedder


def with_slots(config: ServeConfig, memory: Memory, dtype: Dtype) -> ServeConfig:
    """On a CPU, as many adapters in a batch and in memory as there is room for, where nobody has said how many.

    `dtype` is that of their numbers.
    """
    told, sizes = config.model_fields_set, {}
    each = adapter_bytes(config.base, config.max_lora_rank, dtype)
    kept = config.max_cpu_loras
    if "max_cpu_loras" not in told:
        kept = max(kept, min(MOST_KEPT, memory.total // _KEPT_SHARE // each))
        sizes["max_cpu_loras"] = kept = max(kept, config.max_loras)
    if "max_loras" not in told:
        sizes["max_loras"] = min(kept, max(LEAST_SLOTS, min(MOST_SLOTS, memory.total // _SLOT_SHARE // each)))
    return config.model_copy(update=sizes)


def adapter_bytes(base: Path, rank: int, dtype: str) -> int:
    """An adapter of this rank over all that can be adapted, at least 1."""
    shapes = [shape for name, shape in linear_shapes(base).items() if name.rpartition(".")[2] in SERVED_MODULES]
    return max(1, sum(rank * sum(shape) * _WIDTHS[dtype] for shape in shapes))


def _config_of(base: Path) -> dict[str, Any]:
    return read_object(base / "config.json") if (base / "config.json").is_file() else {}


def _longest(base: Path) -> int | None:
    config = _config_of(base)
    told: Any = config.get("max_position_embeddings")
    if told is None and isinstance(config.get("text_config"), dict):
        told = config["text_config"].get("max_position_embeddings")
    return told if isinstance(told, int) and told > 0 else None


def _number(path: Path) -> int | None:
    """None where there is no such file, or no limit ("max")."""
    try:
        return int(path.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None
