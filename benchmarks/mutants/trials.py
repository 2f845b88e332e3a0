"""Whether the unit tests notice a change: each mutant meets the tests that run its line, in a process of its own.

This process imports pytest and the foreign libraries once and never the project's modules; a fork of it gets the
changed module by an import hook. One run without a change tells which test runs which line, and how long it takes.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import pickle
import signal
import sys
import tempfile
import time
import types
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.mutants.changes import Mutant

_OPTIONS = ["-q", "-x", "-m", "not engine and not e2e", "-p", "no:cacheprovider", "-o", "python_files=test_*.py"]
"""python_files: by its default pytest itself imports a module that is named like `score_test.py`, unchanged."""
_PATIENCE_S = 15.0
_BUDGET_S = 20.0
"""A survivor meets this many seconds of tests at most: those of its own file first, then the quickest."""


@dataclass
class Survey:
    """One run of tests without a change."""

    seconds: dict[str, float] = field(default_factory=dict)
    """Node id → how long it took, with its set-up."""
    runs: dict[str, dict[int, list[str]]] = field(default_factory=dict)
    """Module → line → node ids that run it; a line that runs at import has "" among them."""
    libraries: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def survey(root: Path, tests: Sequence[str], modules: Sequence[str]) -> Survey:
    """Runs the files' tests in a fork. Raises RuntimeError when one fails: then nothing can be said."""
    with tempfile.NamedTemporaryFile() as answer:
        child = _fork(lambda: _survey(root, tests, modules, Path(answer.name)))
        os.waitpid(child, 0)
        content = Path(answer.name).read_bytes()
    if not content:
        raise RuntimeError(f"{', '.join(tests)} could not be run; run them alone to see why")
    found: Survey = pickle.loads(content)  # noqa: S301 - written by our own fork
    if found.failed:
        raise RuntimeError("these tests fail without any change: " + ", ".join(found.failed))
    for name in found.libraries:
        try:
            importlib.import_module(name)
        except Exception:  # noqa: S112 - one that only its own package can import is imported by the forks
            continue
    gc.collect()
    gc.freeze()  # the forks share the pages
    return found


def tests_for(mutant: Mutant, known: Survey) -> list[str]:
    """Node ids in the order to run: its own file's, then by file, the quickest first; within the budget."""
    lines = known.runs.get(mutant.module, {})
    direct = set(lines.get(mutant.line, ()))
    if "" in direct or not direct:  # it runs at import, or coverage counts it to the first line of its statement
        direct = {test for tests in lines.values() for test in tests}
    files = {test.partition("::")[0] for test in direct if test}
    # A fixture that several tests share runs the line in the first alone: the rest of these files come last.
    stem = Path(mutant.module).stem

    def rank(test: str) -> tuple[bool, bool, float]:
        own = Path(test.partition("::")[0]).stem.startswith(f"test_{stem}")
        return test not in direct, not own, known.seconds[test]

    chosen: list[str] = []
    spent = 0.0
    for test in sorted((t for t in known.seconds if t.partition("::")[0] in files), key=rank):
        if chosen and spent + known.seconds[test] > _BUDGET_S:
            continue
        chosen.append(test)
        spent += known.seconds[test]
    return chosen


def check_unchanged(root: Path, module: str, known: Survey) -> None:
    """Raises RuntimeError when tests fail in a fork without any change: then every mutant would seem to be noticed."""
    unchanged = Mutant(module, 0, "", "", (root / module).read_text(encoding="utf-8"))
    tests = tests_for(unchanged, known)
    for _, noticed in try_all(root, [(unchanged, tests, sum(known.seconds[test] for test in tests))], jobs=1):
        if noticed:
            raise RuntimeError(f"the tests of {module} pass at first, and fail in a fork without any change")


def try_all(root: Path, trials: Iterable[tuple[Mutant, list[str], float]], jobs: int) -> Iterator[tuple[Mutant, bool]]:
    """(mutant, whether a test noticed it), as they end. A time-out is noticed: the tests hang."""
    waiting = iter(trials)
    running: dict[int, tuple[Mutant, float]] = {}
    more = True
    while more or running:
        while more and len(running) < jobs:
            trial = next(waiting, None)
            if trial is None:
                more = False
                break
            mutant, tests, seconds = trial
            if not tests:
                yield mutant, False
                continue
            child = _fork(lambda mutant=mutant, tests=tests: _try(root, mutant, tests))  # type: ignore[misc]
            running[child] = mutant, time.monotonic() + _PATIENCE_S + 5 * seconds
        yield from _ended(running)
        time.sleep(0.005)


