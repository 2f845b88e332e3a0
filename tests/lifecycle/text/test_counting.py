"""One of a thing is said in the singular, and nothing else is."""

from __future__ import annotations

from lifecycle.text.counting import counted


def test_one_alone_has_no_s() -> None:
    assert [counted(count, "row") for count in (0, 1, 2, 2000)] == ["0 rows", "1 row", "2 rows", "2,000 rows"]
