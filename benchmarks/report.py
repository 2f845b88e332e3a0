"""The figures as a table, as JSON and as a plot."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figure

_MARK = {True: "[green]holds[/]", False: "[red]does not hold[/]", None: ""}


def show(figures: Sequence[Figure], console: Console) -> None:
    """The table: the median of the rounds, and the lowest and the highest of them."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name, justify in (("scenario", "left"), ("figure", "left"), ("median", "right"), ("low … high", "right")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    table.add_column("bar", justify="right")
    table.add_column("")
    for one in figures:
        low, high = one.spread
        spread = f"{_short(low)} … {_short(high)}" if len(one.rounds) > 1 else ""
        bar = "" if one.bar is None else str(one.bar)
        verdict = " ".join(filter(None, (_MARK[one.passed], one.note)))
        table.add_row(one.scenario, one.what, f"{_short(one.middle)} {one.unit}".strip(), spread, bar, verdict)
    console.print(table)


def write_json(figures: Sequence[Figure], facts: dict[str, Any], file: Path) -> None:
    """Everything that was measured, with the machine and the options."""
    body = {**facts, "figures": [one.record() for one in figures]}
    file.write_text(json.dumps(body, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def plot(figures: Sequence[Figure], title: str, file: Path) -> None:
    """Every ratio as a bar with its spread, its own bar as a line across. Nothing when there is no ratio."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    ratios = [one for one in figures if one.left][::-1]
    if not ratios:
        return
    figure, axes = pyplot.subplots(figsize=(9, 1.2 + 0.42 * len(ratios)), layout="constrained")
    for at, one in enumerate(ratios):
        low, high = one.spread
        colour = {True: "#2a9d8f", False: "#c1440e", None: "#8d99ae"}[one.passed]
        axes.barh(at, one.middle, height=0.6, color=colour)
        axes.errorbar(one.middle, at, xerr=[[one.middle - low], [high - one.middle]], color="black", capsize=3)
        if one.bar is not None:
            line = one.bar.at_least if one.bar.at_least is not None else one.bar.at_most
            axes.plot([line, line], [at - 0.42, at + 0.42], color="black", linewidth=2)
            axes.annotate(str(one.bar), (line, at + 0.4), fontsize=7, ha="center")
    axes.axvline(1.0, color="grey", linewidth=0.8, linestyle=":")
    axes.set_yticks(range(len(ratios)), [f"{one.scenario}: {one.what}" for one in ratios], fontsize=8)
    axes.set_xlabel("ratio (median of the rounds; the whisker is the lowest and the highest)")
    axes.set_title(title, fontsize=10)
    figure.savefig(file, dpi=150)
    pyplot.close(figure)


def _short(value: float) -> str:
    """Three significant digits, without an exponent for what is read as a number of things."""
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.3g}"
