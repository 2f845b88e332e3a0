"""The walls of the house: who may import whom, and what may be imported before it is needed."""

from __future__ import annotations

import ast
import functools
import graphlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("lifecycle", "retrieval", "training", "evals", "service", "console")

MAY_IMPORT = {
    "lifecycle": {"lifecycle"},
    "retrieval": {"retrieval", "lifecycle"},
    "training": {"training", "lifecycle"},
    "evals": {"evals", "lifecycle", "retrieval"},
    "service": {"service", "lifecycle", "retrieval"},
    "console": {"console", "service", "evals", "training", "lifecycle", "retrieval"},
}
STARTS_THE_CONSOLE = "service/cli.py"
"""Alone in `service` it knows the console, and starts it in front of the API."""

HEAVY = {
    "torch", "vllm", "trl", "transformers", "lm_eval", "peft", "datasets", "accelerate", "sentence_transformers",
    "matplotlib", "ray",
}  # fmt: skip

# The modules that talk to one heavy library; nothing imports them at its own top level (`loaded_by` below).
VLLM_MODULES = ("service/engine/vllm/", "service/engine/masked_lora.py", "service/engine/cpu/")
RAY_MODULES = ("service/cluster/ray_",)
HEAVY_MODULES = (
    *VLLM_MODULES,
    *RAY_MODULES,
    "training/recipes/",
    "evals/tasks/lmeval/metrics.py",  # registers metrics by lm-eval's decorators
)
TRAINERS = {"peft", "trl"}


def sources() -> list[Path]:
    return [*files(*PACKAGES, "examples"), ROOT / "dabt.py"]


def files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@functools.cache  # a dozen tests ask it of every file
def imports(path: Path) -> tuple[tuple[str, int, bool], ...]:
    """(module, line, whether it runs when the file is imported) of every import in the file."""
    return tuple(_imports(path))


def _imports(path: Path) -> Iterator[tuple[str, int, bool]]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    late = set()
    for node in ast.walk(tree):
        function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if function or (isinstance(node, ast.If) and _is_for_types(node.test)):
            late.update(id(inner) for statement in node.body for inner in ast.walk(statement))
    package = path.relative_to(ROOT).with_suffix("").parts
    for node in ast.walk(tree):
        at_import = id(node) not in late
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno, at_import) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level] if node.level else ()
            yield ".".join([*start, *([node.module] if node.module else [])]), node.lineno, at_import


def _is_for_types(test: ast.expr) -> bool:
    return "TYPE_CHECKING" in {getattr(node, "id", getattr(node, "attr", None)) for node in ast.walk(test)}


def place(path: Path, line: int) -> str:
    return f"{path.relative_to(ROOT)}:{line}"


