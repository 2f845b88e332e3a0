"""What does not fit into the base's tokens is left out or cut at a sentence's end, and told."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from lifecycle.errors import InvalidConfig
from retrieval.passage import Chunk, LeftOut
from retrieval.stages.stage import Candidate, Search, Surroundings
from retrieval.stages.token_budget import TokenBudget


@pytest.fixture
def base(tmp_path: Path) -> Path:
    """A tokenizer for which a token is a word or a punctuation mark."""
    from tokenizers import Tokenizer, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({"?": 0}, unk_token="?"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    return tmp_path


def budgeted(base: Path | None, tokens: int, over: Any, texts: list[str], top_k: int = 9) -> Search:
    found = tuple(Candidate(n, Chunk(id=f"c{n}", text=text, source="")) for n, text in enumerate(texts))
    stage = TokenBudget(tokens=tokens, over=over).load(Surroundings(corpus=None, base=base))  # type: ignore[arg-type]
    return stage(Search("q", top_k, candidates=found))


def shown(search: Search) -> list[tuple[str, str]]:
    return [(c.chunk.id, c.chunk.text) for c in search.candidates]


# `[c0] a b c` has 3 tokens of the id and 3 of the text.
@pytest.mark.parametrize(("tokens", "ids"), [(12, ["c0", "c1"]), (11, ["c0"]), (6, ["c0"]), (5, [])])
def test_the_budget_is_held_to_the_token(base: Path, tokens: int, ids: list[str]) -> None:
    search = budgeted(base, tokens, "drop", ["a b c", "d e f"])
    assert [c.chunk.id for c in search.candidates] == ids
    assert [one.id for one in search.left_out] == [name for name in ("c0", "c1") if name not in ids]
    assert all(one.tokens == 3 and one.kept == 0 for one in search.left_out)


def test_a_long_passage_is_dropped_whole_and_a_shorter_one_behind_it_is_shown(base: Path) -> None:
    search = budgeted(base, 10, "drop", ["a b", "one two three. four five six. seven", "c d"])
    assert [c.chunk.id for c in search.candidates] == ["c0", "c2"]
    assert search.left_out == (LeftOut(id="c1", tokens=9, kept=0),)


def test_a_long_passage_is_cut_at_the_end_of_a_sentence(base: Path) -> None:
    search = budgeted(base, 12, "cut", ["one two three. هل تفتح؟ seven eight nine ten"])
    assert shown(search) == [("c0", "one two three. هل تفتح؟")]
    assert search.left_out == (LeftOut(id="c0", tokens=11, kept=7),)
    nothing = budgeted(base, 6, "cut", ["one two three four five. six"])
    assert shown(nothing) == []
    assert nothing.left_out == (LeftOut(id="c0", tokens=7, kept=0),)


def test_what_top_k_would_not_show_is_not_told_as_left_out(base: Path) -> None:
    search = budgeted(base, 6, "drop", ["a b c", "d e f", "g h i"], top_k=2)
    assert [one.id for one in search.left_out] == ["c1"]


def test_without_a_base_no_tokens_are_counted(tmp_path: Path) -> None:
    with pytest.raises(InvalidConfig, match="no base is given"):
        budgeted(None, 6, "drop", [])
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(InvalidConfig, match="cannot be read"):
        budgeted(tmp_path, 6, "drop", [])
