"""The items of a kept report: stable keys, where arms disagree, and search."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from evals.archive import items as archive
from evals.archive.items import Item, ItemAnswer, anchor, disagreeing, disagrees, matches, pick, read
from lifecycle.errors import Corrupt, NotFound


def item(key: str = "a/1", question: str = "", **arms: float | str | None) -> Item:
    """An arm's score, None for no figure, or the reason why it is unscored."""
    answers = {
        arm: ItemAnswer(answer=f"says {score}", scores={"exact": score} if isinstance(score, float) else {},
                        unscored={"exact": score} if isinstance(score, str) else {})
        for arm, score in arms.items()
    }  # fmt: skip
    return Item(key=key, name=key.partition("/")[0], question=question, target="t", arms=answers)


@pytest.mark.parametrize(
    ("arms", "differ"),
    [
        ({"base": 1.0, "rag": 1.0}, False),
        ({"base": 0.0, "rag": 1.0}, True),
        ({"base": 0.1 + 0.2, "rag": 0.3}, False),
        ({"base": 0.0, "rag": 0.0, "adapter": 0.5}, True),
        ({"base": 1.0, "rag": "the judge was late"}, True),
        ({"base": "late", "rag": "late"}, False),
        ({"base": 1.0, "rag": None}, False),
        ({"base": 1.0}, False),
    ],
)
def test_arms_disagree_where_their_figures_differ_or_one_could_not_be_scored(arms, differ: bool) -> None:
    assert disagrees(item(**arms), "exact") is differ


def test_only_the_named_arms_are_looked_at_and_the_order_stays() -> None:
    rows = [item("a/1", x=1.0, y=1.0, z=0.0), item("b/1", x=1.0, y=0.0, z=0.0), item("c/1", x=0.0, y=1.0)]
    assert [row.key for row in disagreeing(rows, "exact", ("x", "y"))] == ["b/1", "c/1"]
    assert [row.key for row in disagreeing(rows, "exact")] == ["a/1", "b/1", "c/1"]
    assert [row.key for row in disagreeing(rows, "another figure")] == []


def test_a_key_has_one_anchor_that_is_safe_in_a_link_and_no_other_key_has() -> None:
    keys = ["toy/1/abc", "toy/1/abd", "\u0639\u064a\u0646/1", "a b#c?d&e", "\ud800/1", "<i>"]
    anchors = [anchor(key) for key in keys]
    assert len({*anchors}) == len(keys)
    assert all(name.startswith("item-") and name[5:].isalnum() and name.isascii() for name in anchors)
    assert anchor("toy/1/abc") == "item-372aae88229a"  # links in people's notes must go on working


@pytest.mark.parametrize(
    ("words", "there"),
    [
        ("chest PAIN", True),
        ("pain fever", False),
        ("\u0623\u0644\u064e\u0645", True),  # with a hamza and a vowel that the text lacks
        ("12", True),  # the text has Arabic digits
        ("a/1", True),
        ("", True),
    ],
)
def test_search_wants_every_word_whatever_the_case_and_the_marks(words: str, there: bool) -> None:
    row = item("a/1", "Chest pain \u0627\u0644\u0645 \u0661\u0662", base=1.0)
    assert matches(row, words) is there


def test_an_item_is_found_by_key_anchor_and_name() -> None:
    rows = [item("a/1", base=1.0), item("b/2", base=1.0)]
    for wanted in ("b/2", anchor("b/2"), f"#{anchor('b/2')}", "b"):
        assert pick(rows, wanted).key == "b/2"
    with pytest.raises(NotFound, match="no item c"):
        pick(rows, "c")


def test_lines_of_a_later_release_are_read_and_a_torn_line_is_named(tmp_path: Path) -> None:
    line = {
        "key": "k",
        "name": "n",
        "question": "\u2028",
        "arms": {"base": {"answer": "x", "scores": {}, "samples": [1]}},
    }
    path = tmp_path / archive.FILE
    path.write_text(json.dumps({**line, "new": 1}, ensure_ascii=False) + "\n{", encoding="utf-8")
    lines = read(tmp_path)
    assert next(lines).question == "\u2028"
    with pytest.raises(Corrupt, match=r"items\.jsonl:2"):
        next(lines)
    with pytest.raises(NotFound, match="copy its folder"):
        next(read(tmp_path / "elsewhere"))
