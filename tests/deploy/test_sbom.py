"""The list of what an image is made of names every package of its lock file, and nothing else."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft7Validator
from referencing import Registry, Resource

ROOT = Path(__file__).resolve().parents[2]


def schema_of_lists(tool: Path) -> Draft7Validator:
    """CycloneDX's own, as the tool brings it."""
    (folder,) = tool.glob("lib/*/site-packages/cyclonedx/schema/_res")
    read = {path.name: json.loads(path.read_text(encoding="utf-8")) for path in folder.glob("*.schema.json")}
    whole: dict[str, Any] = read["bom-1.6.SNAPSHOT.schema.json"]
    at = whole["$id"].rpartition("/")[0]
    by_name = Registry().with_resources((f"{at}/{name}", Resource.from_contents(one)) for name, one in read.items())
    return Draft7Validator(whole, registry=by_name)


@pytest.mark.e2e
def test_every_locked_package_is_in_the_list_with_its_version(tmp_path: Path) -> None:
    """The tool is fetched from the package index, as it is by whoever runs the command."""
    environment = {**os.environ, "SBOM_TOOL": str(tmp_path / "tool")}
    for device in ("cpu", "cuda"):
        command = [str(ROOT / "scripts" / "sbom.sh"), device]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        listed = json.loads(done.stdout)
        assert [error.message for error in schema_of_lists(tmp_path / "tool").iter_errors(listed)] == []
        assert (listed["bomFormat"], listed["metadata"]["component"]["name"]) == ("CycloneDX", "dabt")
        lock = (ROOT / "requirements" / f"{device}.lock").read_text(encoding="utf-8").splitlines()
        packages = {f"{part['name']}=={part['version']}" for part in listed["components"]}
        assert packages == {line for line in lock if line and not line.startswith("#")}
    refused = subprocess.run([str(ROOT / "scripts" / "sbom.sh"), "tpu"], capture_output=True, text=True, check=False)
    assert (refused.returncode, "write cpu or cuda" in refused.stderr) == (2, True)
