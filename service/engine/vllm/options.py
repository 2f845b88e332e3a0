"""What of `vllm serve`'s own options may follow `--` in `dabt serve`: those under which this service keeps its word.

By list: an option that is not known here is refused, whatever a new release of vLLM brings. Whatever is let through and
changes an answer is in the deployment's fingerprint (`facts.py`). vLLM's own parser reads them, once without and
once with what was given, so that abbreviations, JSON keys and a file of options are judged like all others.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from lifecycle.errors import InvalidConfig, Problem
from service.config import ServeConfig
from service.engine.sharing import ALL, Share
from service.engine.vllm import forkserver, spawn
from service.engine.vllm.flags import GRAMMARS, flags

_SUMMARY = "The options for vLLM cannot be taken:"

PASSED = frozenset(
    [
        *("additional_config", "aggregate_engine_logging", "all2all_backend", "allow_deprecated_quantization"),
        *("async_scheduling", "attention_backend", "attention_config", "block_size", "collect_detailed_traces"),
        *("compilation_config", "cp_kv_cache_interleave_size", "cpu_distributed_timeout_seconds"),
        *("cpu_offload_gb", "cpu_offload_params", "cudagraph_capture_sizes", "cudagraph_metrics"),
        *("custom_histogram_buckets", "dbo_decode_token_threshold", "dbo_prefill_token_threshold"),
        *("dcp_comm_backend", "dcp_kv_cache_interleave_size", "dcp_q_replicate"),
        *("decode_context_parallel_size", "device_ids", "disable_cascade_attn", "disable_custom_all_reduce"),
        *("disable_hybrid_kv_cache_manager", "disable_sliding_window", "distributed_timeout_seconds"),
        *("download_dir", "enable_batch_sharded_sampling", "enable_chunked_prefill", "enable_cumem_allocator"),
        *("enable_dbo", "enable_ep_weight_filter", "enable_eplb", "enable_expert_parallel"),
        *("enable_flashinfer_autotune", "enable_hc_sp", "enable_layerwise_nvtx_tracing"),
        *("enable_logging_iteration_details", "enable_mamba_cache_stochastic_rounding"),
        *("enable_mamba_shared_prefix_checkpoint", "enable_mfu_metrics", "enable_prefix_caching"),
        *("enable_shm_tensor_arena", "enforce_eager", "eplb_config", "expert_placement_strategy"),
        *("fail_on_environ_validation", "gdn_prefill_backend", "hf_token", "ignore_patterns", "ir_op_priority"),
        *("jit_monitor_mode", "jit_monitor_verbose", "kda_decode_backend", "kda_prefill_backend"),
        *("kernel_config", "kv_cache_dtype", "kv_cache_dtype_skip_layers", "kv_cache_metrics"),
        *("kv_cache_metrics_sample", "kv_offloading_backend", "kv_offloading_size", "kv_sharing_fast_prefill"),
        *("linear_backend", "long_prefill_token_threshold", "long_prefill_token_threshold_adaptive"),
        *("lora_dtype", "mamba_backend", "mamba_block_size", "mamba_cache_dtype", "mamba_cache_mode"),
        *("mamba_cache_philox_rounds", "mamba_ssm_cache_dtype", "mamba_ssu_algorithm"),
        *("max_cudagraph_capture_size", "max_logprobs", "max_num_active_seqs", "max_num_batched_tokens"),
        *("max_num_queued_tokens", "max_num_scheduled_tokens", "max_parallel_loading_workers", "model_impl"),
        *("moe_backend", "num_gpu_blocks_override", "numa_bind", "numa_bind_cpus", "numa_bind_nodes"),
        *("offload_backend", "offload_group_size", "offload_num_in_group", "offload_params"),
        *("offload_prefetch_step", "optimization_level", "per_request_spec_decode_metrics", "performance_mode"),
        *("pipeline_parallel_size", "prefill_context_parallel_size", "prefill_schedule_interval"),
        *("prefix_cache_retention_interval", "prefix_caching_hash_algo", "prefix_match_unit"),
        *("pt_load_map_location", "quantization_config", "reasoning_config", "renderer_num_workers"),
        *("replayssm_buffer_len", "safetensors_load_strategy", "safetensors_prefetch_block_size"),
        *("safetensors_prefetch_num_threads", "scheduler_reserve_full_isl", "scheduling_policy", "seed"),
        *("show_hidden_metrics_for_version", "shutdown_timeout", "sparse_indexer_topk_backend", "spec_method"),
        *("spec_model", "spec_tokens", "specialize_active_lora", "stream_interval"),
        *("structured_outputs_config", "swa_bounded_replay", "ubatch_size", "use_fp64_gumbel", "use_replayssm"),
        *("use_tqdm_on_load",),
    ]
)
"""Of the engine."""
FRONT = frozenset(
    [
        *("chat_template_content_format", "default_chat_template_kwargs"),
        *("exclude_tools_when_tool_choice_none", "tool_strict_level", "log_error_stack", "max_log_len"),
        *("config",),
    ]
)
"""Of vLLM's own server: those that its request handlers read, which this service uses too."""
FRONT_ANSWERS = (
    *("chat_template_content_format", "default_chat_template_kwargs"),
    *("exclude_tools_when_tool_choice_none", "tool_strict_level"),
)
"""Of these, what changes an answer."""

