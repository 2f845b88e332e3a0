"""How the workers share out the tests: nothing that is dear is made by both."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sharing import FIRST, GROUPS, group

ROOT = Path(__file__).parents[1]


def test_every_test_of_the_one_engine_is_in_its_group(request: pytest.FixtureRequest) -> None:
    """Of those that are collected: all of them in CI."""
    asking = {item.nodeid for item in request.session.items if "real" in getattr(item, "fixturenames", ())}
    assert [nodeid for nodeid in sorted(asking) if group(nodeid) != "the engine"] == []


def test_a_file_is_a_group_of_its_own_else() -> None:
    assert group("tests/evals/test_run.py::test_it[a::b]") == "tests/evals/test_run.py"
    assert group("tests/service/test_engine_api.py::test_it") == group("tests/service/test_engine_slots.py::test_it")


def test_what_is_grouped_or_begun_first_is_there() -> None:
    files = [path.relative_to(ROOT).as_posix() for path in ROOT.glob("tests/**/test_*.py")]
    assert [start for start in (*GROUPS, *FIRST) if not any(file.startswith(start) for file in files)] == []
