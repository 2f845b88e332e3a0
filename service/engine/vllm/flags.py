"""How vLLM is started for a `ServeConfig`: the arguments that `vllm serve` would be given, and its environment."""

from __future__ import annotations

import json
import os
from pathlib import Path

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.models.base import dtype_of, linear_shapes, packed_in_words, quantization_of, read_object
from lifecycle.models.preflight import SERVED_MODULES
from lifecycle.models.templates import served_template
from service.config import Dtype, ServeConfig
from service.engine import processor
from service.engine.memory import GIB, beside_the_engine, cpu_cache_bytes, kept_twice, machine_memory
from service.engine.sharing import ALL, Share
from service.observability import logs

_LOOKED_UP = {"method": "ngram", "num_speculative_tokens": 4, "prompt_lookup_max": 4}
_SHARED_PLACE = Path("/dev/shm")  # noqa: S108  (where vLLM's own queues are)
_WITHOUT_ADAPTERS = frozenset({"GPT2LMHeadModel"})
"""Causal language models whose layers are transposed (Conv1D), for which vLLM has no LoRA."""
INT8 = "int8"
"""Of `--quantization`: weights that a CPU rounds to 8 bits while it loads them (`cpu/int8.py`)."""
SHARED = GIB
"""Shared memory that the workers of one engine speak through. Docker gives a container 64 MiB."""
GRAMMARS = ("--structured-outputs-config.backend", "xgrammar")
"""The compiler by which grammars are tried out first (`grammar/worker.py`). vLLM's own choice takes another for what
this one refuses, and then keeps to whichever a request happened to ask for first."""
WORKER_EXTENSION = "service.engine.vllm.worker.WorkerExtension"


