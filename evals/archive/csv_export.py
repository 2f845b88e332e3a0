"""Items as CSV that a spreadsheet opens as texts and runs none of (`lifecycle/text/cells.py`).

All cells are in quotes, so that none falls apart where another sign parts columns. Numbers stay numbers.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from evals.archive.items import Item
from evals.archive.library import Kept
from lifecycle.rows.writing import replaced
from lifecycle.text.cells import cell_of


def export(kept: Kept, path: Path, *, bom: bool = False, chosen: Sequence[Item] | None = None) -> int:
    """Writes the report's items, or the chosen ones of them, and says how many. `bom` marks the file as UTF-8, without
    which Excel shows Arabic as other letters. Raises `InvalidInput` where no file can be."""
    metrics: dict[str, dict[str, None]] = {arm.arm: {} for arm in kept.report.arms}
    slices: dict[str, None] = {}
    for item in kept.items() if chosen is None else chosen:  # the columns first: a row alone does not have them all
        slices |= dict.fromkeys(item.slices)
        for arm, answer in item.arms.items():
            metrics.setdefault(arm, {}).update(dict.fromkeys([*answer.scores, *answer.unscored]))
    head = ["anchor", "key", "name", "question", "target", "cluster", *(f"slice {name}" for name in slices)]
    for arm, names in metrics.items():
        head += [f"{arm}: answer", f"{arm}: error", *(f"{arm}: {name}" for name in names)]
    count = 0
    encoding = "utf-8-sig" if bom else "utf-8"
    with replaced(path) as out, io.TextIOWrapper(out, encoding, errors="replace", newline="") as file:
        rows = csv.writer(file, quoting=csv.QUOTE_ALL)
        rows.writerow(map(cell_of, head))
        for item in kept.items() if chosen is None else chosen:
            rows.writerow(_row(item, list(slices), metrics))
            count += 1
    return count


def _row(item: Item, slices: Sequence[str], metrics: dict[str, dict[str, None]]) -> list[str]:
    cells = [item.anchor, item.key, item.name, item.question, item.target, item.cluster or ""]
    cells += [item.slices.get(name, "") for name in slices]
    row = list(map(cell_of, cells))
    for arm, names in metrics.items():
        answer = item.arms.get(arm)
        row += [cell_of(answer.answer), cell_of(answer.error)] if answer else ["", ""]
        for name in names:
            score = answer.scores.get(name) if answer else None
            reason = answer.unscored.get(name, "") if answer else ""
            row.append(cell_of(f"unscored: {reason}" if reason else "") if score is None else repr(score))
    return row
