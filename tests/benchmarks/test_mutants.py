"""The mutants themselves: each kind of wrong change is made, and a test that notices is told from one that does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.mutants.__main__ import ROOMS, Room
from benchmarks.mutants.changes import mutants

ROOT = Path(__file__).parents[2]


def changed(tmp_path: Path, source: str) -> set[str]:
    (tmp_path / "m.py").write_text(source)
    found = mutants(tmp_path / "m.py", tmp_path)
    for mutant in found:
        assert mutant.source != source
        compile(mutant.source, "m.py", "exec")
    return {mutant.after for mutant in found}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("x = a < 3", {"x = a <= 3", "x = a < 4", "x = a < 2"}),
        ("x = (a) >= (b)", {"x = (a) > (b)"}),
        ("x = a not in b", {"x = a in b"}),
        ("x = a is not b", {"x = a is b"}),
        ("x = a and b", {"x = a or b", "x = (a)", "x = (b)"}),
        ("x = not a", {"x = (a)"}),
        ("x = a + b", {"x = a - b"}),
        ("x = a & b", {"x = a | b"}),
        ("x = a[1:]", {"x = a[:]", "x = a[2:]", "x = a[0:]"}),
        ("x = True", {"x = False"}),
        ("x = 0.02", {"x = 0.04"}),
        ("x = {1e-9}", set()),
        ('"""Says 3."""', set()),
        ("x: int = 0", {"x: int = 1"}),
        ('x: dict[str, int] = f(a)\n', set()),
        ('T = Literal["a", "b"]', set()),
        ("T = Annotated[A, F(gt=0.0)]", {"T = Annotated[A, F(ge=0.0)]", "T = Annotated[A, F(gt=1.0)]"}),
        ('x = (a, b)', {"x = (b,)", "x = (a,)"}),
        ("x = sorted(a, key=f)", {"x = list(a)", "x = sorted(a)"}),
        ("x = max(a)", {"x = min(a)"}),
        ("x = a.strip()", {"x = a"}),
        ('def f(a="b"): ...', {"def f(a='otherb'): ..."}),
        ('class A(B):\n    a: str = "b"', {"a: str = 'otherb'"}),
        ("def f():\n    return a", {"return None"}),
        ("if a:\n    raise b", {"if False:", "if True:", "pass"}),
        ("x = [a for a in b if c]", {"x = [a for a in b if True]"}),
        ("x += a", {"x -= a", "pass"}),
        ("f(a)", {"pass"}),
        ("x = {a: b, c: d}", {"x = {c: d}", "x = {a: b}"}),
        ("x = zip(a, b, strict=True)", set()),
        ('x = "ض" + a[2:]', {'x = "ض" - a[2:]', 'x = "ض" + a[:]', 'x = "ض" + a[3:]', 'x = "ض" + a[1:]'}),
    ],
)  # fmt: skip
def test_each_kind_of_change_is_made(tmp_path: Path, source: str, expected: set[str]) -> None:
    assert changed(tmp_path, source) == expected


def test_a_change_is_named_with_its_line_and_what_stood_there(tmp_path: Path) -> None:
    (tmp_path / "m.py").write_text("a = b\n\nx = f(\n    c < d,\n)\n")
    (mutant,) = mutants(tmp_path / "m.py", tmp_path)
    assert (mutant.module, mutant.line, mutant.before, mutant.after) == ("m.py", 4, "c < d,", "c <= d,")


def test_a_mutant_that_a_test_notices_is_told_from_one_that_survives(tmp_path: Path) -> None:
    """With the runner whole, on a module of its own: the bound is tested, the default is not."""
    (tmp_path / "subject.py").write_text("def grown(age: int, least: int = 18) -> bool:\n    return age >= least\n")
    (tmp_path / "test_subject.py").write_text(
        "from subject import grown\n\ndef test_bound():\n    assert grown(21, 21) and not grown(20, 21)\n"
    )
    script = f"""
from pathlib import Path
from benchmarks.mutants import trials
from benchmarks.mutants.changes import mutants
root = Path({str(tmp_path)!r})
survey = trials.survey(root, ["test_subject.py"], ["subject.py"])
trials.check_unchanged(root, "subject.py", survey)
asked = [(m, t, 1.0) for m in mutants(root / "subject.py", root) for t in [trials.tests_for(m, survey)]]
for mutant, noticed in trials.try_all(root, asked, 1):
    print(noticed, mutant.after)
"""
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{tmp_path}"}
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert set(run.stdout.splitlines()) == {
        "False def grown(age: int, least: int = 19) -> bool:",
        "False def grown(age: int, least: int = 17) -> bool:",
        "True return age > least",
        "True return None",
    }


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: room.name)
def test_every_module_and_test_that_is_to_be_tried_is_there(room: Room) -> None:
    assert [module for module in room.modules if not (ROOT / module).is_file()] == []
    assert room.test_files()
