"""The curves of a run as pictures, drawn from its log: loss, learning rate, and whatever else was measured.

A figure that is not finite is a gap. Of a run that failed there are curves too.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

LOG = "log.jsonl"
_KINDS = {"train": "training", "validation": "validation"}
_ACROSS = 3
"""Panels beside each other in `metrics.png`."""

Line = tuple[list[int], list[float]]
"""Steps, and a figure at each: NaN where there is none."""


def try_to_draw(folder: Path, title: str, best_by: str, tell: Callable[[str], None]) -> None:
    """`draw`, and where that cannot be written, a word of it: a picture is no reason to lose what was trained."""
    try:
        draw(folder, title, best_by)
    except OSError as error:
        tell(f"the curves could not be drawn: {error}")


def draw(folder: Path, title: str, best_by: str = "loss") -> None:
    """From `log.jsonl` in a run's folder: `loss.png`, `learning_rate.png` and `metrics.png`, as far as it has points.

    `best_by` is the validation figure that chose what is kept, which is marked.
    """
    lines = lines_of(folder / LOG)
    panels: dict[str, dict[str, Line]] = {}
    for (kind, name), line in lines.items():
        figure, _, label = name.removesuffix("]").partition("[")
        words = " ".join(filter(None, (label, _KINDS[kind] if not label else "")))
        panels.setdefault(figure, {})[words] = line
    best = best_step(lines, best_by)
    if "loss" in panels:
        _picture({"nats per learnt token": panels.pop("loss")}, title, folder / "loss.png", best)
    if "learning_rate" in panels:
        _picture({"learning rate": panels.pop("learning_rate")}, title, folder / "learning_rate.png", None)
    if panels:
        named = {name.replace("_", " "): panel for name, panel in sorted(panels.items())}
        _picture(named, title, folder / "metrics.png", best)


def lines_of(log: Path) -> dict[tuple[str, str], Line]:
    """(kind, figure) → its line, in order. Empty where there is no log; a last line that was cut short is left out."""
    lines: dict[tuple[str, str], Line] = {}
    for entry in _entries(log):
        for name, value in entry.items():
            if name not in ("kind", "step", "epoch"):
                steps, values = lines.setdefault((entry["kind"], name), ([], []))
                steps.append(entry["step"])
                values.append(math.nan if value is None else value)
    return lines


def best_step(lines: Mapping[tuple[str, str], Line], best_by: str) -> int | None:
    """At which step the weights were that are kept: the first best, after training began."""
    steps, values = lines.get(("validation", best_by), ([], []))
    trained = [(value, step) for step, value in zip(steps, values, strict=True) if step and math.isfinite(value)]
    if not trained:
        return None
    sign = 1 if best_by == "loss" else -1
    return min(trained, key=lambda pair: (sign * pair[0], pair[1]))[1]


def _entries(log: Path) -> list[dict[str, Any]]:
    entries = []
    for line in log.read_text(encoding="utf-8").splitlines() if log.is_file() else []:
        try:
            entries.append(json.loads(line))
        except ValueError:
            break
    return entries


def _picture(panels: Mapping[str, Mapping[str, Line]], title: str, path: Path, best: int | None) -> None:
    """One PNG, a panel for each name, which stands beside its axis."""
    from matplotlib.figure import Figure  # not pyplot, which keeps global state
    from matplotlib.ticker import MaxNLocator

    across = min(_ACROSS, len(panels))
    down = math.ceil(len(panels) / across)
    figure = Figure(figsize=(7, 4) if len(panels) == 1 else (4.5 * across, 3 * down), layout="constrained")
    places: Any = figure.subplots(down, across, squeeze=False).ravel()
    for axes, (name, lines) in zip(places, panels.items(), strict=False):
        for label, (steps, values) in sorted(lines.items()):
            marker = "o" if len(steps) == 1 or label != "training" else None
            axes.plot(steps, values, label=label, marker=marker, markersize=4, alpha=0.8)
        if best is not None:
            axes.axvline(best, color="grey", linestyle=":", label="kept")
        axes.set(xlabel="optimiser steps", ylabel=name)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.grid(alpha=0.3)
        if len(lines) > 1 or best is not None:
            axes.legend(fontsize="small")
    for axes in places[len(panels) :]:
        axes.set_visible(False)
    figure.suptitle(title)
    figure.savefig(path, dpi=120)
