"""The official Node client, installed once from its lock file into `build/`, and what it makes of a service."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent / "node"
INSTALLED = Path(__file__).parents[2] / "build" / "node_client"


def ask(url: str, model: str, embedder: str) -> dict[str, Any]:
    """What `node/client.mjs` prints."""
    return run("client.mjs", f"{url}/v1", model, embedder)


def run(program: str, *arguments: str) -> dict[str, Any]:
    """What it prints. Skips where there is no Node; fails where there is, and the client fails."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("node and npm are not installed")
    _install()
    done = _run("node", program, *arguments)
    assert done.returncode == 0, done.stderr
    said: dict[str, Any] = json.loads(done.stdout)
    return said


def check(said: dict[str, Any], model: str, embedder: str, dimensions: int) -> None:
    """What must hold of every engine's answers."""
    assert said["whole"] == said["streamed"] == said["response"] == said["final"] != ""
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert said["wholeUsage"][name] == said["usage"][name] > 0
    assert said["requestId"]
    assert said["plain"]
    assert said["kinds"][0] == "response.created"
    assert said["kinds"][-1] == f"response.{said['status']}"
    assert {model, embedder} < set(said["models"])
    assert said["card"]["id"] == model
    assert set(said["card"]["dabt"]) >= {"version", "digest", "state", "alias", "parent"}
    assert [len(vector) for vector in said["vectors"]] == [dimensions] * 2
    assert said["vectors"][0] != said["vectors"][1]
    unknown, wrong, kept = said["unknown"], said["wrong"], said["kept"]
    assert (unknown["name"], unknown["status"], unknown["code"]) == ("NotFoundError", 404, "model_not_found")
    assert (wrong["name"], wrong["param"], wrong["type"]) == ("BadRequestError", "temperature", "invalid_request_error")
    assert (kept["status"], kept["param"]) == (400, "previous_response_id")
    assert all(one["requestID"] for one in (unknown, wrong, kept))


def _run(*command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, cwd=INSTALLED, capture_output=True, text=True, timeout=580, check=False)


def _install() -> None:
    """From the lock file; nothing when it was done for this one."""
    wanted = (HERE / "package-lock.json").read_bytes()
    mark = INSTALLED / "node_modules" / ".installed"
    INSTALLED.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "client.mjs", "jobs.mjs"):
        shutil.copyfile(HERE / name, INSTALLED / name)
    if mark.is_file() and mark.read_bytes() == wanted:
        return
    made = _run("npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error")
    if made.returncode != 0:
        pytest.skip(f"the openai package for Node cannot be had: {made.stderr.strip()[-300:]}")
    mark.write_bytes(wanted)
