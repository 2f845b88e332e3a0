"""Tables of a report, such as a confusion table, as they are read: what their names, rows and columns mean.

Labels are a team's own, and stay as they are. Words of our own scorers' tables are said in the page's language; those
of another package's stand as it wrote them.
"""

from __future__ import annotations

from evals.report.sentences import said
from evals.report.words import Words

_PASSAGES = "where answers go wrong"
_OURS = (_PASSAGES, "refusals", "escalations")
"""Tables whose rows and columns are words of ours."""


def title_of(name: str, words: Words) -> str:
    """`confusion: urgency`"""
    told = said(name, "table", words)
    return told[:1].upper() + told[1:]


def cell_of(name: str, cell: str, words: Words) -> str:
    """A row's or a column's name; "" is no answer of a known kind."""
    if not cell:
        return words("page.none")
    return said(cell, "cell", words) if name in _OURS else words.isolated(cell)


def told_of(name: str, arm: str, words: Words) -> str:
    """What its rows and columns are."""
    key = "page.table_passages" if name == _PASSAGES else "page.table"
    return words(key, name=title_of(name, words), arm=arm)


def corner_of(name: str, words: Words) -> str:
    """Over the names of the rows."""
    return words("page.passage_first" if name == _PASSAGES else "page.right")
