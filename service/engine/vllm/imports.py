"""What every engine process on a CPU begins with: done once, by the server that engines are forked from.

The server has time for it, since the API imports as much before it asks for an engine. What fails here is tried again
by the engine, which does without a kernel or says why it cannot start.
"""

from __future__ import annotations

import gc
import warnings
from contextlib import suppress
from importlib import import_module

_OF_VLLM = (
    # First: it replaces parts of torch that the others look up when they are imported.
    "vllm.v1.worker.cpu_worker",
    "vllm.v1.engine.core",
    "vllm.v1.executor.uniproc_executor",
)
_OURS = (
    "service.engine.masked_lora",
    # These bring numba, and vLLM's Llama, which most other models are made of.
    "service.engine.cpu.grouped",
    "service.engine.cpu.layers",
    "service.engine.vllm.adapter_memory",
    "service.engine.vllm.attention",
    "service.engine.vllm.scored_rows",
)


def _replace_kernels() -> None:
    """Each worker of vLLM 0.32 puts its kernels for a CPU in the place of Triton's. For that it looks at every name of
    every module: a second, and its end where llvmlite is among them, which numba brings. What is imported later takes
    them from here.
    """
    from vllm.platforms.cpu import CpuPlatform

    with warnings.catch_warnings(action="ignore"):  # of names that others have deprecated
        CpuPlatform.register_triton_kernel_overrides()
    CpuPlatform.register_triton_kernel_overrides = classmethod(lambda cls: None)


# All of it stays: a collector that looks through it again and again finds nothing, and after a fork it would copy the
# memory that the engine shares with the server.
gc.disable()
try:
    with suppress(Exception):
        for _name in _OF_VLLM:
            import_module(_name)
        _replace_kernels()
        for _name in _OURS:
            import_module(_name)
finally:
    gc.freeze()
    gc.enable()