def _ended(running: dict[int, tuple[Mutant, float]]) -> Iterator[tuple[Mutant, bool]]:
    for child, (mutant, deadline) in list(running.items()):
        ended, status = os.waitpid(child, os.WNOHANG)
        if not ended and time.monotonic() < deadline:
            continue
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child, signal.SIGKILL)  # and whatever a test had started
        if not ended:
            os.waitpid(child, 0)
        del running[child]
        yield mutant, not ended or status != 0


def _fork(work: Callable[[], int]) -> int:
    sys.stdout.flush()
    child = os.fork()
    if child:
        return child
    os.setsid()
    code = 1
    try:
        code = work()
    finally:
        os._exit(code)


def _quiet(root: Path) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nowhere, stream)
    os.environ["PYTHONPATH"] = str(root)
    from hypothesis import HealthCheck, Phase, settings

    # A counterexample is enough; the smallest is not wanted, nor one that an earlier mutant left.
    settings.register_profile(
        "mutants",
        database=None,
        derandomize=True,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )
    settings.load_profile("mutants")


def _try(root: Path, mutant: Mutant, tests: list[str]) -> int:
    import pytest

    _quiet(root)
    sys.meta_path.insert(0, _Changed(root, mutant))
    code = pytest.main([*_OPTIONS, *dict.fromkeys(test.partition("::")[0] for test in tests)], plugins=[_Only(tests)])
    return 0 if code in (0, 5) else 1


class _Changed(importlib.abc.MetaPathFinder):
    """Imports the mutated module from its changed source."""

    def __init__(self, root: Path, mutant: Mutant) -> None:
        self.path = str(root / mutant.module)
        parts = Path(mutant.module).with_suffix("").parts
        self.name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        self.source = mutant.source

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: types.ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if fullname != self.name:
            return None
        loader = _Source(fullname, self.path, self.source)
        return importlib.util.spec_from_file_location(fullname, self.path, loader=loader)


class _Source(importlib.machinery.SourceFileLoader):
    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.source = source

    def get_code(self, fullname: str) -> types.CodeType:
        code: types.CodeType = compile(self.source, self.path, "exec", dont_inherit=True)
        return code


class _Only:
    """A pytest plugin: these tests in this order; a file's together, so that its fixtures are made once."""

    def __init__(self, tests: list[str]) -> None:
        files = {file: at for at, file in enumerate(dict.fromkeys(test.partition("::")[0] for test in tests))}
        self.order = {test: (files[test.partition("::")[0]], at) for at, test in enumerate(tests)}

    def pytest_collection_modifyitems(self, items: list[object]) -> None:
        items[:] = sorted(
            (item for item in items if item.nodeid in self.order),  # type: ignore[attr-defined]
            key=lambda item: self.order[item.nodeid],  # type: ignore[attr-defined]
        )


def _survey(root: Path, tests: Sequence[str], modules: Sequence[str], answer: Path) -> int:
    import coverage
    import pytest

    _quiet(root)
    coverer = coverage.Coverage(data_file=None, config_file=False, include=[str(root / module) for module in modules])
    coverer.start()
    seen = _Seen(coverer)
    options = [option for option in _OPTIONS if option != "-x"]
    code = pytest.main([*options, *tests], plugins=[seen])
    coverer.stop()
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        return 1  # without an answer: a file could not be imported, or there is no test
    data = coverer.get_data()
    runs = {module: data.contexts_by_lineno(str(root / module)) for module in modules}
    libraries = tuple(
        name
        for name, module in sys.modules.items()
        if "." not in name
        and name not in sys.stdlib_module_names
        and (file := getattr(module, "__file__", None))
        and _is_foreign(Path(file), root)
    )
    answer.write_bytes(pickle.dumps(Survey(seen.seconds, runs, libraries, tuple(seen.failed))))
    return 0


def _is_foreign(file: Path, root: Path) -> bool:
    """Not ours, nor Python's own: `import _asyncio` before `import asyncio` leaves a broken asyncio behind."""
    return "site-packages" in file.parts or not file.is_relative_to(root)


class _Seen:
    """A pytest plugin: tells coverage which test runs, and keeps how long it took."""

    def __init__(self, coverer: object) -> None:
        self.coverer = coverer
        self.seconds: dict[str, float] = {}
        self.failed: list[str] = []

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self.coverer.switch_context(nodeid)  # type: ignore[attr-defined]

    def pytest_runtest_logreport(self, report: object) -> None:
        nodeid: str = report.nodeid  # type: ignore[attr-defined]
        if report.outcome == "skipped":  # type: ignore[attr-defined]
            return
        self.seconds[nodeid] = self.seconds.get(nodeid, 0.0) + report.duration  # type: ignore[attr-defined]
        if report.outcome == "failed":  # type: ignore[attr-defined]
            self.failed.append(nodeid)

    def pytest_runtest_logfinish(self) -> None:
        self.coverer.switch_context("")  # type: ignore[attr-defined]