OURS = {
    "model": "--base",
    "model_tag": "--base",
    "served_model_name": "--base-name",
    "host": "--host",
    "port": "--port",
    "dtype": "--dtype",
    "max_model_len": "--max-model-len",
    "kv_cache_memory_bytes": "--kv-cache-gib",
    "gpu_memory_utilization": "--gpu-memory",
    "max_num_seqs": "--max-seqs",
    "max_num_queued_reqs": "--max-queue",
    "max_loras": "--max-loras",
    "max_cpu_loras": "--max-cpu-loras",
    "max_lora_rank": "--max-lora-rank",
    "tensor_parallel_size": "--tensor-parallel",
    "quantization": "--quantization",
    "reasoning_parser": "--reasoning-parser",
    "tool_call_parser": "--tool-call-parser",
    "enable_auto_tool_choice": "--tool-call-parser",
    "chat_template": "--chat-template",
    "speculative_config": "--speculative",
    "otlp_traces_endpoint": "--otlp-endpoint",
}
"""What has a name of this product's own, because the service itself must know it too."""

_BASE = "a version's digest covers the base as its folder has it, and this would change what answers"
_CODE = "it runs code that no digest covers"
_ADAPTERS = "adapters come from the registry, are checked before they are loaded, and never change in memory"
_ONE = "a service is one engine; run several services on one registry instead"
_CALLERS = "it lets callers bring what is put around no recipe, or fetch what lies elsewhere"
_FIGURES = "this service's figures and traces are read from it"
_START = "the service starts the engine's processes so that they end with it"
_STATE = "what one engine has computed stays with it: caches of several would tell each other's callers"
REFUSED = {
    **dict.fromkeys(
        [
            *("code_revision", "config_format", "generation_config", "hf_config_path", "hf_overrides"),
            *("load_format", "model_class_overrides", "model_loader_extra_config", "override_generation_config"),
            *("revision", "skip_tokenizer_init", "tokenizer", "tokenizer_mode", "tokenizer_revision"),
            *("weight_transfer_config", "response_role"),
        ],
        _BASE,
    ),
    **dict.fromkeys(
        [
            *("io_processor_plugin", "logits_processors", "reasoning_parser_plugin", "scheduler_cls"),
            *("tool_parser_plugin", "trust_remote_code", "worker_cls", "worker_extension_cls", "middleware"),
            *("tool_server",),
        ],
        _CODE,
    ),
    **dict.fromkeys(
        [
            *("default_mm_loras", "enable_lora", "enable_mixed_moe_lora_format", "enable_moe_shared_loras"),
            *("enable_tower_connector_lora", "fully_sharded_loras", "lora_modules", "lora_target_modules"),
            *("max_lora_cls_labels",),
        ],
        _ADAPTERS,
    ),
    **dict.fromkeys(
        ["api_server_count", "headless", "nnodes", "node_rank", "master_addr", "master_port"],
        _ONE,
    ),
    **dict.fromkeys(
        [
            *("allowed_local_media_path", "allowed_media_domains", "enable_mm_embeds", "enable_prompt_embeds"),
            *("language_model_only", "limit_mm_per_prompt", "trust_request_chat_template"),
            *("trust_request_mm_kwargs",),
        ],
        _CALLERS,
    ),
    **dict.fromkeys(["disable_log_stats", "enable_per_request_metrics", "enable_force_include_usage"], _FIGURES),
    "distributed_executor_backend": _START,
    **dict.fromkeys(["kv_transfer_config", "ec_transfer_config", "ec_manager_config", "kv_events_config"], _STATE),
    "logprobs_mode": "golden prompts, and evaluations, read the model's own log-probabilities",
    "enable_log_requests": "--log-bodies of this service writes what callers send, and never their keys",
    "enable_log_outputs": "answers are the callers' own",
    "api_key": "callers' keys are the registry's: `dabt keys create`",
    "help": "`vllm serve --help` lists its options; docs/guides/serving.md says which of them are taken",
    **dict.fromkeys(["runner", "convert", "pooler_config"], "this service generates text; --embedding-model embeds"),
}
"""The reasons, for what somebody may want. What stands in no list is refused too."""
PARTS: Mapping[str, Mapping[str, str]] = {
    "structured_outputs_config": {
        "backend": "grammars are tried out with xgrammar before they reach the engine, and another compiler would "
        "judge otherwise: leave it out",
        "disable_additional_properties": "it is for another compiler than xgrammar: leave it out, and write "
        '"additionalProperties": false into the schemas',
        "reasoning_parser": f"write {OURS['reasoning_parser']} before the --, so that the service knows it too",
        "reasoning_parser_plugin": _CODE,
    },
    "reasoning_config": {
        "reasoning_parser": f"write {OURS['reasoning_parser']} before the --, so that the service knows it too",
    },
    "compilation_config": {"backend": _CODE, "inductor_passes": _CODE},
}
"""Of options that are objects, the parts that may not be changed, and why."""
_KNOWN_BACKENDS = ("", "eager", "inductor")
_WHOLE = "the service gives a part of it, beside which vLLM leaves an object out"
_PART_BY_PART = "write its parts, such as --structured-outputs-config.disable_any_whitespace true"
_SERVER = "it is an option of vLLM's own HTTP server, which does not run here"
_UNKNOWN = "it is not known to leave the promises of this service whole"
_DATA_PARALLEL = ("data_parallel", "elastic", "enable_elastic")


