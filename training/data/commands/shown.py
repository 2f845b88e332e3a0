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
    lines = [f"{title}{what}: {counted(report.rows, 'row')}{held}"]
    lines += [f"  form: {form}" for form in report.forms]
    lines += [f"  {line}" for line in figures(report)]
    for line in lines:  # whole in a pipe, where a program reads it
        console.print(line, highlight=False, markup=False, soft_wrap=not console.is_terminal)
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
    parts = ("program", "weights", "activations", "optimiser")
    told = ", ".join(f"{size / gib:.2g} {part}" for part in parts if (size := getattr(run, part)))
    free = "" if run.free is None else f" of the {run.free / gib:.3g} that are free there"
    return (
        f"{counted(run.tokens, 'token')} in {counted(run.steps, 'step')}; about {duration(run.seconds)} "
        f"on {run.machine}; about {run.memory / gib:.2g} GiB{free} ({told})"
    )


def duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
