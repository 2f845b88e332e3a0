"""Our service and the stock vLLM server of the same version, with the same flags, side by side in one run.

    python -m benchmarks.serving                          # everything, on the tiny base
    python -m benchmarks.serving --only mixed --rounds 2 --quick
    python -m benchmarks.serving --size large --only base-only --only mixed

Prints every figure with its spread over the rounds and the bar that it is held against, and writes JSON and a plot.
Ends with 1 when a bar does not hold. Read `scenarios/` for what is measured and docs/guides/benchmarks.md for why so.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks import bases, machine, report
from benchmarks import llama_cpp as peer
from benchmarks.figures import Figure
from benchmarks.plan import SIZES, Plan, Size
from benchmarks.scenarios import base_only, before, cold, growth, int8, llama_cpp, many, mixed, moves, stall, start
from benchmarks.servers import ServerFailed
from service.config import Dtype
from service.engine.vllm.flags import cpu_dtype

_SCENARIOS: dict[str, Callable[[Plan], list[Figure]]] = {
    scenario.NAME: scenario.measure
    for scenario in (base_only, mixed, many, cold, stall, moves, start, growth, before, llama_cpp, int8)
}
_ASKED_FOR = {before.NAME, growth.NAME, llama_cpp.NAME, int8.NAME}
"""Measured only when named: two need more than this checkout, two hold no bar."""


def main(
    only: Annotated[list[str] | None, typer.Option(help=f"Of {', '.join(_SCENARIOS)}; may be repeated.")] = None,
    size: Annotated[Size, typer.Option(help=SIZES)] = "tiny",
    rounds: Annotated[int, typer.Option(min=1, help="How often each side is measured, by turns.")] = 5,
    dtype: Annotated[Dtype, typer.Option(help="For both servers; auto is what `dabt serve` would take.")] = "auto",
    quick: Annotated[bool, typer.Option("--quick", help="A quarter of the requests.")] = False,
    earlier: Annotated[
        Path | None, typer.Option("--before", help="An earlier checkout, for the scenario `before`.")
    ] = None,
    llama_server: Annotated[
        Path | None, typer.Option(help="llama.cpp's server, for the scenario `llama.cpp`.", envvar=peer.BINARY)
    ] = None,
    work: Annotated[Path, typer.Option(help="Where bases, adapters, logs and results are kept.")] = Path(
        ".dabt/benchmarks"
    ),
) -> None:
    """Measure, print the table, write JSON and a plot."""
    console = Console()
    work = work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    base = bases.of(size, work)
    plan = Plan(base, size, work, rounds, cpu_dtype(base) if dtype == "auto" else dtype, quick, earlier, llama_server)
    names = only or [name for name in _SCENARIOS if name not in _ASKED_FOR]
    if unknown := set(names) - set(_SCENARIOS):
        raise typer.BadParameter(f"there is no scenario {', '.join(sorted(unknown))}", param_hint="--only")
    if before.NAME in names and earlier is None:
        raise typer.BadParameter("name an earlier checkout, to be compared with", param_hint="--before")
    if llama_cpp.NAME in names:
        if size != "smollm2":
            raise typer.BadParameter("llama.cpp is measured over SmolLM2: --size smollm2", param_hint="--size")
        try:
            peer.binary(llama_server)
        except ServerFailed as error:
            raise typer.BadParameter(str(error), param_hint="--llama-server") from error
    options = {"scenarios": names, "size": size, "rounds": rounds, "dtype": plan.dtype, "quick": quick}
    facts: dict[str, object] = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        **options,
        "machine": machine.facts(),
    }
    console.print_json(data=facts)
    figures: list[Figure] = []
    for name in names:
        began = time.monotonic()
        found = _SCENARIOS[name](plan)
        report.show(found, console)
        console.print(f"[dim]{name}: {time.monotonic() - began:.0f} s[/]\n")
        figures += found
        result = work / f"serving-{size}-{'-'.join(names) if only else 'all'}.json"
        report.write_json(figures, facts, result)
        report.plot(figures, _title(facts), result.with_suffix(".png"))
    console.print(f"written: {result} and .png")
    if any(one.passed is False for one in figures):
        sys.exit(1)


def _title(facts: dict[str, object]) -> str:
    known = facts["machine"]
    assert isinstance(known, dict)
    return (
        f"Dabt and the stock vLLM server, {facts['size']} base, {facts['dtype']}\n"
        f"{known.get('processor', 'unknown processor')}, {known['cores']} cores"
    )


if __name__ == "__main__":
    typer.run(main)
