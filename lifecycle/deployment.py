"""The deployment: everything besides the version that can change an answer. A service tells its own."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from pydantic import Field

from lifecycle.version import Digest, Frozen, digest_of


class Deployment(Frozen):
    """What answered. Two deployments with one digest answer alike; latencies are compared within one only.

    It holds no path, address, process id or secret: the same set-up has the same digest on every machine of its kind.
    """

    engine: str
    """Name and version, such as `vllm 0.32.0`."""
    dtype: str
    """The number format that the engine computes in, as it resolved it."""
    base: Digest
    """Of the base alone as a version: its fingerprint, and what else of its folder decides an answer."""
    kernels: tuple[str, ...] = ()
    """Our own kernels in use."""
    device: dict[str, Any] = Field(default_factory=dict)
    """What it computes on, where that decides which kernels are used: kind, name, instructions, threads."""
    libraries: dict[str, str] = Field(default_factory=dict)
    """Versions of what answers are computed with; `others` is a digest of all that these need besides."""
    revision: str = ""
    """Of this service's code."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Of engine and service, so far as they bear on answers or their limits."""

    @cached_property
    def digest(self) -> str:
        return digest_of(self.model_dump(mode="json", exclude_defaults=True))
