"""Rows held out for validation, which a run here always has."""

from __future__ import annotations

from training.foreign.translation import Translation


def hold_out(to: Translation, key: str, size: float, rows: int) -> int:
    """A share, or a number of rows, for validation; the rows that are left."""
    if size <= 0:
        to.leave(key, "a run here always validates")
        to.set("data.holdout", 0.1, key, default="Dabt's default", why=f"{to.tool} holds nothing out")
        to.notes.append(
            "a tenth of the rows is held out here for validation, and there none; data.validation names others"
        )
        return rows - round(rows * 0.1)
    share = size if size < 1 else size / rows if rows else 0.0
    if not 0 < share < 0.5:
        to.refuse(key, f"{size:g}: a share between 0 and 0.5 can be held out here", "name a file of its own")
        return rows
    why = "by prompt" if size < 1 else f"{size:g} of {rows} rows, by prompt"
    to.set("data.holdout", round(share, 6), key, why=why)
    return rows - round(rows * share)
