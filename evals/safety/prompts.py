"""The prompts of a suite: its own set beside this file, one JSON object a line, in English and Arabic."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from evals.sample import Sample, Turn

_DATA = Path(__file__).with_name("data")
OWN = "built-in"
"""The source of what stands in this project, under its licence."""


@cache
def own(name: str) -> tuple[Mapping[str, Any], ...]:
    """The rows of the set `name`, in their order."""
    lines = (_DATA / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(json.loads(line) for line in lines)


def asked(text: str) -> tuple[Turn, ...]:
    return ({"role": "user", "content": text},)


def sample(row: Mapping[str, Any], text: str, target: Any = None, **slices: str) -> Sample:
    """One question of the row. Its key is made of what it says when the suite is loaded."""
    source = row.get("source", OWN)
    return Sample(
        key="",
        id=row["id"],
        messages=asked(text),
        target=target,
        metadata={**row, "source": source},
        slices={"language": row["language"], "source": source, **slices},
    )
