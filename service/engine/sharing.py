"""What of this machine each engine gets where one service runs several: threads, memory, GPUs.

What was asked for holds; what nobody has said is shared out so that all fit together, and where they do not, the
service does not start. Decided once at the start: an engine that is started again gets what it had. Read `memory.py`
for what one engine would take by itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import weight_files
from service.config import Dtype, ServeConfig
from service.engine.memory import GIB, SMALLEST_CACHE, Memory, beside_the_engine, kept_twice, wanted_cache

_GPU_SHARE = 0.92
"""vLLM's own, of a GPU's memory."""
_LEAST_ON_A_GPU = 2 * GIB
"""Beside the weights: CUDA itself, what a step needs at its height, and some key-value cache."""
_CURE = "serve fewer bases or smaller ones, or give less to --kv-cache-gib or --classifier-gib"
_TOO_MUCH = "The bases do not fit into this machine together:"


@dataclass(frozen=True, slots=True)
class Share:
    """Of one engine. As it is, of the only one, which finds out by itself what it may take."""

    engines: int = 1
    """So many share the processors."""
    cache: int | None = None
    """Bytes of its key-value cache on a CPU."""
    gpus: tuple[int, ...] = ()
    """Of those that this process sees."""


ALL = Share()


def on_a_cpu(configs: Sequence[ServeConfig], dtypes: Sequence[Dtype], memory: Memory) -> list[Share]:
    """Half of what weights leave free is for the caches, by what each wants.

    Raises `InvalidConfig`, with what each base needs, where the weights leave too little.
    """
    beside = beside_the_engine(configs[0])
    needs = [
        weights(config.base) + kept_twice(config.base, dtype, in_8_bits=config.quantization == "int8")
        for config, dtype in zip(configs, dtypes, strict=True)
    ]
    told = [None if config.kv_cache_gib is None else int(config.kv_cache_gib * GIB) for config in configs]
    left = memory.free - beside - sum(needs) - sum(size for size in told if size is not None)
    if left < SMALLEST_CACHE * told.count(None):
        whole = f"{memory.free / GIB:.1f} GiB are free, {beside / GIB:.1f} of them for classifiers and embeddings"
        raise InvalidConfig(_TOO_MUCH, [*_needs(configs, needs, told), Problem("memory", whole, _CURE)])
    wanted = [
        0 if size is not None else wanted_cache(config.base, dtype, config.max_model_len)
        for config, dtype, size in zip(configs, dtypes, told, strict=True)
    ]
    part = min(1.0, left / 2 / max(1, sum(wanted)))
    sizes = [max(SMALLEST_CACHE, int(want * part)) for want in wanted]
    return [Share(len(configs), size if given is None else given) for size, given in zip(sizes, told, strict=True)]


def _needs(configs: Sequence[ServeConfig], needs: Sequence[int], told: Sequence[int | None]) -> Iterator[Problem]:
    for config, need, cache in zip(configs, needs, told, strict=True):
        asked = "" if cache is None else f" and {cache / GIB:.1f} for its key-value cache"
        yield Problem(config.served_name, f"needs {need / GIB:.1f} GiB for its weights{asked}")


def on_gpus(configs: Sequence[ServeConfig], totals: Sequence[int]) -> list[tuple[ServeConfig, Share]]:
    """`totals` are the bytes of each GPU that this process sees; none where nobody can tell.

    Each engine has GPUs of its own where there are enough; otherwise all are on the first ones, and share their memory
    by weights. An engine that was given its GPUs (`--device-ids`) or its share of memory keeps it.

    Raises `InvalidConfig` where they do not fit.
    """
    placed = [any(word.startswith("--device-ids") for word in config.engine_options) for config in configs]
    free = [config for config, is_placed in zip(configs, placed, strict=True) if not is_placed]
    if not any(placed) and sum(config.tensor_parallel for config in configs) <= len(totals):
        first, apart = 0, []
        for config in configs:
            apart.append((config, Share(len(configs), gpus=tuple(range(first, first + config.tensor_parallel)))))
            first += config.tensor_parallel
        return apart
    shares = iter(_gpu_shares(free, min(totals) if totals else 0))
    return [
        (config if is_placed else config.model_copy(update={"gpu_memory": next(shares)}), Share(len(configs)))
        for config, is_placed in zip(configs, placed, strict=True)
    ]


def _gpu_shares(configs: Sequence[ServeConfig], total: int) -> list[float]:
    """Of the memory of GPUs that these engines are on together, `total` bytes each; 0 where that is not known."""
    given = [config.gpu_memory for config in configs]
    open_ = [config for config in configs if config.gpu_memory is None]
    left = (_GPU_SHARE if open_ else 1.0) - sum(share for share in given if share is not None)
    needs = [weights(config.base) / config.tensor_parallel / total if total else 0.0 for config in open_]
    spare = left - sum(needs)
    least = _LEAST_ON_A_GPU / total if total else 0.0
    if left < 0 or (open_ and spare <= len(open_) * least):
        raise InvalidConfig(_TOO_MUCH, [*_gpu_problems(configs, total)])
    sizes = iter(needs)
    return [round(next(sizes) + spare / len(open_), 3) if share is None else share for share in given]


def _gpu_problems(configs: Sequence[ServeConfig], total: int) -> Iterator[Problem]:
    for config in configs:
        if config.gpu_memory is not None:
            yield Problem(config.served_name, f"was given {config.gpu_memory:g} of the memory of each of its GPUs")
        else:
            need = weights(config.base) / config.tensor_parallel / GIB
            yield Problem(config.served_name, f"needs {need:.1f} GiB for its weights on each of its GPUs")
    told = f"has {total / GIB:.1f} GiB" if total else "is not known"
    cure = "serve fewer bases or smaller ones, give each a gpu_memory in --bases, or GPUs of its own by --device-ids"
    yield Problem("each GPU", f"{told}, of which {_GPU_SHARE:g} are shared out", cure)


def weights(base: Path) -> int:
    """Bytes of its files."""
    return sum(file.stat().st_size for file in weight_files(base))
