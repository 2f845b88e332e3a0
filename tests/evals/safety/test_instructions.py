"""Instructions about an answer's form are followed or not, as a program sees it."""

from __future__ import annotations

from typing import Any

import pytest

from evals.safety.instructions import CHECKS, Follows
from evals.safety.prompts import own
from evals.sample import Sample
from evals.scorers.scorer import ScoringContext
from evals.solvers.solver import Attempt


@pytest.mark.parametrize(
    ("kind", "needs", "follows", "does_not"),
    [
        ("keywords:existence", {"keywords": ["ملح"]}, "في البحر مِلح", "في البحر ملوحة"),
        ("keywords:forbidden_words", {"forbidden_words": ["water"]}, "waterfall", "Cold water."),
        ("length_constraints:number_words", {"relation": "less than", "num_words": 3}, "two words", "now three words"),
        ("length_constraints:number_words", {"relation": "at least", "num_words": 3}, "ثلاث كلمات هنا", "كلمتان هنا"),
        ("detectable_format:number_bullet_lists", {"num_bullets": 2}, "* one\n- two", "* one\n* two\n* three"),
        ("detectable_format:json_format", {}, '```json\n{"a": 1}\n```', 'Sure: {"a": 1}'),
        ("detectable_format:title", {}, "<<عنوان>>\nنص", "<< >>"),
        ("detectable_content:number_placeholders", {"num_placeholders": 2}, "[a] and [b]", "[a]"),
        ("startend:end_checker", {"end_phrase": "see you soon"}, "Get well. See you soon", "See you soon, Lina"),
        ("startend:quotation", {}, "«شاي»", '"tea" and more'),
        ("change_case:english_lowercase", {}, "a cat.", "A cat."),
        ("change_case:english_capital", {}, "A DOG!", "A DOg!"),
        ("punctuation:no_comma", {}, "one and two", "واحد، اثنان"),
    ],
)
def test_each_kind_tells_an_answer_that_follows_from_one_that_does_not(
    kind: str, needs: dict[str, Any], follows: str, does_not: str
) -> None:
    assert CHECKS[kind](follows, needs)
    assert not CHECKS[kind](does_not, needs)


async def test_all_instructions_of_an_item_are_to_be_followed_and_silence_follows_none() -> None:
    given = [{"id": "punctuation:no_comma"}, {"id": "change_case:english_lowercase"}]
    sample = Sample(key="k", id="i", messages=(), metadata={"instructions": given})

    async def figures(text: str) -> dict[str, float]:
        return dict((await Follows().score(sample, Attempt((), text), ScoringContext())).figures)

    assert await figures("a cat") == {"follows": 1.0, "followed": 1.0}
    assert await figures("A cat") == {"follows": 0.0, "followed": 0.5}
    assert await figures(" \u200f") == {"follows": 0.0, "followed": 0.0}


def test_the_suites_own_instructions_are_all_of_known_kinds_and_use_every_kind() -> None:
    rows = own("instructions")
    assert {said["id"] for row in rows for said in row["instructions"]} == set(CHECKS)
    strange = Sample(key="k", id="i", messages=(), metadata={"instructions": [{"id": "punctuation:no_dot"}]})
    assert "is no kind of instruction" in str(Follows().problems(strange)[0])
    assert "there is none" in str(Follows().problems(Sample(key="k", id="i", messages=()))[0])
