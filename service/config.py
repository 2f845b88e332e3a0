"""How a service is run: every default of `dabt serve` lives here."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import ConfigDict, Field, ValidationError, model_validator

from lifecycle.errors import InvalidConfig, InvalidInput, Problem
from lifecycle.models.base import name_of
from lifecycle.models.preflight import SERVED_RANKS
from lifecycle.validation import fault_of
from lifecycle.version import Frozen, Ref
from retrieval.packaged import PACKAGED_MODEL
from service.host_names import host_of, host_of_origin

QUEUE_FACTOR = 2
"""So many times the sequences that it works on at once, an engine has requests: waiting ones fill the next steps."""
_SEQUENCES = 256
"""vLLM's own number, but for the largest GPUs."""

Dtype = Literal["auto", "float32", "bfloat16", "float16"]
TraceProtocol = Literal["http/protobuf", "grpc"]
"""As OpenTelemetry's own variable names them."""


class ServeConfig(Frozen):
    """One service. `base` is a model folder; give `dabt serve` a hub id and it is resolved to one."""

    model_config = ConfigDict(allow_inf_nan=False)

    base: Path
    base_name: str = ""
    """What callers write in `model` to reach the base itself; unless given, its hub id or its folder's name."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free port; the log's `listening` line says which."""

    max_loras: int = Field(default=8, ge=1)
    """Different adapters in one batch: slots in the engine's weights. On a CPU `dabt serve` takes as many as the memory
    allows (`engine/memory.py`), since the kernel there pays for those in use alone."""
    max_cpu_loras: int = Field(default=64, ge=1)
    """Adapters kept in memory, ready for a slot."""
    max_lora_rank: int = 16
    max_model_len: int | None = Field(default=None, ge=16)
    """Tokens of prompt and answer together. Unless given, the model's own limit, or as much of it as fits into the
    key-value cache."""
    kv_cache_gib: float | None = Field(default=None, gt=0)
    """Unless given, vLLM profiles it on a GPU, and on a CPU it follows the base and the memory (`engine/memory.py`)."""
    gpu_memory: float | None = Field(default=None, gt=0, le=1)
    """The share of each GPU's memory that the engine takes; vLLM's own default (0.92) unless given. Where less is free,
    the engine is not started (`engine/vllm/gpu_memory.py`)."""
    dtype: Dtype = "auto"
    """`auto` is the checkpoint's own on a GPU; on a CPU float32, or bfloat16 where the CPU computes in it, or the
    checkpoint is bfloat16 and the CPU has AVX2 and no AVX-512."""
    max_seqs: int | None = Field(default=None, ge=1)
    """Sequences that the engine works on at once; vLLM's own number for the device unless given."""
    max_queue: int | None = Field(default=None, ge=1)
    """Requests in the engine, waiting or running, and as many before it that wait for a slot in the batch; beyond it
    callers get 503 with Retry-After. Twice the sequences unless given."""
    turn_seconds: float = Field(default=0.5, ge=0)
    """How long requests may join an adapter in the batch while another adapter waits for its slot."""
    max_body_mib: float = Field(default=8.0, gt=0)
    max_file_mib: float = Field(default=512.0, gt=0)
    """Of a file that is sent in one request, as in OpenAI's API; a larger one comes in parts."""
    max_upload_mib: float = Field(default=8192.0, gt=0)
    """Of a file that comes in parts."""
    worker: bool = False
    """Start a worker beside the service, which trains what the fine-tuning API is asked for; `dabt serve` does."""
    checkpoint_days: int | None = Field(default=None, ge=1)
    """How long that worker keeps checkpoints of jobs; None for ever."""

    evals: Path | None = None
    """The folder of the evaluations that a job may ask for by its metadata (`dabt_eval: NAME` is NAME.yaml in it)."""

    ui: bool = True
    """Show the console, the pages at /ui."""
    router_series: bool = False
    """Show on /metrics what routers outside read of adapters: which are asked for, wait and are loaded."""
    grafana_url: str = Field(default="", pattern=r"^(https?://[^/\s]+.*)?$")
    """Where its pages link to for longer histories."""

    keys: Literal["auto", "required", "off"] = "auto"
    """`auto` asks every caller for an API key once the registry has had one; `required` also refuses to start without
    one; `off` asks for none, and is for loopback alone."""
    allowed_host: tuple[str, ...] = ()
    """Names (`name` or `name:port`) that a service without keys answers to, besides loopback's."""
    cors_origin: tuple[str, ...] = ()
    """Origins (`https://name:port`) whose pages may call the service and read its answers (CORS)."""
    limits_url: str = "memory://"
    """Where requests and tokens per minute are counted: `memory://`, or a Redis that several services share."""
    prefix_cache: Literal["per-key", "shared"] = "per-key"
    """Whose prompts a key's requests may find in the engine's prefix cache: its own, or everybody's, which is faster
    where many keys call one version and lets them measure what others have asked. Without keys it is one cache."""
    usage_seconds: float = Field(default=2.0, gt=0)
    """How often what keys used is written to the registry; a crash loses that much of it."""
    log_bodies: bool = False
    """Write what callers send into the log: personal data, as a rule."""

    tool_parser: str = ""
    """vLLM's parser of how the base writes tool calls (hermes, llama3_json, …); without one tools are refused."""
    compile_seconds: float = Field(default=5.0, gt=0)
    """The processor's time that a schema, expression or grammar may take to compile; one that takes more is refused."""
    reasoning_parser: str = ""
    """vLLM's parser of how the base writes what it thinks (qwen3, deepseek_r1, …); without one that is plain text."""
    tensor_parallel: int = Field(default=1, ge=1)
    """GPUs that share each layer."""
    quantization: str = ""
    """How the base's weights are packed, or are to be packed while they are loaded; config.json says it as a rule.
    `int8` rounds them to 8 bits on a CPU."""
    speculative: str = Field(default="", pattern=r"^(ngram|\{.*\})?$")
    """Speculative decoding: `ngram` looks the next tokens up in the prompt; or vLLM's own JSON object."""
    engine_options: tuple[str, ...] = ()
    """Options of `vllm serve` as they are written there; `engine/vllm/options.py` says which are taken."""
    embedding_model: str = PACKAGED_MODEL
    """What `/v1/embeddings` answers with: the packaged model, a hub id or a folder; `none` for no embeddings."""

    classifier_gib: float = Field(default=2.0, gt=0)
    """Memory for the weights of classifiers, which run on the processor; past it the least recently used leave."""

    golden_tolerance: float = Field(default=0.1, gt=0)
    """Largest mean difference in nats per token between an adapter's recorded and served golden log-probabilities.
    Twice what the base itself is off in the number format that is served is allowed where that is more."""
    preload: tuple[str, ...] = ()
    """Versions (`triage`, `triage:3`, …) to load before the service is ready; `prod` for every `prod` alias."""
    pin: tuple[str, ...] = ()
    """The same, and kept in memory whatever else is called."""
    cache_gib: float | None = Field(default=20.0, gt=0)
    """Local copies of a remote artifact store; past it the least recently used are deleted. None for no bound."""
    fetch_seconds: float = Field(default=120.0, gt=0)
    """How long the artifact store may take for one adapter or index, before its request gets 503."""
    load_wait_seconds: float = Field(default=30.0, gt=0)
    """How long a request waits for room in memory for its adapter before it gets 503."""
    poll_seconds: float = Field(default=0.25, gt=0, le=0.5)
    """How often the registry's revision is looked at: a version promoted elsewhere is served within a second."""
    canary_seconds: float = Field(default=1.0, gt=0)
    """How often services of one registry tell each other how requests to a canary went; none is told without one."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """After SIGTERM, how long admitted requests may take."""
    keep_alive_seconds: float = Field(default=15.0, gt=0)
    """After so much silence a stream says a comment, for proxies that end silent connections; and so long a stream's
    first event is waited for before the status is sent, since an error has its own status until then."""
    client_seconds: float = Field(default=60.0, gt=0)
    """How long a client may take to send a request, and then to make room for more of its answer."""
    engine_silent_seconds: float = Field(default=120.0, gt=0)
    """How long the engine's loop may give no sign of life before it is taken for dead. Longer than any step takes."""
    restart_attempts: int = Field(default=3, ge=0)
    """How often a dead engine is started again, with growing pauses, before the service gives up and exits."""
    shadow_folder: Path | None = None
    """Where the results of shadow traffic are kept; without it nothing is copied. `dabt serve` takes its home's."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["logfmt", "json"] = "logfmt"
    """`json` is one object a line, for a collector of logs."""
    otlp_endpoint: str = Field(default="", pattern=r"^(https?://[^/\s]+.*)?$")
    """Base URL of an OpenTelemetry collector; traces are off without one."""
    otlp_protocol: TraceProtocol = "http/protobuf"
    """How that collector is spoken to. Its port is 4318 for HTTP by custom, 4317 for gRPC."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if self.keys == "off" and not is_loopback(self.host):
            # Whether there are keys is the registry's to tell: `access.check_address` asks it.
            fault = f"{self.host} can be reached from other machines, and keys are off"
            problems.append(Problem("host", fault, "use 127.0.0.1, or let keys be asked for"))
        if urlsplit(self.limits_url).scheme not in ("memory", "redis", "rediss"):
            fault = "is no place that limits can be counted in"
            problems.append(Problem("limits_url", fault, "memory://, redis://host:port/db or rediss://…"))
        if self.max_cpu_loras < self.max_loras:
            problems.append(
                Problem("max_cpu_loras", f"{self.max_cpu_loras} is below max_loras", f"at least {self.max_loras}")
            )
        if self.max_lora_rank not in SERVED_RANKS:
            allowed = ", ".join(map(str, SERVED_RANKS))
            problems.append(Problem("max_lora_rank", f"{self.max_lora_rank} is not supported", f"one of {allowed}"))
        problems += [
            Problem("allowed_host", f"{text!r} is no name of a host", "such as gpu-box or gpu-box:8000")
            for text in self.allowed_host
            if not host_of(text)[0]
        ]
        problems += [
            Problem("cors_origin", f"{text!r} is no origin", "such as https://tools.example or http://localhost:3000")
            for text in self.cors_origin
            if not host_of_origin(text)
        ]
        problems += [*_not_refs("preload", self.preload), *_not_refs("pin", self.pin)]
        if problems:
            raise InvalidConfig("The service cannot run like this:", problems)
        return self

    @property
    def cache_bytes(self) -> int | None:
        """Of local copies of a remote artifact store, at most; None without a bound."""
        return None if self.cache_gib is None else int(self.cache_gib * 2**30)

    @property
    def served_name(self) -> str:
        return self.base_name or name_of(self.base)

    @property
    def queue(self) -> int:
        """`max_queue`, or what is taken for it until the engine tells."""
        return self.max_queue or QUEUE_FACTOR * (self.max_seqs or _SEQUENCES)

    @property
    def traces_url(self) -> str:
        """Where the collector takes traces; empty when they are off."""
        if not self.otlp_endpoint or self.otlp_protocol == "grpc":
            return self.otlp_endpoint
        return self.otlp_endpoint.rstrip("/") + "/v1/traces"


def config_from(options: Mapping[str, Any]) -> ServeConfig:
    """The options as a config. Raises `InvalidConfig` with every fault and its option."""
    try:
        return ServeConfig.model_validate(options)
    except ValidationError as error:
        problems = [
            Problem("--" + ".".join(map(str, item["loc"])).replace("_", "-"), fault_of(item)) for item in error.errors()
        ]
        raise InvalidConfig("The service cannot run like this:", problems) from error


def _not_refs(place: str, texts: Iterable[str]) -> Iterator[Problem]:
    for text in texts:
        try:
            Ref.parse(text)
        except InvalidInput as error:
            yield Problem(place, str(error))


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
