"""Arabic is found by words alone, whatever its spelling; the stemmer was chosen by these figures."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import Stemmer

from retrieval import lexical
from retrieval.analysis import analyse, is_arabic, light_stem, normalise

SET = json.loads((Path(__file__).parent / "arabic_set.json").read_text(encoding="utf-8"))
IDS = list(SET["passages"])


def recall(monkeypatch: pytest.MonkeyPatch, stem: Callable[[str], str], at: int) -> float:
    """Share of the questions whose passage is among the first `at`, with `stem` on both sides."""
    with monkeypatch.context() as patch:
        patch.setattr(lexical, "analyse", lambda text: analyse(text, stem))
        ranking = lexical.LexicalRanking(list(SET["passages"].values()))
        found = [IDS.index(wanted) in ranking.search(question, at) for question, wanted in SET["questions"]]
    return sum(found) / len(found)


def test_light10_recalls_more_than_no_stemming_and_than_snowball(monkeypatch: pytest.MonkeyPatch) -> None:
    light = recall(monkeypatch, light_stem, at=3)
    assert light >= 0.9
    assert light > recall(monkeypatch, Stemmer.Stemmer("arabic").stemWord, at=3)
    assert light > recall(monkeypatch, lambda word: word, at=3) + 0.3


@pytest.mark.parametrize(
    ("written", "plain"),
    [
        ("الصَّيْدَلِيَّةُ", "الصيدليه"),
        ("العـــيادة", "العياده"),
        ("إلغاء أو آخر ٱلقسم", "الغاء او اخر القسم"),
        ("مستشفى", "مستشفي"),
        ("مسؤول وقارئ", "مسوول وقاري"),
        ("صباحًا مساءً", "صباح مساء"),
        ("الغرفة ١٢٣", "الغرفه 123"),
        ("ﷲ", "الله"),  # a presentation form, one character
        ("STRASSE Straße", "strasse strasse"),
    ],
)
def test_spellings_of_one_word_become_one(written: str, plain: str) -> None:
    assert normalise(written) == plain


def test_stemming_keeps_words_too_short_to_strip() -> None:
    assert [light_stem(word) for word in ("ولد", "الف", "هي", "و")] == ["ولد", "الف", "هي", "و"]


def test_article_conjunction_and_plural_meet_the_bare_noun() -> None:
    stems = {
        light_stem(normalise(word))
        for word in ("عيادة", "العيادة", "والعيادة", "بالعيادة", "للعيادة", "عيادات", "والعيادات")
    }
    assert stems == {"عياد"}


def test_a_query_counts_as_arabic_by_most_of_its_letters() -> None:
    assert is_arabic("متى تفتح صيدلية MRI")
    assert not is_arabic("the word عيادة means clinic")
    assert not is_arabic("2024 !?")
