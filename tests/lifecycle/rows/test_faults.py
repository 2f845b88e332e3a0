"""Every fault of a row says what to do about it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import lifecycle.rows

MAKERS = ("Fault", "unreadable")
"""What makes a fault; the third argument is its cure."""


def calls() -> Iterator[tuple[str, ast.Call]]:
    for path in sorted(Path(lifecycle.rows.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MAKERS:
                yield f"{path.name}:{node.lineno}", node


def has_cure(call: ast.Call) -> bool:
    cures = [*call.args[2:3], *(word.value for word in call.keywords if word.arg == "cure")]
    return any(not isinstance(cure, ast.Constant) or bool(cure.value) for cure in cures)


def test_no_fault_is_without_a_cure() -> None:
    found = list(calls())
    assert len(found) > 60, "the readers of rows have many faults"
    assert [place for place, call in found if not has_cure(call)] == []
