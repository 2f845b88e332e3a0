"""How vLLM is started for a `ServeConfig`: the arguments that `vllm serve` would be given, and its environment."""

from __future__ import annotations

import os

from lifecycle.models.base import linear_shapes
from lifecycle.models.preflight import SERVED_MODULES
from lifecycle.models.templates import served_template
from service.config import Dtype, ServeConfig
from service.observability import logs

WORKER_EXTENSION = "service.engine.vllm_worker.WorkerExtension"


def set_environment(config: ServeConfig) -> None:
    """vLLM reads these when it is imported, in this process and in its children."""
    os.environ.setdefault("VLLM_NO_USAGE_STATS", "1")
    os.environ.setdefault("VLLM_LOGGING_LEVEL", logs.library_level(config.log_level))
    os.environ.setdefault("VLLM_LOGGING_CONFIG_PATH", str(logs.VLLM_LOGGING))
    if config.traces_url:
        os.environ.setdefault("OTEL_SERVICE_NAME", "dabt")
        os.environ["OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"] = config.otlp_protocol


def flags(config: ServeConfig, *, on_cpu: bool, executor: str = "") -> list[str]:
    """`executor`, when given, runs vLLM's workers in place of the one that it would choose."""
    dtype = cpu_dtype() if on_cpu and config.dtype == "auto" else config.dtype
    given = [
        *("--model", str(config.base), "--served-model-name", config.served_name, "--dtype", dtype),
        *("--kv-cache-memory-bytes", str(int(config.kv_cache_gib * 2**30))),
        *("--max-num-queued-reqs", str(config.max_queue)),
        *("--enable-lora", "--max-loras", str(config.max_loras)),
        *("--max-cpu-loras", str(config.max_cpu_loras), "--max-lora-rank", str(config.max_lora_rank)),
        *("--lora-target-modules", *target_modules(config)),
        *("--worker-extension-cls", WORKER_EXTENSION),
        # The base's sampling defaults are in the version (`lifecycle/models/generation.py`); the tokens that end an
        # answer are still read from the file.
        *("--generation-config", "vllm"),
        # Of a base that also reads images only the language model is loaded, and it has no place for an image.
        "--language-model-only",
        # The one whose grammars are tried out first (`grammar_worker.py`). vLLM's own choice takes another compiler for
        # what this one refuses, and then keeps to whichever a request happened to ask for first.
        *("--structured-outputs-config.backend", "xgrammar"),
        "--no-use-tqdm-on-load",  # a bar is no line of a log
        # Timings of each request in its answer: the tally reads and removes them.
        "--enable-per-request-metrics",
    ]
    if executor:
        given += ["--distributed-executor-backend", executor]
    if config.traces_url:
        given += ["--otlp-traces-endpoint", config.traces_url]
    if config.max_model_len is not None:
        given += ["--max-model-len", str(config.max_model_len)]
    if (template := served_template(config.base)) is not None:
        given += ["--chat-template", template]
    if config.tool_parser:
        given += ["--enable-auto-tool-choice", "--tool-call-parser", config.tool_parser]
    # The masked kernel decides by the batch at hand, which a traced graph would freeze.
    return [*given, "--enforce-eager"] if on_cpu else given


def target_modules(config: ServeConfig) -> list[str]:
    """Those of the base's linear layers that preflight lets an adapter change; never `lm_head`."""
    present = {name.rpartition(".")[2] for name in linear_shapes(config.base)}
    return [name for name in SERVED_MODULES if name in present]


def cpu_dtype() -> Dtype:
    """bfloat16 only where the CPU multiplies it in hardware. Elsewhere it is emulated: less exact, and with 64 requests
    at once a third of float32's throughput (4M parameters, two AVX2 cores).
    """
    import torch

    fast = torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported()
    return "bfloat16" if fast else "float32"
