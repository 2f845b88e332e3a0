"""How the two workers of `make test` share out the tests: by file, the long files first.

A worker runs all tests of a file, in their order, so what a module's fixtures make is made once. The files of a group
go to one worker as well, because they share what is dear to make, or because two of them at once would each wait for
the other (clusters of Ray start a dozen processes each).
"""

from __future__ import annotations

from xdist.scheduler import LoadScopeScheduling

GROUPS = {
    "tests/service/test_engine_": "the engine",
    "tests/service/cluster/test_engine_": "the engine",
    "tests/service/cluster/test_on_ray": "the engine",
    "tests/training/test_by_ray": "the engine",
    "tests/training/": "the libraries of training",
}
"""How the path of a file begins → its group."""
FIRST = ("tests/service/test_engine_", "tests/e2e/", "tests/training/", "tests/service/faults/", "tests/service/")
"""What is begun first, or a worker would be left alone with it at the end."""


def group(nodeid: str) -> str:
    """The files of a group, or the file alone."""
    file = nodeid.partition("::")[0]
    return next((name for start, name in GROUPS.items() if file.startswith(start)), file)


def turn(nodeid: str) -> int:
    return next((at for at, start in enumerate(FIRST) if nodeid.startswith(start)), len(FIRST))


class ByFile(LoadScopeScheduling):
    def _split_scope(self, nodeid: str) -> str:
        return group(nodeid)
