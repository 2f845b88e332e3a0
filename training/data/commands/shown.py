"""A data report in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lifecycle.text.counting import counted

if TYPE_CHECKING:
    from rich.console import Console

    from training.data.estimate import Expected
    from training.data.findings import DataReport

_SHOWN = 3
"""Places that the table shows of each finding; `--json` has more."""


def show(report: DataReport, title: str, folder: str, console: Console) -> None:
    """`folder` is left out of places: files share one nearly always, and said once it fits the line."""
    from rich.table import Table
    from rich.text import Text

    held = "".join(f", held against {name} ({count:,})" for name, count in report.against.items())
    what = f" ({report.file})" if report.file else ""
    console.print(f"{title}{what}: {counted(report.rows, 'row')}{held}", highlight=False)
    for form in report.forms:
        console.print(f"  form: {form}", highlight=False)
    for line in figures(report):
        console.print(f"  {line}", highlight=False, markup=False)
    table = Table("", "check", "what was found", show_edge=False, pad_edge=False)
    colours = {"error": "red", "warning": "yellow", "note": "blue"}
    for finding in report.findings:
        shown = len(finding.places) if finding.check == "readable" else _SHOWN
        places = [place.replace(folder, "") for place in finding.places[:shown]]
        if finding.check != "readable" and (more := max(finding.count, len(finding.places)) - len(places)):
            places.append(f"and {more:,} more (--json)")
        said = "\n".join([finding.message, *(f"  {place}" for place in places), f"→ {finding.cure}"])
        table.add_row(Text(finding.level, style=colours[finding.level]), finding.check, Text(said, overflow="fold"))
    if report.findings:
        console.print(table)
    summary = f"{counted(len(report.of('error')), 'error')}, {counted(len(report.of('warning')), 'warning')}"
    console.print(summary if report.findings else "nothing found")


def figures(report: DataReport) -> list[str]:
    """How the rows are spread, and what a run over them will take: a line each."""
    lines = []
    if report.balance:
        for what, counts in (("language", report.balance.languages), *report.balance.fields.items()):
            shares = "  ".join(f"{key} {count / sum(counts.values()):.0%}" for key, count in counts.items())
            lines.append(f"{what}: {shares}")
        for length in (*report.balance.lengths, *([report.tokens] if report.tokens else [])):
            spread = f"{length.shortest} to {length.longest}, median {length.median:g}, p95 {length.p95:g}"
            lines.append(f"{length.unit}: {spread}")
    if report.expected:
        lines.append(f"expected of a run: {cost(report.expected)}")
    return lines


def cost(run: Expected) -> str:
    gib = 2**30
    return (
        f"{run.tokens:,} tokens in {run.steps:,} steps; about {duration(run.seconds)} on {run.machine}; about "
        f"{run.memory / gib:.2g} GiB ({run.program / gib:.2g} program, {run.weights / gib:.2g} weights, "
        f"{run.activations / gib:.2g} activations, {run.optimiser / gib:.2g} optimiser)"
    )


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