def test_the_reader_of_imports_sees_them_wherever_they_stand(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    (tmp_path / "evals").mkdir()
    source = tmp_path / "evals" / "x.py"
    source.write_text(
        "import torch.nn\n"
        "from typing import TYPE_CHECKING\n"
        "if TYPE_CHECKING:\n    import vllm\n"
        "try:\n    from trl import SFTTrainer\nexcept ImportError: ...\n"
        "def f():\n    from service import app\n"
        "class A:\n    import peft\n"
        "from . import y\n"
    )
    assert {(name, now) for name, _, now in imports(source)} == {
        ("torch.nn", True), ("typing", True), ("vllm", False), ("trl", True), ("service", False), ("peft", True),
        ("evals", True),
    }  # fmt: skip


@pytest.mark.parametrize("package", PACKAGES)
def test_a_package_imports_only_those_that_the_design_lets_it(package):
    assert files(package), f"{package} has no files: the wall would hold nothing"
    others = {*PACKAGES, "examples", "dabt", "benchmarks", "tests"} - MAY_IMPORT[package]
    crossings = [
        f"{place(path, line)} imports {name}"
        for path in files(package)
        for name, line, _ in imports(path)
        if name.partition(".")[0] in others
        if not (name.startswith("console.") and path == ROOT / STARTS_THE_CONSOLE)
    ]
    assert crossings == []


def test_heavy_libraries_are_imported_only_where_they_are_used():
    """At a module's top level they would make `dabt --help` and every unit test wait for torch.

    The scripts that made the example's base model are outside: none of the packages imports them, and that the
    command does not either is held by `test_neither_the_command_nor_the_registry_loads_torch`.
    """
    crossings = [
        f"{place(path, line)} imports {name}"
        for path in [*files(*PACKAGES), ROOT / "dabt.py"]
        if not path.relative_to(ROOT).as_posix().startswith(HEAVY_MODULES)
        for name, line, at_import in imports(path)
        if at_import and name.partition(".")[0] in HEAVY
    ]
    assert crossings == []


def test_vllm_is_imported_in_its_own_modules_of_the_service_alone():
    """None of its interfaces is promised stable, so a new release must be one place's work."""
    crossings = [
        place(path, line)
        for path in sources()
        if not path.relative_to(ROOT).as_posix().startswith(VLLM_MODULES)
        for path, line in _of(path, {"vllm"})
    ]
    assert crossings == []


def test_ray_is_imported_by_what_runs_on_it_alone():
    """One machine without it serves, trains and evaluates as before."""
    on_ray = (*RAY_MODULES, "service/cluster/command.py", "training/")
    crossings = [
        place(path, line)
        for path in sources()
        if not path.relative_to(ROOT).as_posix().startswith(on_ray)
        for path, line in _of(path, {"ray"})
    ]
    assert crossings == []


def test_adapters_are_trained_in_the_training_package_alone():
    crossings = [
        place(path, line)
        for package in PACKAGES
        if package != "training"
        for path in files(package)
        for path, line in _of(path, TRAINERS)
    ]
    assert crossings == []


def test_yaml_is_read_in_one_place():
    """One that reads by itself would report less, or take a key written twice."""
    readers = [
        path.relative_to(ROOT).as_posix()
        for path in sources()
        if re.search(r"yaml\.\w*load", path.read_text(encoding="utf-8"))
    ]
    assert readers == ["lifecycle/config_file.py"]


def test_evals_reach_models_only_over_http():
    crossings = [place(path, line) for path in files("evals") for path, line in _of(path, {"torch", "vllm", "peft"})]
    assert crossings == []


def _of(path: Path, libraries: set[str]) -> Iterator[tuple[Path, int]]:
    for name, line, _ in imports(path):
        if name.partition(".")[0] in libraries:
            yield path, line


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has after the statement."""
    code = f"{statement}\nimport sys\nprint(*{{name.partition('.')[0] for name in sys.modules}})"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    run = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment, timeout=120
    )
    return set(run.stdout.split())


@pytest.mark.parametrize(
    "statement",
    [
        "import lifecycle.registry, lifecycle.models.preflight, lifecycle.store.artifacts, lifecycle.publishing",
        "import dabt",
        "import service.app",
    ],
)
def test_neither_the_command_nor_the_registry_loads_torch(statement):
    loaded = loaded_by(statement)
    assert "lifecycle" in loaded
    assert loaded & HEAVY == set()


def test_the_command_loads_nothing_that_only_some_commands_need():
    """`dabt --help` waits for whatever stands at the top of a module that holds a command."""
    assert loaded_by("import dabt") & {"pydantic", "numpy", "sqlalchemy", "structlog", "httpx", "asyncio"} == set()


def test_every_module_says_its_one_job():
    bare = [
        place(path, 1)
        for path in sources()
        if (text := path.read_text(encoding="utf-8")).strip() and not ast.get_docstring(ast.parse(text))
    ]
    assert bare == []


def test_no_module_of_a_package_has_outgrown_its_one_job():
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in files(*PACKAGES)}
    assert {str(path.relative_to(ROOT)): lines for path, lines in lengths.items() if lines > 400} == {}


def test_no_module_is_a_drawer_for_odds_and_ends():
    drawers = {"utils.py", "helpers.py", "common.py", "misc.py"}
    assert [str(path.relative_to(ROOT)) for path in files(*PACKAGES, "examples", "tests") if path.name in drawers] == []


def test_no_module_of_a_package_is_named_like_a_test():
    """pytest would import it by its own hook, past the changes of `make mutants`: none of them would be noticed."""
    assert [str(path.relative_to(ROOT)) for path in files(*PACKAGES) if path.stem.endswith("_test")] == []


def test_no_module_imports_in_a_circle():
    """For types too: whoever reads one of two files that need each other must read both."""
    modules = {path.relative_to(ROOT).with_suffix("").as_posix().replace("/", "."): path for path in sources()}
    needs = {
        name: {imported for imported in _named(path) if imported in modules and imported != name}
        for name, path in modules.items()
        if path.name != "__init__.py"  # a package's face hands names on
    }
    try:
        graphlib.TopologicalSorter(needs).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a circle of imports: {' → '.join(error.args[1])}")


def _named(path: Path) -> Iterator[str]:
    """Modules that the file names, `from package import module` among them."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
