"""Where vLLM's core runs, for tests that do it harm."""

from __future__ import annotations

import psutil


def core_below(process: psutil.Process) -> psutil.Process:
    """The process of the core: by its title, or the one that the fork server below `process` has made."""
    return cores_below(process)[0]


def cores_below(process: psutil.Process) -> list[psutil.Process]:
    """Of all engines, the oldest first."""
    children = process.children(recursive=True)
    titled = [child for child in children if "EngineCor" in child.name()]
    forked = [child for child in children if _is_of_a_fork_server(child) and _is_of_a_fork_server(child.parent())]
    assert titled or forked, "no process of the engine was found"
    return sorted(titled or forked, key=lambda core: core.create_time())


def _is_of_a_fork_server(process: psutil.Process | None) -> bool:
    return process is not None and any("forkserver" in part for part in process.cmdline())
