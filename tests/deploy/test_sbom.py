"""The list of what an image is made of names every package of its lock file, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.e2e
def test_every_locked_package_is_in_the_list_with_its_version(tmp_path: Path) -> None:
    """The tool is fetched from the package index, as it is by whoever runs the command."""
    environment = {**os.environ, "SBOM_TOOL": str(tmp_path / "tool")}
    for device in ("cpu", "cuda"):
        command = [str(ROOT / "scripts" / "sbom.sh"), device]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        listed = json.loads(done.stdout)
        assert (listed["bomFormat"], listed["metadata"]["component"]["name"]) == ("CycloneDX", "dabt")
        lock = (ROOT / "requirements" / f"{device}.lock").read_text(encoding="utf-8").splitlines()
        packages = {f"{part['name']}=={part['version']}" for part in listed["components"]}
        assert packages == {line for line in lock if line and not line.startswith("#")}
    refused = subprocess.run([str(ROOT / "scripts" / "sbom.sh"), "tpu"], capture_output=True, text=True, check=False)
    assert (refused.returncode, "write cpu or cuda" in refused.stderr) == (2, True)