def parsed_arguments(config: ServeConfig, share: Share = ALL) -> tuple[Any, dict[str, Any]]:
    """What `vllm serve` would have parsed, and what of it the operator gave to vLLM and may change an answer.

    From now on engines come from the fork server where that can be used, and are spawned elsewhere. Raises
    `InvalidConfig` for options that vLLM does not have, or that are refused here.
    """
    from vllm.platforms import current_platform

    executor = ""
    if forkserver.usable() and config.tensor_parallel == 1:
        forkserver.take_over()
        executor = forkserver.EXECUTOR
    else:
        import vllm.v1.engine.utils  # noqa: F401  (before its choice of processes is taken over)

        spawn.take_over()
    own = flags(config, on_cpu=current_platform.is_cpu(), executor=executor, share=share)
    args = parsed(own, config.engine_options)
    counts = (PASSED | {*FRONT_ANSWERS}) if config.engine_options else frozenset()
    names = counts & changed(own, args) if counts else counts
    return args, {name: getattr(args, name) for name in sorted(names)}


def parsed(own: Sequence[str], extra: Sequence[str]) -> Any:
    """vLLM's namespace for what this service gives it, with what the operator adds.

    Raises `InvalidConfig` with every option that is unknown, malformed or refused, each with the reason.
    """
    before = _parse(own)
    if not extra:
        return before
    after = _parse([*own, *extra])
    problems = [*_refused(before, after), *_lost(own, extra, after)]
    if problems:
        raise InvalidConfig(_SUMMARY, problems)
    return after


