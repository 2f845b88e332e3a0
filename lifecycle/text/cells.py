"""Texts as cells of a CSV that a spreadsheet opens as texts and runs none of, and that gives every text back.

A text that a spreadsheet could take for a formula gets an apostrophe before it (OWASP, "CSV Injection"), and so does
one that begins with an apostrophe itself: whoever takes one apostrophe off the beginning of a cell has the text
(`text_of`).
"""

from __future__ import annotations

from lifecycle.text.letters import visible

_BEGINS = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", "'")
"""With the wide forms, which spreadsheets of East Asia take for the same."""
_MARK = "'"


def cell_of(text: str) -> str:
    """The text as a cell that is no formula, also where a spreadsheet drops what is not seen before its first sign."""
    seen = visible(text)
    risky = text.startswith(_BEGINS) or seen.startswith(_BEGINS) or seen.strip(" \xa0\0").startswith(_BEGINS)
    return _MARK + text if risky else text


def text_of(cell: str) -> str:
    """The text that `cell_of` made the cell of."""
    return cell.removeprefix(_MARK)
