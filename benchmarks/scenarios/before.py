"""This checkout beside an earlier one, on the same requests by turns: a change must not cost speed.

    git worktree add /tmp/before <commit>
    python -m benchmarks.serving --only before --before /tmp/before

Both run in this environment. Each has a home that its own code has made.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from benchmarks import load
from benchmarks.beside import CONCURRENT, TOKENS, beside
from benchmarks.figures import Figure
from benchmarks.homes import stocked
from benchmarks.plan import Plan, asks
from benchmarks.servers import BASE, Recipe, Server, ours

NAME = "before"
_ADAPTERS, _WAIT = 4, 600
_STOCK_A_HOME = """
import sys
from pathlib import Path
from benchmarks.homes import stocked
print(stocked(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3])).home.root)
"""


def measure(plan: Plan) -> list[Figure]:
    assert plan.before is not None, "the command asks for it"
    house = stocked(plan.base, 8, plan.work)
    config = plan.config(slots=_ADAPTERS)
    now = _of_checkout(ours(config, house.home.root), Path(__file__).parents[2], "dabt")
    earlier = _of_checkout(ours(config, _earlier_home(plan, plan.before)), plan.before, "earlier")
    models = [BASE, *house.first(_ADAPTERS)]
    figures = []
    with Server(now, plan.logs) as after, Server(earlier, plan.logs) as before:
        for server in (after, before):
            load.run(server.url, asks(models, plan.count(128), TOKENS), 64)
        for concurrent, count in CONCURRENT.items():
            for kind, asked in (("base", [BASE]), ("mixed", models)):
                work = asks(asked, plan.count(count), TOKENS)
                scenario = plan.label(f"{NAME}, {kind}, {concurrent} concurrent")
                figures += beside(plan, scenario, (after, before), "before", work, concurrent)
    return figures


def _of_checkout(recipe: Recipe, checkout: Path, name: str) -> Recipe:
    """The same command, run by the code of `checkout`."""
    _, *options = recipe.command
    command = (sys.executable, str(checkout / "dabt.py"), *options)
    return replace(recipe, name=name, command=command, environment={"PYTHONPATH": str(checkout)})


def _earlier_home(plan: Plan, checkout: Path) -> Path:
    """Made by the earlier code, which may not read what this one writes."""
    done = subprocess.run(
        [sys.executable, "-c", _STOCK_A_HOME, str(plan.base), "8", str(plan.work / "before")],
        cwd=checkout,
        env={**os.environ, "PYTHONPATH": str(checkout)},
        check=True,
        capture_output=True,
        text=True,
        timeout=_WAIT,
    )
    return Path(done.stdout.strip().splitlines()[-1])
