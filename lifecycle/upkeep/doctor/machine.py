"""The machine: Python, packages, processor or GPU, memory, disk, open files, as the system tells; nothing is loaded."""

from __future__ import annotations

import importlib.metadata
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from lifecycle.home import Home
from lifecycle.upkeep.doctor.finding import Finding, fault, ok, warning

_GIB = 2**30
LOCKS = Path(__file__).parents[3] / "requirements"
_PYTHON = (3, 11)
_LEAST_MEMORY, _LEAST_DISK, _GOOD_DISK = 2 * _GIB, 1 * _GIB, 5 * _GIB
_LEAST_FILES, _GOOD_FILES = 256, 4096
"""Each connection, adapter and artifact is one."""
_TOLD = 5
PROC, CGROUP = Path("/proc"), Path("/sys/fs/cgroup")


def python() -> Iterator[Finding]:
    here = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info[:2] != _PYTHON:
        yield fault(
            "python", f"this is Python {here}, and Dabt runs on 3.11", "make the environment again: `make setup`"
        )
    else:
        yield ok("python", f"{here} at {sys.executable}")


def packages() -> Iterator[Finding]:
    """Against the lock file of this build; there is none beside a wheel."""
    lock = LOCKS / ("cuda.lock" if _cuda_build() else "cpu.lock")
    if not lock.is_file():
        yield ok("packages", "no lock file beside this installation to hold them against")
        return
    locked = dict(re.findall(r"^([\w.-]+)==(\S+)", lock.read_text(encoding="utf-8"), re.MULTILINE))
    missing, others = [], []
    for name, version in locked.items():
        try:
            here = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            missing.append(name)
            continue
        if here != version:
            others.append(f"{name} {here} (locked: {version})")
    cure = "install the lock again: `make setup`"
    if missing:
        yield fault("packages", f"{_some(missing)} of {lock.name} not installed", cure)
    if others:
        yield warning("packages", f"other versions than {lock.name} has: {_some(others)}", cure)
    if not missing and not others:
        yield ok("packages", f"all {len(locked)} as in {lock.name}")


def processor() -> Iterator[Finding]:
    """The GPU and its driver for a build of vLLM for CUDA; the processor's instructions for the other."""
    if _cuda_build():
        yield _gpu()
        return
    try:
        text = (PROC / "cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        yield warning("processor", "its features cannot be read here", "check by hand that it has AVX2 or AVX-512")
        return
    flags = set((re.search(r"^(?:flags|Features)\s*:\s*(.*)$", text, re.MULTILINE) or ["", ""])[1].split())
    if "avx512f" in flags:
        more = " and bfloat16" if "avx512_bf16" in flags else ""
        yield ok("processor", f"AVX-512{more}, {len(re.findall('^processor', text, re.MULTILINE))} processors")
    elif flags & {"avx2", "asimd"}:
        yield ok("processor", f"{'AVX2' if 'avx2' in flags else 'ASIMD'}: the engine works, slower than with AVX-512")
    else:
        yield fault("processor", "it has neither AVX2 nor AVX-512, which the engine needs", "use another machine")


def _gpu() -> Finding:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.free", "--format=csv,noheader"]
    try:
        done = subprocess.run(query, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return fault(
            "gpu",
            f"vLLM is here for CUDA, and nvidia-smi does not answer ({type(error).__name__})",
            "install NVIDIA's driver, or give the container the GPU: `docker run --gpus all`",
        )
    if done.returncode:
        told = (done.stdout + done.stderr).strip().partition("\n")[0]
        return fault("gpu", f"nvidia-smi finds no GPU: {told}", "load the driver, or start this container with its GPU")
    cards = [line.strip() for line in done.stdout.splitlines() if line.strip()]
    return ok("gpu", "; ".join(cards)) if cards else fault("gpu", "nvidia-smi lists no GPU", "see that one is there")


def memory() -> Iterator[Finding]:
    free = _free_memory()
    if free is None:
        yield warning("memory", "how much is free cannot be read here", "see by hand that 2 GiB are free")
    elif free < _LEAST_MEMORY:
        cure = "end what uses it, raise the container's limit, or give `dabt serve` a smaller --kv-cache-gib"
        yield warning("memory", f"{free / _GIB:.1f} GiB are free", cure)
    else:
        yield ok("memory", f"{free / _GIB:.1f} GiB are free")


def disk(home: Home) -> Iterator[Finding]:
    """Of the home, and of a store that is a folder elsewhere."""
    places = {"home": home.root}
    if "://" not in home.artifacts_url:
        places["store"] = Path(home.artifacts_url).expanduser()
    told: set[int] = set()
    for name, place in places.items():
        there = next(path for path in (place, *place.parents) if path.exists())
        if (device := there.stat().st_dev) in told:
            continue
        told.add(device)
        free = shutil.disk_usage(there).free
        says = f"{free / _GIB:.1f} GiB are free for the {name} at {place}"
        cure = "free some space; `dabt gc` says what the store could let go"
        if free < _LEAST_DISK:
            yield fault("disk", says, cure)
        elif free < _GOOD_DISK:
            yield warning("disk", says, cure)
        else:
            yield ok("disk", says)


def open_files() -> Iterator[Finding]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    says = f"a process may open {soft} files"
    cure = f"`ulimit -n {min(65536, hard) if hard > 0 else 65536}`, or LimitNOFILE= of its unit"
    if 0 <= soft < _LEAST_FILES:
        yield fault("open files", says, cure)
    elif 0 <= soft < _GOOD_FILES:
        yield warning("open files", f"{says}: many callers at once may be refused", cure)
    else:
        yield ok("open files", says)


def _free_memory() -> int | None:
    """Bytes: what the machine has, or what a container's limit leaves of it."""
    try:
        text = (PROC / "meminfo").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^MemAvailable:\s+(\d+) kB", text, re.MULTILINE)
    if found is None:
        return None
    free = int(found[1]) * 1024
    try:
        limit = (CGROUP / "memory.max").read_text(encoding="utf-8").strip()
        used = int((CGROUP / "memory.current").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return free
    return free if limit == "max" else min(free, int(limit) - used)


def _cuda_build() -> bool:
    try:
        importlib.metadata.distribution("vllm")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _TOLD} more" if len(names) > _TOLD else ""
    return ", ".join(names[:_TOLD]) + more
