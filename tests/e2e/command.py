"""The `dabt` command in a home of its own, as a user has it: every call is a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).resolve().parents[2]
CLINIC = REPOSITORY / "examples" / "clinic"
BASE = CLINIC / "base_model"


@dataclass(frozen=True)
class Command:
    """`dabt …` with this home; `run` returns the finished process, `ok` its output after checking that it succeeded."""

    home: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "DABT_HOME": str(self.home), "COLUMNS": "200", "USER": "tester"}
        return subprocess.run(
            [sys.executable, "-m", "dabt", *words],
            cwd=REPOSITORY,
            env=environment,
            capture_output=True,
            text=True,
            timeout=900,
            check=False,
        )

    def ok(self, *words: str) -> str:
        done = self.run(*words)
        assert done.returncode == 0, f"dabt {' '.join(words)}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        return done.stdout

    def versions(self, name: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(self.ok("versions", name, "--json"))
        return found
