"""How a service is run: every default of `dabt serve` lives here."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import Field, ValidationError, model_validator

from lifecycle.errors import InvalidConfig, Problem
from lifecycle.preflight import SERVED_RANKS
from lifecycle.version import Frozen

Dtype = Literal["auto", "float32", "bfloat16", "float16"]


class ServeConfig(Frozen):
    """One service. `base` is a model folder; give `dabt serve` a hub id and it is resolved to one."""

    base: Path
    base_name: str = ""
    """What callers write in `model` to reach the base itself; the folder's name unless given."""
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    """0 takes a free port; the log's `listening` line says which."""

    max_loras: int = Field(default=8, ge=1)
    """Different adapters in one batch: slots in the engine's weights."""
    max_cpu_loras: int = Field(default=64, ge=1)
    """Adapters kept in memory, ready for a slot."""
    max_lora_rank: int = 16
    max_model_len: int | None = Field(default=None, ge=16)
    """Tokens of prompt and answer together; the model's own limit unless given."""
    kv_cache_gib: float = Field(default=1.0, gt=0)
    """Set rather than profiled, because profiling costs seconds at every start."""
    dtype: Dtype = "auto"
    """`auto` is the checkpoint's own on a GPU; on a CPU float32, or bfloat16 where the CPU computes in it."""
    max_queue: int = Field(default=512, ge=1)
    """Requests in the engine, waiting or running; beyond it callers get 503 with Retry-After."""
    max_body_mib: float = Field(default=8.0, gt=0)

    golden_tolerance: float = Field(default=0.1, gt=0)
    """Largest mean difference in nats per token between an adapter's recorded and served golden log-probabilities."""
    load_wait_seconds: float = Field(default=30.0, gt=0)
    """How long a request waits for room in memory for its adapter before it gets 503."""
    poll_seconds: float = Field(default=0.25, gt=0, le=0.5)
    """How often the registry's revision is looked at: a version promoted elsewhere is served within a second."""
    drain_seconds: float = Field(default=30.0, ge=0)
    """After SIGTERM, how long admitted requests may take."""
    restart_attempts: int = Field(default=3, ge=0)
    """How often a dead engine is started again, with growing pauses, before the service gives up and exits."""
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        problems = []
        if not is_loopback(self.host):
            problems.append(
                Problem(
                    "host",
                    f"{self.host} can be reached from other machines, and this service has no API keys yet",
                    "use 127.0.0.1, and a proxy with authentication in front",
                )
            )
        if self.max_cpu_loras < self.max_loras:
            problems.append(
                Problem("max_cpu_loras", f"{self.max_cpu_loras} is below max_loras", f"at least {self.max_loras}")
            )
        if self.max_lora_rank not in SERVED_RANKS:
            allowed = ", ".join(map(str, SERVED_RANKS))
            problems.append(Problem("max_lora_rank", f"{self.max_lora_rank} is not supported", f"one of {allowed}"))
        if problems:
            raise InvalidConfig("The service cannot run like this:", problems)
        return self

    @property
    def served_name(self) -> str:
        return self.base_name or self.base.name


def config_from(options: Mapping[str, Any]) -> ServeConfig:
    """The options as a config. Raises `InvalidConfig` with every fault and its option."""
    try:
        return ServeConfig.model_validate(options)
    except ValidationError as error:
        problems = [
            Problem("--" + ".".join(map(str, one["loc"])).replace("_", "-"), one["msg"]) for one in error.errors()
        ]
        raise InvalidConfig("The service cannot run like this:", problems) from error


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