def set_environment(config: ServeConfig) -> None:
    """vLLM reads these when it is imported, in this process and in its children."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", logs.library_level(config.log_level))
    os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", str(logs.VLLM_LOGGING))
    if config.traces_url:
        os.environ.setdefault("OTEL_SERVICE_NAME", "dabt")
        os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = config.otlp_protocol


def flags(config: ServeConfig, *, on_cpu: bool, executor: str = "", share: Share = ALL) -> list[str]:
    """`executor`, when given, runs vLLM's workers in place of the one that it would choose; `share` is what of this
    machine the engine gets.

    Raises `InvalidConfig` when the base has no layers that an adapter could change, its packed weights cannot be
    multiplied with numbers of this width, they cannot be rounded as asked, or several workers find too little shared
    memory.
    """
    if config.quantization == INT8:
        check_rounding(config, on_cpu)
    dtype = dtype_on_a_cpu(config) if on_cpu else config.dtype
    if config.tensor_parallel > 1:
        check_shared_memory()
    given = [
        *("--model", str(config.base), "--served-model-name", config.served_name, "--dtype", dtype),
        *("--tensor-parallel-size", str(config.tensor_parallel)),
        # -1 is the model's own limit, or as much of it as fits into the key-value cache.
        *("--max-model-len", str(config.max_model_len or -1)),
        *(_adapters(config) if takes_adapters(config.base) else ()),
        *("--worker-extension-cls", WORKER_EXTENSION),
        # The base's sampling defaults are in the version (`lifecycle/models/generation.py`); the tokens that end an
        # answer are still read from the file.
        *("--generation-config", "vllm"),
        # Of a base that also reads images only the language model is loaded, and it has no place for an image.
        "--language-model-only",
        *GRAMMARS,
        "--no-use-tqdm-on-load",  # a bar is no line of a log
        # Timings of each request in its answer: the tally reads and removes them.
        "--enable-per-request-metrics",
    ]
    given += _of_the_machine(config, share, dtype, on_cpu)
    if config.max_seqs is not None:
        given += ["--max-num-seqs", str(config.max_seqs)]
    if config.quantization:
        given += ["--quantization", config.quantization]
    if config.reasoning_parser:
        given += ["--reasoning-parser", config.reasoning_parser]
    if config.speculative:
        given += [
            "--speculative-config",
            json.dumps(_LOOKED_UP) if config.speculative == "ngram" else config.speculative,
        ]
    if executor:
        given += ["--distributed-executor-backend", executor]
    if config.traces_url:
        given += ["--otlp-traces-endpoint", config.traces_url]
    if (template := served_template(config.base)) is not None:
        given += ["--chat-template", template]
    if config.tool_parser:
        given += ["--enable-auto-tool-choice", "--tool-call-parser", config.tool_parser]
    # The masked kernel decides by the batch at hand, which a traced graph would freeze.
    return [*given, "--enforce-eager"] if on_cpu else given


def _of_the_machine(config: ServeConfig, share: Share, dtype: Dtype, on_cpu: bool) -> list[str]:
    given = ["--device-ids", ",".join(map(str, share.gpus))] if share.gpus else []
    cache = share.cache
    if cache is None and (on_cpu or config.kv_cache_gib is not None):
        cache = _cache_bytes(config, dtype)
    if cache is not None:
        given += ["--kv-cache-memory-bytes", str(cache)]
    if config.gpu_memory is not None:
        given += ["--gpu-memory-utilization", str(config.gpu_memory)]
    return given


def takes_adapters(base: Path) -> bool:
    """Whether vLLM can put adapters over this base. One for which it cannot is served without."""
    named = read_object(base / "config.json").get("architectures") if (base / "config.json").is_file() else None
    return not (isinstance(named, list) and _WITHOUT_ADAPTERS & set(map(str, named)))


def _adapters(config: ServeConfig) -> list[str]:
    return [
        *("--enable-lora", "--max-loras", str(config.max_loras)),
        *("--max-cpu-loras", str(config.max_cpu_loras), "--max-lora-rank", str(config.max_lora_rank)),
        *("--lora-target-modules", *target_modules(config)),
    ]


def target_modules(config: ServeConfig) -> list[str]:
    """Those of the base's linear layers that preflight lets an adapter change; never `lm_head`.

    Raises `InvalidConfig` when there are none: vLLM's parser would end the process.
    """
    present = {name.rpartition(".")[2] for name in linear_shapes(config.base)}
    targets = [name for name in SERVED_MODULES if name in present]
    if not targets:
        fault = (
            f"{config.base} has no linear layers that an adapter could change, of {', '.join(SERVED_MODULES[:9])}, …"
        )
        raise InvalidConfig("The base cannot be served:", [Problem("--base", fault, "take a causal language model")])
    return targets


def check_rounding(config: ServeConfig, on_cpu: bool) -> None:
    """Raises `InvalidConfig` where weights cannot be rounded to 8 bits while they are loaded."""
    if not on_cpu:
        fault, cure = "rounds weights on a CPU alone", "on a GPU take a scheme of vLLM's, such as fp8"
    elif packing := quantization_of(config.base):
        method = packing.get("quant_method", "another method")
        fault, cure = f"the base is packed by {method} already", "leave it out, or take the base as it was before"
    else:
        return
    raise InvalidConfig("The base cannot be served:", [Problem("--quantization int8", fault, cure)])


def check_shared_memory(place: Path = _SHARED_PLACE) -> None:
    """Raises `InvalidConfig` when the workers of a model that several GPUs share would not find room there."""
    told = os.statvfs(place)
    free = told.f_bavail * told.f_frsize
    if free < SHARED:
        fault = f"{place} has {free // 2**20} MiB free, and several workers speak through it"
        cure = "give the container more: docker run --shm-size 4g"
        raise InvalidConfig("The service cannot run like this:", [Problem("--tensor-parallel", fault, cure)])


def _cache_bytes(config: ServeConfig, dtype: Dtype) -> int:
    if config.kv_cache_gib is not None:
        return int(config.kv_cache_gib * GIB)
    beside = beside_the_engine(config) + kept_twice(config.base, dtype, in_8_bits=config.quantization == INT8)
    return cpu_cache_bytes(config.base, dtype, config.max_model_len, machine_memory(), beside)


def dtype_on_a_cpu(config: ServeConfig) -> Dtype:
    """What `auto` stands for there, else what was asked for.

    Raises `InvalidConfig` where the engine would start and end with the first request.
    """
    bits = 8 if config.quantization == INT8 else 4 if packed_in_words(config.base) else None
    if bits is None:
        return cpu_dtype(config.base, config.tensor_parallel) if config.dtype == "auto" else config.dtype
    if bits == 4 and not processor.has_wide_vectors():
        fault = f"{config.base} has weights in 4 bits, and vLLM multiplies those on a processor with AVX-512 alone"
        cure = "serve the base as it was before it was packed, with --quantization int8, or take another machine"
        raise InvalidConfig("The base cannot be served:", [Problem("--base", fault, cure)])
    if config.dtype == "float32":
        fault = f"is float32, and on a CPU weights in {bits} bits are multiplied with 16-bit numbers alone"
        raise InvalidConfig("The base cannot be served:", [Problem("--dtype", fault, "take bfloat16, or leave it out")])
    return "bfloat16" if config.dtype == "auto" else config.dtype


def cpu_dtype(base: Path, workers: int = 1, cpuinfo: Path = processor.CPUINFO) -> Dtype:
    """bfloat16 where the CPU multiplies it in hardware, and for a base whose own numbers are bfloat16 also where all
    products are ours (`cpu/products.py`), which share no work with other workers. Elsewhere it is emulated: several
    times as slow, and less exact than float32.
    """
    ours = processor.needs_our_products(cpuinfo) and workers == 1 and dtype_of(base) == "bfloat16"
    return "bfloat16" if ours or processor.multiplies_bfloat16(cpuinfo) else "float32"
