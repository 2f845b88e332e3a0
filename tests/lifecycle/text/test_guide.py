"""The guide's tables of texts and values that are the same, or not, are what the code does."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from lifecycle.text.normaliser import LIGHT_1
from lifecycle.text.scores import equal

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "same-answers.md"


def cases(head: str) -> list[tuple[str, str, bool]]:
    """(one, other, whether they are the same) of every row of the table that begins so."""
    table = GUIDE.read_text(encoding="utf-8").split(f"| {head} |", 1)[1].split("\n\n", 1)[0]
    rows = re.findall(r"^\| `(.+?)` \| `(.+?)` \| (the same|different) \|", table, re.MULTILINE)
    assert len(rows) == len(table.splitlines()) - 2
    return [(unseen(one), unseen(other), said == "the same") for one, other, said in rows]


def unseen(text: str) -> str:
    """A character that nobody sees is written by its number in the guide."""
    return re.sub(r"U\+([0-9A-F]{4}) ", lambda code: chr(int(code[1], 16)), text)


@pytest.mark.parametrize(("one", "other", "same"), cases("Of two texts"))
def test_texts_are_the_same_where_the_guide_says_so(one: str, other: str, same: bool) -> None:
    assert LIGHT_1.same(one, other) == LIGHT_1.same(other, one) == same


@pytest.mark.parametrize(("one", "other", "same"), cases("Of two values"))
def test_values_are_the_same_where_the_guide_says_so(one: str, other: str, same: bool) -> None:
    assert equal(json.loads(one), json.loads(other)) == equal(json.loads(other), json.loads(one)) == same