def changed(own: Sequence[str], args: Any) -> frozenset[str]:
    """Names of the options in which `args` differs from what this service gives."""
    before = vars(_parse(own))
    return frozenset(name for name, value in vars(args).items() if value != before.get(name))


def reason(name: str, engine: frozenset[str]) -> str:
    """Why vLLM's option `name` is refused; empty when it is taken. `engine` are those of its engine."""
    if name in PASSED or name in FRONT:
        return ""
    if name in OURS:
        return f"write {OURS[name]} before the --, so that the service knows it too"
    if name in REFUSED:
        return REFUSED[name]
    if name.startswith(_DATA_PARALLEL):
        return _ONE
    return _UNKNOWN if name in engine else _SERVER


def engine_options() -> frozenset[str]:
    """The names of vLLM's options that make its engine; the others are its server's."""
    from vllm.engine.arg_utils import AsyncEngineArgs

    return frozenset(field.name for field in dataclasses.fields(AsyncEngineArgs))


def _refused(before: Any, after: Any) -> Iterator[Problem]:
    engine, given = engine_options(), vars(before)
    for name, value in sorted(vars(after).items()):
        if value == given.get(name):
            continue
        if why := reason(name, engine):
            yield Problem(_written(name), why)
        for part, why in PARTS.get(name, {}).items():
            now = getattr(value, part, None)
            if now and now != getattr(given.get(name), part, None) and not _known_backend(name, part, now):
                yield Problem(f"{_written(name)}.{part}", why)


def _known_backend(name: str, part: str, value: Any) -> bool:
    return (name, part) == ("compilation_config", "backend") and value in _KNOWN_BACKENDS


def _lost(own: Sequence[str], extra: Sequence[str], after: Any) -> Iterator[Problem]:
    """An object for structured output, which vLLM would leave out in silence beside the part that the service gives."""
    name = "structured_outputs_config"
    try:
        theirs = getattr(_parse([*(flag for flag in own if flag not in GRAMMARS), *extra]), name)
    except InvalidConfig:  # parts that need the service's own beside them, where vLLM has put them
        return
    ours = getattr(after, name)
    if theirs.backend not in ("auto", ours.backend):
        yield Problem(f"{_written(name)}.backend", PARTS[name]["backend"])
    elif dataclasses.replace(theirs, backend=ours.backend) != ours:
        yield Problem(_written(name), _WHOLE, _PART_BY_PART)


def _written(name: str) -> str:
    return "--" + name.replace("_", "-")


def _parse(arguments: Sequence[str]) -> Any:
    from vllm.entrypoints.launchers.cli_args import make_arg_parser, validate_parsed_serve_args
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    class Parser(FlexibleArgumentParser):  # type: ignore[misc]
        """One that raises where argparse would end the process."""

        def error(self, message: str) -> Any:
            cure = _PART_BY_PART if f"argument {_written('structured_outputs_config')}:" in message else ""
            raise InvalidConfig(_SUMMARY, [Problem("dabt serve … --", message, cure)])

        def exit(self, status: int = 0, message: str | None = None) -> Any:
            raise InvalidConfig(_SUMMARY, [Problem("--help", REFUSED["help"])])

        def print_help(self, file: Any = None) -> None: ...

    try:
        args = make_arg_parser(Parser()).parse_args(list(arguments))
        validate_parsed_serve_args(args)
    except (ValueError, TypeError, OSError) as error:
        raise InvalidConfig(_SUMMARY, [Problem("dabt serve … --", str(error))]) from error
    return args
