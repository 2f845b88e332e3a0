"""docs/guides/faults.md names tests for what it says; each of them must be there."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs/guides/faults.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`([\w/.]+\.py)::(\w+)`", GUIDE)))


def rows() -> list[list[str]]:
    lines = [line for line in GUIDE.splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines if "---" not in line]


@pytest.mark.parametrize(("file", "test"), NAMED)
def test_every_test_that_the_guide_names_exists(file: str, test: str) -> None:
    rooms = ("", "tests", "tests/service", "tests/service/faults")
    places = [ROOT / room / file for room in rooms]
    found = [place for place in places if place.is_file()]
    assert found, f"there is no {file}"
    tree = ast.parse(found[0].read_text(encoding="utf-8"))
    assert test in {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_fault_has_a_test() -> None:
    faults = [row for row in rows() if row[0] not in ("Fault", "Reported")]
    assert len(faults) > 40
    assert [row[0] for row in faults if "::test_" not in row[-1]] == []
