"""A case's words: what a rule says of its items."""

from __future__ import annotations

from evals.gate.case import counted


def test_items_are_counted_with_their_clusters_where_they_have_them() -> None:
    assert counted(10, None) == "10 items"
    assert counted(10, 3) == "10 items in 3 clusters"
